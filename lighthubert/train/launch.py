"""The command line of the training jobs: recipe and overrides in, one line for whatever is wrong, the loop in a folder."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import torch

from lighthubert.config import make_recipe, read_values, write_yaml
from lighthubert.data import BadDataError, DataConfig, Manifest, Reader
from lighthubert.train import distributed
from lighthubert.train.config import TrainConfig
from lighthubert.train.job import TrainingError
from lighthubert.train.loop import Objective, run
from lighthubert.train.state import StateError, locked


class Recipe(Protocol):
    """What every training job's recipe has, a frozen dataclass."""

    @property
    def run_dir(self) -> str: ...
    @property
    def seed(self) -> int: ...
    @property
    def data(self) -> DataConfig: ...
    @property
    def train(self) -> TrainConfig: ...


def command(
    job: str,
    about: str,
    schema_of: Callable[[str, dict[str, Any]], type[Any]],
    start: Callable[[Any, torch.device], None],
    argv: list[str] | None = None,
) -> int:
    """`python -m lighthubert.JOB RECIPE.yaml [key=value ...]`; the exit code, 2 with a line on stderr for an error.

    schema_of: the recipe's dataclass, of its path and values. start: does the job with run_dir held.
    """
    parser = argparse.ArgumentParser(
        prog=f"python -m lighthubert.{job}", description=about, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipe", metavar="RECIPE.yaml")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="replaces a value of the recipe")
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        values = read_values(args.recipe, args.overrides)
        recipe = make_recipe(args.recipe, values, schema_of(args.recipe, values))
        # Held from the first label to the last file of the report, not only while it trains.
        with distributed.session() as device, locked(Path(recipe.run_dir)):
            start(recipe, device)
    except (ValueError, OSError, ImportError, BadDataError, StateError, TrainingError) as error:
        # of configs and sizes; files; packages that are not installed; the run
        # Most errors are the same on all ranks, but torchrun ends the slower ones before they can say theirs.
        rank = os.environ.get("RANK", "0")
        print(f"error: {error}" if rank == "0" else f"error on rank {rank}: {error}", file=sys.stderr)
        return 2
    return 0


def train_with(objective: Objective, recipe: Recipe, clips: Manifest, content: dict[str, Any]) -> bool:
    """Run the loop; True on rank 0 if the run is finished. content: what else must stay the same to resume."""
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
