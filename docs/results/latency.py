"""Predicted against measured latency on this machine: python docs/results/latency.py [fp32 bf16] [--front RUN_DIR]

From the project's folder, into docs/results/raw/latency.jsonl and docs/results/latency.png: 100 random subnets of the
shipped supernet, standalone, which the model of latency has not seen. With --front, the front of a search under a
budget in milliseconds instead, against what the search believed.
"""

from __future__ import annotations

import argparse
import random
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from raw import read, write

import lighthubert as lh
from lighthubert.config import Recipes
from lighthubert.cost.clock import time_nets, typical
from lighthubert.cost.latency import ROUNDS, blocks, covering
from lighthubert.models import Arch
from lighthubert.search.recipe import Search

SUPERNET = "checkpoints/lighthubert-mini.safetensors"
KEY = ("set", "precision", "name")
SECONDS = 190  # at most, of a measurement
COLOURS = {"fp32": "tab:blue", "bf16": "tab:orange"}


def unseen(precision: str, num_archs: int = 100) -> list[dict[str, Any]]:
    supernet, conditions, rng = lh.load(SUPERNET), lh.cost.Conditions(precision=precision), random.Random("latency")
    archs = [supernet.space.sample(rng) for _ in range(num_archs)]
    model, times = measure(supernet, archs, conditions)
    return rows("unseen", model, archs, times)


def front(run_dir: Path) -> list[dict[str, Any]]:
    """By the search's own table, and by one that is measured with the front: the machine's speed changes meanwhile."""
    recipe = Recipes(Search).read(run_dir / "config.yaml", [])
    supernet = lh.load(recipe.supernet)
    archs = [supernet.space.arch(path) for path in sorted((run_dir / "front").glob("*.yaml"))]
    model, times = measure(supernet, archs, recipe.latency or lh.cost.Conditions())
    believed = lh.cost.Latency.load(run_dir / "latency.json", supernet.space)
    return rows("front", believed, archs, times) + rows("front_anew", model, archs, times)


def measure(
    supernet: lh.Supernet, archs: list[Arch], conditions: lh.cost.Conditions
) -> tuple[lh.cost.Latency, list[np.ndarray]]:
    """A model, and the times of archs that it has not seen, all in the same rounds."""
    space, seen = supernet.space, covering(supernet.space)
    splits = [[block.module for block in blocks(space.config(arch))] for arch in seen] + [[]] * len(archs)
    times = time_nets([supernet.sample(arch) for arch in [*seen, *archs]], conditions, ROUNDS, SECONDS, splits)
    model = lh.cost.Latency.of_times(space, conditions, seen, times[: len(seen)])
    return model, times[len(seen) :]


def rows(name: str, model: lh.cost.Latency, archs: list[Arch], times: list[np.ndarray]) -> list[dict[str, Any]]:
    found = []
    for i, (arch, table) in enumerate(zip(archs, times, strict=True)):
        values = {"predicted": model(model.space.config(arch)), "measured": float(typical(table)[0])}
        found.append({"set": name, "precision": model.described["precision"], "name": f"{name}{i}", "arch": str(arch),
                      "rounds": len(table), **{key: round(value, 4) for key, value in values.items()}})  # fmt: skip
    return found


def error(row: dict[str, Any]) -> float:
    return float(row["predicted"] / row["measured"] - 1)


def tell(measured: list[dict[str, Any]]) -> None:
    errors, first = [error(row) for row in measured], measured[0]
    sizes = [abs(e) for e in errors]
    print(f"{first['set']}, {first['precision']}: {len(measured)} archs, {first['rounds']} rounds; "
          f"median error {statistics.median(sizes):.1%}, mean {statistics.fmean(errors):+.1%}, "
          f"largest {max(sizes):.1%}; {sum(e <= 0.1 for e in sizes)} within 10 %", flush=True)  # fmt: skip


def draw(path: Path) -> None:
    figure = Figure(figsize=(4.6, 4.2), layout="constrained")
    ax = figure.subplots()
    for precision, colour in COLOURS.items():
        for name, marker in {"unseen": ".", "front": "^"}.items():
            points = [r for r in read("latency") if (r["precision"], r["set"]) == (precision, name)]
            if points:
                label = f"{precision}, {len(points)} archs" + (" of a search's front" if name == "front" else "")
                ax.plot([r["measured"] for r in points], [r["predicted"] for r in points], marker, color=colour, ms=5,
                        alpha=0.7, label=label, markeredgewidth=0)  # fmt: skip
    low, high = ax.get_xlim()
    ax.plot([low, high], [low, high], color="black", lw=0.8)
    ax.fill_between([low, high], [0.95 * low, 0.95 * high], [1.05 * low, 1.05 * high], color="0.9", label="within 5 %")
    ax.set(xlabel="measured, ms", ylabel="predicted, ms", xlim=(low, high))
    ax.legend(fontsize="small")
    ax.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=90)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("precisions", nargs="*", default=["fp32", "bf16"])
    parser.add_argument("--front", type=Path, metavar="RUN_DIR", help="the folder of a finished search")
    args = parser.parse_args()
    torch.set_num_threads(1)
    for measured in [front(args.front)] if args.front else map(unseen, args.precisions):
        for name in dict.fromkeys(row["set"] for row in measured):
            tell([row for row in measured if row["set"] == name])
        for row in measured:
            write("latency", KEY, row)
    draw(Path(__file__).with_name("latency.png"))


if __name__ == "__main__":
    main()
