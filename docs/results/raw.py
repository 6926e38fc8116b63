"""The raw files of docs/results.md, one line a measurement, and what every script beside this one needs."""

from __future__ import annotations

import json
import platform
import random
import subprocess
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch

from lighthubert import Supernet, checkpoint
from lighthubert.config import Recipes
from lighthubert.data import Manifest
from lighthubert.models import Arch
from lighthubert.pretrain.distill import Distillation
from lighthubert.pretrain.recipe import Distill

RAW = Path(__file__).parent / "raw"
MIDDLE = {  # of the mini space, beside its largest and smallest
    "embed_dim": 144, "num_heads": 3, "ffn_ratio": 3.0, "num_layers": 5,
    "conv_channels": [24, 48, 96, 96, 96, 96, 96],
}  # fmt: skip


def read(name: str) -> list[dict[str, Any]]:
    path = RAW / f"{name}.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def write(name: str, key: tuple[str, ...], row: dict[str, Any]) -> None:
    """Add a row with where and when it was measured; it takes the place of one with the same values of `key`."""
    rows = {tuple(map(str, (r[k] for k in key))): r for r in read(name)}
    rows[tuple(str(row[k]) for k in key)] = row | {"commit": commit(), "device": device(), "date": date()}
    RAW.mkdir(exist_ok=True)
    (RAW / f"{name}.jsonl").write_text("".join(json.dumps(r, sort_keys=True) + "\n" for r in rows.values()))


def commit() -> str:
    return subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True
    ).stdout.strip()


def device() -> str:
    return "CPU, 1 thread, " + next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        platform.processor(),
    )


def date() -> str:
    return datetime.now(tz=timezone.utc).strftime("%Y-%m-%d")


def archs(supernet: Supernet, num_random: int = 10) -> dict[str, Arch]:
    """Largest, middle, smallest and random archs of the mini space; the one arch of a space that has no other."""
    space = supernet.space
    if space.num_archs == 1:
        return {"alone": space.largest()}
    named = {"largest": space.largest(), "middle": space.arch(MIDDLE), "smallest": space.smallest()}
    return named | {f"random{i}": space.sample(random.Random(i)) for i in range(num_random)}


@torch.no_grad()
def held_out(supernet: Supernet, recipe_file: Path) -> dict[str, dict[str, float]]:
    """Losses of a recipe's supernet by arch, on the embedded corpus' held-out clips, in fp32.

    "clean": over all frames of clean speech; "masked": over the masked frames of masked speech.
    """
    recipe = Recipes(Distill).read(recipe_file, [])
    valid = Manifest.read("lighthubert/data/mini/valid.tsv")
    objective = Distillation(supernet.eval(), checkpoint.read(recipe.teacher).hubert, recipe, valid)
    objective.archs = archs(supernet)
    losses: dict[str, dict[str, float]] = {name: {} for name in objective.archs}
    for key, (total, count) in objective.evaluate(0, 0, 1).items():
        kind, name = key.split("_loss/")
        losses[name][kind] = total / count
    return losses
