"""python -m lighthubert.prune RECIPE.yaml [key=value ...]"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch

from lighthubert.checkpoint import digest, load_hubert
from lighthubert.config import make_recipe
from lighthubert.data import Manifest, eval_batches
from lighthubert.objectives.vocabulary import build_vocabulary, labelled
from lighthubert.prune.constraint import check_budgets
from lighthubert.prune.model import GatedHubert
from lighthubert.prune.objective import Pruning
from lighthubert.prune.recipe import Prune
from lighthubert.prune.report import report
from lighthubert.prune.tasks import Distil, Labelled, Task
from lighthubert.train import run_job, train_recipe

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
    net = load_hubert(recipe.init)
    content: dict[str, Any] = {"init_weights": digest(net)}
    torch.manual_seed(recipe.seed)
    task: Task
    if recipe.distill is not None:
        teacher = load_hubert(recipe.distill.teacher)
        content["teacher_weights"] = digest(teacher)
        task = Distil(teacher.to(device), net.config, recipe.distill)
    else:
        assert recipe.task is not None  # the recipe has one of the two
        train, valid = (labelled(m, recipe.task, recipe.data.max_clip_samples) for m in (train, valid))
        vocabulary = build_vocabulary(train.columns[recipe.task.column], recipe.task)
        labelled_task = Labelled(net.config, recipe.task, vocabulary, train, valid)
        task, content["labels"] = labelled_task, labelled_task.labels[False].digest
    constraints = recipe.sparsity.constraints
    model = GatedHubert(net, task.head, constraints, recipe.units, recipe.gate_lr, recipe.seed)
    check_budgets(constraints, model.gates)
    if train_recipe(Pruning(model.to(device), task, valid, recipe.data), recipe, train, content):
        report(model.cpu(), recipe.init, Path(recipe.run_dir), next(eval_batches(valid, recipe.data)))


if __name__ == "__main__":
    sys.exit(main())
