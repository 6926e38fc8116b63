"""What every training job's command line does: read a recipe, hold its folder, train, and say what was wrong."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch

from lighthubert.config import read_values, write_yaml
from lighthubert.data import BadDataError, DataConfig, Manifest, Reader
from lighthubert.train import distributed
from lighthubert.train.config import TrainConfig
from lighthubert.train.job import TrainingError
from lighthubert.train.loop import Objective, run
from lighthubert.train.state import locked

# Of configs and sizes; files; packages that are not installed; the run.
USER_ERRORS = (ValueError, OSError, ImportError, BadDataError, TrainingError)


class JobRecipe(Protocol):
    """What the recipes of all jobs have; they are dataclasses."""

    @property
    def run_dir(self) -> str: ...


class Recipe(JobRecipe, Protocol):
    """What the recipes of all training jobs have."""

    @property
    def seed(self) -> int: ...
    @property
    def data(self) -> DataConfig: ...
    @property
    def train(self) -> TrainConfig: ...


R = TypeVar("R", bound=JobRecipe)


def run_job(job: str, about: str, read: Callable[[str, dict[str, Any]], R], work: Callable[[R, torch.device], None],
            argv: Sequence[str] | None = None) -> int:  # fmt: skip
    """`python -m lighthubert.JOB RECIPE.yaml [key=value ...]`; returns the exit code.

    read: the recipe of a file's path and values. work: all of the run, on this rank's device. The run's folder is held
    from the first label to the last file of a report, not only while it trains.
    """
    parser = argparse.ArgumentParser(
        prog=f"python -m lighthubert.{job}", description=about, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipe", metavar="RECIPE.yaml")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="replaces a value of the recipe")
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        recipe = read(args.recipe, read_values(args.recipe, args.overrides))
        with distributed.session() as device, locked(Path(recipe.run_dir)):
            work(recipe, device)
    except USER_ERRORS as error:
        # Most errors are the same on all ranks, but torchrun ends the slower ones before they can say theirs.
        rank = os.environ.get("RANK", "0")
        print(f"error: {error}" if rank == "0" else f"error on rank {rank}: {error}", file=sys.stderr)
        return 2
    return 0


def train_recipe(objective: Objective, recipe: Recipe, clips: Manifest, content: dict[str, Any]) -> bool:
    """Run the loop; True on rank 0 if the run is finished. content: what else must stay the same to resume.

    config.yaml in the run's folder says what is trained there.
    """
    rank, world = distributed.rank(), distributed.world()
    run_dir, values = Path(recipe.run_dir), asdict(recipe)  # type: ignore[call-overload]
    reader = Reader(clips, recipe.data, seed=recipe.seed, rank=rank, world=world)
    same = {k: v for k, v in values.items() if k not in ("run_dir", "train", "seed", "data")} | content
    if rank == 0:
        run_dir.mkdir(parents=True, exist_ok=True)
        if not any((run_dir / "checkpoints").glob("step_*.pt")):  # nothing was trained yet with another recipe
            write_yaml(run_dir / "config.yaml", values)
    result = run(objective, reader, recipe.train, run_dir=run_dir, seed=recipe.seed, recipe=same)
    return result.finished and rank == 0
