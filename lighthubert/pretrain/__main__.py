"""python -m lighthubert.pretrain RECIPE.yaml [key=value ...]"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from lighthubert.checkpoint import digest, load_hubert, save
from lighthubert.config import Recipes
from lighthubert.data import Manifest
from lighthubert.elastic import OneArch, Supernet
from lighthubert.models import Hubert
from lighthubert.pretrain.distill import Distillation
from lighthubert.pretrain.init import build_supernet, require_sizes, space_of, take_subnets_heads
from lighthubert.pretrain.recipe import Distill, Units
from lighthubert.pretrain.report import report
from lighthubert.pretrain.units import MaskedUnits, UnitModel, make_units, read_source
from lighthubert.runtime import ranks
from lighthubert.runtime.command import Work, run_job
from lighthubert.train import about_training, train_recipe

ABOUT = """\
Train a HuBERT teacher from nothing, or distil a supernet from a teacher in two stages.

A recipe is a YAML file; recipes/mini runs on two CPU cores, recipes/base, small and large on GPUs under torchrun.
Any key can be given behind it, for example
  lighthubert pretrain recipes/mini/stage2.yaml run_dir=runs/try train.steps=500 subnets=[random]
The same command on the same run_dir resumes, or says that the run is done. Ctrl-C saves and stops."""


def main(argv: list[str] | None = None) -> int:
    return run_job("pretrain", ABOUT, Recipes[Distill | Units](Distill, Units), prepare, argv)


def prepare(recipe: Distill | Units, device: torch.device) -> Work:
    return distill(recipe, device) if isinstance(recipe, Distill) else units(recipe, device)


def distill(recipe: Distill, device: torch.device) -> Work:
    train, valid = Manifest.read(recipe.train_manifest), Manifest.read(recipe.valid_manifest)
    teacher = load_hubert(recipe.teacher)
    space = space_of(recipe.space, recipe.init)
    recipe.target.check(teacher.config, space.parent)
    supernet = build_supernet(space, teacher, recipe.init, recipe.target, recipe.seed, recipe.order_by_importance)
    if recipe.head:
        take_subnets_heads(supernet, recipe.target, recipe.init, recipe.head)
    supernet.predicts = {"teacher": recipe.teacher, **recipe.target.describe()}
    # A file may change under its name: the run is of this space and of these weights of the teacher.
    content = {"space": space.to_dict(), "teacher_weights": digest(teacher)}
    objective = Distillation(supernet.to(device), teacher.to(device), recipe, valid)

    def run() -> None:
        if train_recipe(objective, recipe, train, content).finished and ranks.rank() == 0:
            save_distilled(supernet.cpu(), recipe)
            report(supernet, Path(recipe.run_dir), valid, recipe.data, recipe.eval_archs)

    about = [f"teacher {recipe.teacher}: {teacher}", f"student: {space}"]
    return Work([*about, *about_training(recipe, train, valid)], run)


def save_distilled(supernet: Supernet, recipe: Distill) -> None:
    """Write what was trained: the supernet, or a net that was trained alone."""
    folder = Path(recipe.run_dir)
    if isinstance(supernet.space, OneArch):
        # Its config says, as that of `init`, which layers of which parent it has.
        net = Hubert(load_hubert(recipe.init).config).eval()
        net.load_state_dict(supernet.hubert.state_dict())
        save(net, folder / "hubert.safetensors")
    else:
        save(supernet, folder / "supernet.safetensors")


def units(recipe: Units, device: torch.device) -> Work:
    train, valid = Manifest.read(recipe.train_manifest), Manifest.read(recipe.valid_manifest)
    source = read_source(recipe.units)
    torch.manual_seed(recipe.seed)
    model = UnitModel(recipe.model, recipe.units.num_units)
    # A file may change under its name: the units are of these weights, and so is the start.
    content = {} if source is None else {"source_weights": digest(source)}
    if recipe.init != "random":
        start = load_hubert(recipe.init)
        require_sizes(recipe.init, start.config, recipe.model)
        model.hubert.load_state_dict(start.state_dict())
        content["init_weights"] = digest(start)

    def run() -> None:
        folder = Path(recipe.run_dir) / "units"
        labels = make_units(recipe.units, source, {"train": train, "valid": valid}, folder, recipe.seed, device)
        objective = MaskedUnits(model.to(device), recipe, labels, valid)
        if train_recipe(objective, recipe, train, content).finished and ranks.rank() == 0:
            path = Path(recipe.run_dir) / "hubert.safetensors"
            save(model.hubert.cpu(), path)
            print(f"{path}: the trained HuBERT")

    about = [f"model: {model.hubert}", f"{recipe.units.num_units} units of {recipe.units.source}"]
    return Work([*about, *about_training(recipe, train, valid)], run)


if __name__ == "__main__":
    sys.exit(main())
