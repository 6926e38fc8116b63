"""python -m lighthubert.prune RECIPE.yaml [key=value ...]"""

from __future__ import annotations

import copy
import logging
import sys
from pathlib import Path
from typing import Any

import torch

from lighthubert import checkpoint
from lighthubert.checkpoint import Loaded, digest
from lighthubert.config import make_recipe
from lighthubert.data import Manifest, eval_batches
from lighthubert.models import Hubert
from lighthubert.objectives import TaskConfig, TaskModel, build_vocabulary, labelled
from lighthubert.prune.constraint import check_budgets
from lighthubert.prune.model import GatedHubert
from lighthubert.prune.objective import Pruning
from lighthubert.prune.recipe import Prune
from lighthubert.prune.report import report
from lighthubert.prune.tasks import Distil, Labelled, Task
from lighthubert.train import distributed, run_job, train_recipe

logger = logging.getLogger("lighthubert")

ABOUT = """\
Prune channels, heads and FFN units of a net while it learns: HJ-Pruning's Size, SepSize and MACs, and the joint
distillation and pruning of DPHuBERT. Writes pruned.safetensors, an ordinary net.

A recipe is a YAML file; recipes/mini runs on a CPU core, recipes/base on GPUs under torchrun. What a recipe may say
stands in lighthubert/prune/recipe.py, and how pruning works in docs/pruning.md. For example
  python -m lighthubert.prune recipes/mini/prune_macs.yaml run_dir=runs/try train.steps=500
The same command on the same run_dir resumes, or says that the run is done. Ctrl-C saves and stops."""


def main(argv: list[str] | None = None) -> int:
    return run_job("prune", ABOUT, read, prune, argv)


def read(path: str, values: dict[str, Any]) -> Prune:
    return make_recipe(path, values, Prune)


def prune(recipe: Prune, device: torch.device) -> None:
    train, valid = Manifest.read(recipe.train_manifest), Manifest.read(recipe.valid_manifest)
    init = checkpoint.read(recipe.init)
    net = copy.deepcopy(init.hubert)  # the report needs the weights as they were
    content: dict[str, Any] = {"init_weights": digest(net)}
    torch.manual_seed(recipe.seed)
    task: Task
    if recipe.distill is not None:
        name = recipe.distill.teacher
        teacher = (init if name == recipe.init else checkpoint.read(name)).hubert
        content["teacher_weights"] = digest(teacher)
        fine_tuned = TaskModel.load(init) if init.task is not None else None
        task = Distil(teacher.to(device), net.config, recipe.distill, valid, recipe.data, fine_tuned)
    else:
        assert recipe.task is not None  # the recipe has one of the two
        train = labelled(train, recipe.task, recipe.data.max_clip_samples)
        task = build_task(recipe, recipe.task, init, net, train, labelled(valid, recipe.task))
        content |= {"init_weights": digest(task.model), "labels": task.labels.digest}
    constraints = recipe.sparsity.constraints
    model = GatedHubert(net, task.head, constraints, recipe.units, recipe.gate_lr, recipe.seed)
    check_budgets(constraints, model.gates)
    if train_recipe(Pruning(model.to(device), task), recipe, train, content):
        report(model.cpu(), task, init, Path(recipe.run_dir), next(eval_batches(valid, recipe.data)))


def build_task(
    recipe: Prune, config: TaskConfig, init: Loaded, net: Hubert, train: Manifest, valid: Manifest
) -> Labelled:
    """The task with a vocabulary of the training labels, and the head of `init` if it has one that fits."""
    model = TaskModel(net, config, build_vocabulary(train.columns[config.column], config))
    if init.task is not None and (differing := model.take_head(init)) and distributed.rank() == 0:
        logger.warning("init %r: its head starts anew, for it has another %s", init.path, ", ".join(differing))
    return Labelled(model, recipe.masks, recipe.seed, train, valid, recipe.data)


if __name__ == "__main__":
    sys.exit(main())
