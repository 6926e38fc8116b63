"""The search itself: evolution under a budget, and beside it what one would get without."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lighthubert.cost import Latency
from lighthubert.elastic import SearchSpace, Supernet
from lighthubert.models import Arch
from lighthubert.runtime import ranks
from lighthubert.runtime.progress import ProgressLine
from lighthubert.runtime.stop import StopRequest
from lighthubert.search.budget import Budget
from lighthubert.search.record import Record, Scored


class Stopped(Exception):
    """Asked to stop by a signal; everything that was scored is kept."""


@dataclass(frozen=True)
class Found:
    """What a search has found.

    best: the best arch within the budget. random: the best of as many random archs. uniform: the arch whose layers
    are all alike. front: archs of which none is worse than another in the score and every cost of the budget, from the
    cheapest. scored: every arch that was scored.
    """

    space: SearchSpace
    budget: dict[str, float]
    best: Scored
    random: Scored
    uniform: Scored
    front: list[Scored]
    scored: list[Scored]
    num_random: int


def space_of(supernet: Supernet) -> SearchSpace:
    """The space to search. Raises ValueError for a net alone."""
    if not isinstance(supernet.space, SearchSpace):
        raise ValueError(f"{supernet.space!r}: a single net; there is nothing to search")
    return supernet.space


def run_search(
    space: SearchSpace,
    limits: Mapping[str, float],
    score: Callable[[Arch], float],
    *,
    evaluations: int,
    population: int,
    seed: int,
    path: Path | None = None,
    recipe: Mapping[str, Any] | None = None,
    latency: Latency | None = None,
) -> Found:
    """Score `evaluations` archs by evolution, rounded up to whole generations, and as many random ones.

    path: the record that a next call goes on with. latency: for a budget in milliseconds, or to have them beside it.

    Raises ValueError for a budget that no arch keeps to, StateError for a record of another recipe, Stopped.
    """
    budget = Budget(space, limits, latency)
    evaluations = -(-evaluations // population) * population  # whole generations
    record = Record(space, score, limits, path, recipe or {}, latency)
    asked: dict[str, list[Arch]] = {"evolution": [], "random": [], "uniform": [budget.uniform()]}
    with StopRequest() as stop, _progress(record, 2 * evaluations + 1, stop):
        record(asked["uniform"], "uniform")

        def scores(archs: Sequence[Arch]) -> np.ndarray:
            asked["evolution"] += archs
            return record(archs, "evolution")

        from lighthubert.search.evolve import evolve  # pymoo takes a second to import

        evolve(space, budget, scores, evaluations // population, population, seed)
        asked["random"] = budget.draw(evaluations, random.Random(f"random search {seed}"))
        record(asked["random"], "random")
    rows = {origin: [record.scored[arch] for arch in dict.fromkeys(archs)] for origin, archs in asked.items()}
    best, at_random, uniform = (min(rows[origin], key=lambda row: row.score) for origin in asked)
    every = list(record.scored.values())
    return Found(space, budget.limits, best, at_random, uniform, front(rows["evolution"], list(limits)),
                 every, evaluations)  # fmt: skip


def front(rows: Sequence[Scored], names: Sequence[str]) -> list[Scored]:
    """Rows that no other row beats: not worse in score and in these costs, and better in one. From the cheapest."""
    values = np.array([[row.score, *(row.costs[name] for name in names)] for row in rows])
    kept = [i for i, value in enumerate(values) if not ((values <= value).all(1) & (values < value).any(1)).any()]
    return sorted((rows[i] for i in kept), key=lambda row: (row.costs[names[0]], row.score))


@contextmanager
def _progress(record: Record, total: int, stop: StopRequest) -> Iterator[None]:
    """Shows how far a search is, and ends it where a signal asks for that."""
    line = ProgressLine(len(record.scored), total) if ranks.rank() == 0 else None

    def on_scored() -> None:
        if line:
            best = min(row.score for row in record.scored.values())
            line.update(len(record.scored), f"best {best:.4f}")
        if ranks.any_rank(bool(stop.signal)):
            raise Stopped

    record.on_scored = on_scored
    try:
        yield
    finally:
        if line:
            line.close()
