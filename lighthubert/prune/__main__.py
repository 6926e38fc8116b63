"""lighthubert prune RECIPE.yaml [key=value ...]"""

from __future__ import annotations

import copy
import sys
from pathlib import Path
from typing import Any

import torch

from lighthubert.checkpoint import read
from lighthubert.config import Recipes
from lighthubert.data import Manifest, eval_batches
from lighthubert.prune.constraint import check_budgets
from lighthubert.prune.criterion import Criterion, Distil
from lighthubert.prune.model import GatedHubert
from lighthubert.prune.objective import Pruning
from lighthubert.prune.recipe import Prune
from lighthubert.prune.report import report
from lighthubert.runtime import ranks
from lighthubert.runtime.command import Work, run_job
from lighthubert.tasks.labelled import LabelledTask
from lighthubert.tasks.model import TaskModel
from lighthubert.train import about_training, train_recipe

ABOUT = """\
Prune channels, heads and FFN units of a net while it learns: HJ-Pruning's Size, SepSize and MACs, and the joint
distillation and pruning of DPHuBERT. Writes pruned.safetensors, an ordinary net.

A recipe is a YAML file; recipes/mini runs on a CPU core, recipes/base on GPUs under torchrun. How pruning works stands
in docs/pruning.md. Any key can be given behind the recipe, for example
  lighthubert prune recipes/mini/prune_macs.yaml run_dir=runs/try train.steps=500
The same command on the same run_dir resumes, or says that the run is done. Ctrl-C saves and stops."""


def main(argv: list[str] | None = None) -> int:
    return run_job("prune", ABOUT, Recipes(Prune), prepare, argv)


def prepare(recipe: Prune, device: torch.device) -> Work:
    train, valid = Manifest.read(recipe.train_manifest), Manifest.read(recipe.valid_manifest)
    init = read(recipe.init)
    net = copy.deepcopy(init.hubert)  # the report needs the weights as they were
    tuned = TaskModel.load(init) if init.task is not None else None
    content: dict[str, Any]
    criterion: Criterion
    if recipe.task is not None:
        criterion = task = LabelledTask(recipe.task, recipe.masks, net, init, train, valid, recipe.data, recipe.seed)
        train, valid, tuned, content = task.train.clips, task.valid.clips, task.model, task.content
    elif recipe.distill is not None:
        name = recipe.distill.teacher
        teacher = init if name == recipe.init else read(name)
        content = {"init_weights": init.digest, "teacher_weights": teacher.digest}
        criterion = Distil(teacher.hubert.to(device), net.config, recipe.distill, valid, recipe.data)
    constraints = recipe.sparsity.constraints
    model = GatedHubert(net, criterion.head, constraints, recipe.units, recipe.gate_lr, recipe.seed)
    check_budgets(constraints, model.gates)
    objective = Pruning(model.to(device), criterion)

    def run() -> None:
        if train_recipe(objective, recipe, train, net.config, content).finished and ranks.rank() == 0:
            report(model.cpu(), tuned, init, Path(recipe.run_dir), next(eval_batches(valid, recipe.data, net.config)))

    about = [f"{key}: {text}" for key, text in objective.describe().items()]
    return Work([*about, *about_training(recipe, train, valid, net.config)], run)


if __name__ == "__main__":
    sys.exit(main())
