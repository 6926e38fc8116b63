"""lighthubert pretrain RECIPE.yaml [key=value ...]"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from lighthubert.checkpoint import read, save
from lighthubert.config import Recipes
from lighthubert.data import Manifest
from lighthubert.models import Hubert
from lighthubert.pretrain.distill import Distillation
from lighthubert.pretrain.init import require_sizes, start
from lighthubert.pretrain.recipe import Distill, Units
from lighthubert.pretrain.report import report
from lighthubert.pretrain.units import MaskedUnits, UnitModel, check_layer, make_units
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
    teacher, supernet, alone = start(recipe)
    supernet.predicts = {"teacher": recipe.teacher, **recipe.target.describe()}
    # A file may change under its name: the run is of this space and of these weights of the teacher.
    content = {"space": supernet.space.to_dict(), "teacher_weights": teacher.digest}
    objective = Distillation(supernet.to(device), teacher.hubert.to(device), recipe, valid)

    def run() -> None:
        if train_recipe(objective, recipe, train, supernet.config, content).finished and ranks.rank() == 0:
            folder = Path(recipe.run_dir)
            supernet.cpu()
            if alone is not None:
                net = Hubert(alone).eval()
                net.load_state_dict(supernet.hubert.state_dict())
                save(net, folder / "hubert.safetensors")
            else:
                save(supernet, folder / "supernet.safetensors")
            report(supernet, folder, valid, recipe.data, recipe.eval_archs)

    about = [f"teacher {recipe.teacher}: {teacher.hubert}", f"student: {supernet.space}"]
    return Work([*about, *about_training(recipe, train, valid, supernet.config)], run)


def units(recipe: Units, device: torch.device) -> Work:
    train, valid = Manifest.read(recipe.train_manifest), Manifest.read(recipe.valid_manifest)
    files = {name: read(name) for name in {recipe.init, recipe.units.source} - {"random", "mfcc"}}
    init, source = files.get(recipe.init), files.get(recipe.units.source)
    check_layer(recipe.units, source)
    torch.manual_seed(recipe.seed)
    model = UnitModel(recipe.model, recipe.units.num_units)
    # A file may change under its name: the units are of these weights, and so is the start.
    content = {} if source is None else {"source_weights": source.digest}
    if init is not None:
        require_sizes(init.path, init.hubert.config, recipe.model)
        model.hubert.load_state_dict(init.hubert.state_dict())
        content["init_weights"] = init.digest

    def run() -> None:
        folder = Path(recipe.run_dir) / "units"
        clips = {"train": train, "valid": valid}
        labels = make_units(recipe.units, source, recipe.model, clips, folder, recipe.seed, device)
        objective = MaskedUnits(model.to(device), recipe, labels, valid)
        if train_recipe(objective, recipe, train, recipe.model, content).finished and ranks.rank() == 0:
            path = Path(recipe.run_dir) / "hubert.safetensors"
            save(model.hubert.cpu(), path)
            print(f"{path}: the trained HuBERT")

    about = [f"model: {model.hubert}", f"{recipe.units.num_units} units of {recipe.units.source}"]
    return Work([*about, *about_training(recipe, train, valid, recipe.model)], run)


if __name__ == "__main__":
    sys.exit(main())
