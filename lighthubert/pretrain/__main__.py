"""python -m lighthubert.pretrain RECIPE.yaml [key=value ...]"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch

from lighthubert import checkpoint
from lighthubert.checkpoint import digest, save
from lighthubert.config import ConfigError, make_recipe
from lighthubert.data import Manifest
from lighthubert.models import Hubert
from lighthubert.objectives import UnitLabels
from lighthubert.pretrain.distill import Distillation
from lighthubert.pretrain.init import require_sizes, start
from lighthubert.pretrain.recipe import SCHEMAS, Distill, Units
from lighthubert.pretrain.report import report
from lighthubert.pretrain.units import MaskedUnits, UnitModel, prepare_units
from lighthubert.train import distributed, run_job, train_recipe

ABOUT = """\
Train a HuBERT teacher from nothing, or distil a supernet from a teacher in two stages.

A recipe is a YAML file; recipes/mini runs on two CPU cores, recipes/base, small and large on GPUs under torchrun.
What a recipe may say stands in lighthubert/pretrain/recipe.py. Any key can be given behind it, for example
  python -m lighthubert.pretrain recipes/mini/stage2.yaml run_dir=runs/try train.steps=500 subnets=[random]
The same command on the same run_dir resumes, or says that the run is done. Ctrl-C saves and stops."""


def main(argv: list[str] | None = None) -> int:
    return run_job("pretrain", ABOUT, read, lambda r, d: distill(r, d) if isinstance(r, Distill) else units(r, d), argv)


def read(path: str, values: dict[str, Any]) -> Distill | Units:
    return make_recipe(path, values, schema_of(path, values))


def schema_of(path: str, values: dict[str, Any]) -> type[Distill] | type[Units]:
    objective = values.get("objective", "distill")
    if not isinstance(objective, str) or objective not in SCHEMAS:
        raise ConfigError(f"{path}: objective: must be one of {', '.join(SCHEMAS)}, got {objective!r}")
    return SCHEMAS[objective]


def distill(recipe: Distill, device: torch.device) -> None:
    train, valid = Manifest.read(recipe.train_manifest), Manifest.read(recipe.valid_manifest)
    teacher, supernet, alone = start(recipe)
    supernet.predicts = {"teacher": recipe.teacher, **recipe.target.describe()}
    objective = Distillation(supernet.to(device), teacher.to(device), recipe, valid)
    # A file may change under its name: the run is of this space and of these weights of the teacher.
    content = {"space": supernet.space.to_dict(), "teacher_weights": digest(teacher)}
    if train_recipe(objective, recipe, train, content):
        supernet.cpu()
        folder = Path(recipe.run_dir)
        if alone is not None:
            net = Hubert(alone).eval()
            net.load_state_dict(supernet.hubert.state_dict())
            save(net, folder / "hubert.safetensors")
        else:
            save(supernet, folder / "supernet.safetensors")
        report(supernet, folder, valid, recipe.data, recipe.eval_archs)


def units(recipe: Units, device: torch.device) -> None:
    train, valid = Manifest.read(recipe.train_manifest), Manifest.read(recipe.valid_manifest)
    folder = Path(recipe.run_dir) / "units"
    init = None if recipe.init == "random" else checkpoint.read(recipe.init)
    content = distributed.on_first(lambda: prepare_units(recipe.units, train, valid, folder, recipe.seed, init))
    labels = (UnitLabels(folder / "train.npz"), UnitLabels(folder / "valid.npz"))
    torch.manual_seed(recipe.seed)
    model = UnitModel(recipe.model, recipe.units.num_units)
    if init is not None:
        require_sizes(init.path, init.hubert.config, recipe.model)
        model.hubert.load_state_dict(init.hubert.state_dict())
        content["init_weights"] = digest(init.hubert)
    if train_recipe(MaskedUnits(model.to(device), recipe, *labels, valid), recipe, train, content):
        path = Path(recipe.run_dir) / "hubert.safetensors"
        save(model.hubert.cpu(), path)
        print(f"{path}: the trained HuBERT")


if __name__ == "__main__":
    sys.exit(main())
