"""What every training job does with its recipe: say what would run, and run it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from lighthubert.config import write_yaml
from lighthubert.data import Manifest, Reader
from lighthubert.models import HubertConfig
from lighthubert.runtime import ranks
from lighthubert.train.config import TrainRecipe
from lighthubert.train.loop import Result, run_training
from lighthubert.train.objective import Objective


def about_training(recipe: TrainRecipe, train: Manifest, valid: Manifest, net: HubertConfig) -> list[str]:
    """Lines for --check: clips, batches, steps, and what stands in the run's folder. net: whose frames clips are read
    for. Raises ValueError where an epoch has no batch for every rank."""
    config, seconds = recipe.train, recipe.data.max_seconds
    reader = Reader(train, recipe.data, net, seed=recipe.seed)
    checkpoints = sorted((Path(recipe.run_dir) / "checkpoints").glob("step_*.pt"))
    state = f"holds {checkpoints[-1].name}, and goes on there" if checkpoints else "a new run"
    lines = [f"{m.path}: {len(m)} clips, {m.seconds / 3600:.2f} h" for m in (train, valid)]
    return [
        *lines,
        f"{config.steps} steps of {config.accumulate} x {seconds:g} s on each rank, {config.precision}, lr "
        f"{config.lr:g}; audio by the {reader.name} reader",
        f"{recipe.run_dir}: {state}",
    ]


def train_recipe(objective: Objective, recipe: TrainRecipe, clips: Manifest, net: HubertConfig,
                 content: dict[str, Any]) -> Result:  # fmt: skip
    """Run the loop. net: whose frames clips are read for. content: what else must stay the same to resume. config.yaml
    in the run's folder says what is trained there."""
    run_dir, values = Path(recipe.run_dir), asdict(recipe)
    reader = Reader(clips, recipe.data, net, seed=recipe.seed, rank=ranks.rank(), world=ranks.world())
    same = {k: v for k, v in values.items() if k not in ("run_dir", "train", "seed", "data")} | content
    if ranks.rank() == 0:
        run_dir.mkdir(parents=True, exist_ok=True)
        if not any((run_dir / "checkpoints").glob("step_*.pt")):  # nothing was trained yet with another recipe
            write_yaml(run_dir / "config.yaml", values)
    return run_training(objective, reader, recipe.train, run_dir=run_dir, seed=recipe.seed, recipe=same)
