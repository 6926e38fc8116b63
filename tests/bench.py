"""`make bench`: where the time of a stage 2 step goes, what the supernet costs beside an extracted net, and how fast
costs are counted.

Ratios within one run are what to quote: the machine's speed drifts. docs/benchmarks.md keeps dated results.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from lighthubert.checkpoint import load, read
from lighthubert.config import Recipes
from lighthubert.cost import costs, macs
from lighthubert.data import Manifest, Reader
from lighthubert.elastic import SearchSpace
from lighthubert.models import num_frames
from lighthubert.objectives import predictions, targets
from lighthubert.pretrain.distill import Distillation, take
from lighthubert.pretrain.init import build_supernet
from lighthubert.pretrain.recipe import Distill
from lighthubert.search.recipe import Search
from lighthubert.search.score import HeldOutLoss, draw_clips

ROOT = Path(__file__).parent.parent
STEPS, WARM = 12, 4


def clock(action: Callable[[], object], timer: Callable[[], float] = time.perf_counter) -> tuple[float, object]:
    start = timer()
    value = action()
    return timer() - start, value


def step_shares(recipe: Distill, precision: str) -> dict[str, float]:
    """Mean seconds of each part of a step, over STEPS steps: whole rounds of subnets that take turns."""
    teacher = read(recipe.teacher).hubert
    supernet = build_supernet(SearchSpace.load(recipe.space), teacher, "teacher", recipe.target, recipe.seed)
    objective = Distillation(supernet, teacher, recipe, Manifest.read(recipe.valid_manifest))
    reader = Reader(Manifest.read(recipe.train_manifest), recipe.data, supernet.config, seed=recipe.seed)
    optimizer = torch.optim.AdamW(supernet.parameters(), lr=1e-4)
    table: list[dict[str, float]] = []
    for step in range(STEPS + WARM):
        row: dict[str, float] = {}
        row["data"], batch = clock(lambda: next(reader))
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16", cache_enabled=False):
            with torch.no_grad():
                row["teacher"], output = clock(lambda: teacher(batch.waveform, batch.lengths))
            target = targets(output, recipe.target)
            mask, weights = objective.weights(batch)
            row |= {"front-end": 0.0, "encoder": 0.0, "backward": 0.0}
            for subnet, rows in zip(objective.subnets(step), objective.shares(batch, step), strict=True):
                part = take(batch, rows)
                frames = num_frames(part.waveform.shape[1], supernet.config)
                front, _ = clock(lambda: front_end(supernet, subnet, part))
                both, output = clock(lambda: supernet(part.waveform, part.lengths, subnet, mask[rows, :frames]))
                goal = {key: value[rows, :frames] for key, value in target.items()}
                predicted = predictions(supernet, output, subnet, recipe.target)
                loss = objective.distance(predicted, goal, weights[rows, :frames])
                row["front-end"] += front
                row["encoder"] += max(both - front, 0.0)
                row["backward"] += clock(loss.backward)[0]
        row["optimizer"] = clock(optimizer.step)[0]
        optimizer.zero_grad()
        row["audio"] = batch.seconds
        table.append(row)
    return {key: statistics.fmean(row[key] for row in table[WARM:]) for key in table[0]}


def front_end(supernet: torch.nn.Module, subnet: object, batch: object) -> torch.Tensor:
    """The front-end of a subnet alone, with gradients."""
    from torch.func import functional_call

    from lighthubert.elastic import select, skeleton

    net = skeleton(subnet.config(supernet.config))
    params = select(dict(supernet.hubert.named_parameters()), subnet, supernet.config)
    own = {name.removeprefix("frontend."): p for name, p in params.items() if name.startswith("frontend.")}
    return functional_call(net.frontend, own, (batch.waveform, batch.lengths))


def overhead(recipe: Distill) -> list[tuple[str, float, float]]:
    """Forward and backward of an arch inside the supernet over the same as an extracted net, as a ratio of medians."""
    teacher = read(recipe.teacher).hubert
    supernet = build_supernet(SearchSpace.load(recipe.space), teacher, "teacher", recipe.target, recipe.seed)
    waveform = torch.randn(4, 64000)
    rows = []
    for name in ("largest", "smallest"):
        arch = getattr(supernet.space, name)()
        net = supernet.sample(arch)

        def run(forward: Callable[[], object]) -> float:
            return clock(lambda: forward().last_hidden_state.sum().backward())[0]

        pairs = [(run(lambda: supernet(waveform, None, arch)), run(lambda: net(waveform))) for _ in range(STEPS)]
        rows.append((name, statistics.median(a / b for a, b in pairs[2:]), statistics.median(b for _, b in pairs[2:])))
    return rows


def scoring() -> list[tuple[str, float, float]]:
    """A search's score of an arch, extraction included, over that of the extracted net: CPU time, median of ratios."""
    recipe = Recipes(Search).read(ROOT / "recipes/mini/search.yaml", [])
    supernet = load(ROOT / recipe.supernet)
    clips = draw_clips(Manifest.read(ROOT / recipe.valid_manifest), recipe.seconds, recipe.data)
    score = HeldOutLoss(supernet, read(ROOT / supernet.predicts["teacher"]).hubert, clips, recipe.data)
    rows = []
    for name in ("largest", "smallest"):
        arch = getattr(supernet.space, name)()
        net = supernet.sample(arch)
        both = (lambda: score(supernet.sample(arch)), lambda: score(net))
        pairs = [tuple(clock(action, time.process_time)[0] for action in both) for _ in range(STEPS)]
        rows.append((name, statistics.median(a / b for a, b in pairs[2:]), statistics.median(b for _, b in pairs[2:])))
    return rows


def costing() -> list[tuple[str, float, float]]:
    """By space: thousands of archs whose parameters and MACs are counted in a second of CPU time, and milliseconds of
    it for the MACs of a config that is seen for the first time."""
    rows = []
    for name in ("mini", "base"):
        space, rng = SearchSpace.load(name), random.Random(1)
        archs = [space.sample(rng) for _ in range(2000)]
        seconds = [clock(lambda: costs(space, archs, ["params", "macs"]), time.process_time)[0] for _ in range(STEPS)]
        configs = [space.config(arch) for arch in archs[:100]]
        unseen = [clock(lambda config=config: macs(config), time.process_time)[0] for config in configs]
        rows.append((name, len(archs) / statistics.median(seconds[2:]) / 1000, 1000 * statistics.median(unseen)))
    return rows


def main() -> None:
    recipe = Recipes(Distill).read(ROOT / "recipes/mini/stage2.yaml", [])
    keys = ("teacher", "train_manifest", "valid_manifest")
    recipe = replace(recipe, **{key: str(ROOT / getattr(recipe, key)) for key in keys})
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, batches of {recipe.data.max_seconds:g} s")
    print("\n| stage 2 step | ms | audio s/s | data | teacher | front-end | encoder | backward | optimizer |")
    print("|---|---|---|---|---|---|---|---|---|")
    for precision in ("fp32", "bf16"):
        parts = step_shares(recipe, precision)
        audio = parts.pop("audio")
        total = sum(parts.values())
        shares = " | ".join(f"{value / total:.0%}" for value in parts.values())
        print(f"| {precision} | {1000 * total:.0f} | {audio / total:.0f} | {shares} |")
    print("\n| forward and backward, fp32 | supernet / extracted | extracted, ms |\n|---|---|---|")
    for name, ratio, seconds in overhead(recipe):
        print(f"| {name} | {ratio:.2f} | {1000 * seconds:.0f} |")
    print("\n| a search's score, 40 s of speech, fp32 | from supernet / extracted | extracted, CPU ms |\n|---|---|---|")
    for name, ratio, seconds in scoring():
        print(f"| {name} | {ratio:.3f} | {1000 * seconds:.0f} |")
    print(
        "\n| space | thousand archs a CPU second, parameters and MACs | MACs of a new config, CPU ms |\n|---|---|---|"
    )
    for name, rate, milliseconds in costing():
        print(f"| {name} | {rate:.0f} | {milliseconds:.2f} |")


if __name__ == "__main__":
    main()
