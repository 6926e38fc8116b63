"""Search: the best subnet of a supernet for a budget."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lighthubert.cost import Latency
    from lighthubert.elastic import Supernet
    from lighthubert.models import Hubert
    from lighthubert.search.run import Found


def find(supernet: Supernet, budget: Mapping[str, float], score: Callable[[Hubert], float], *,
         evaluations: int = 1000, population: int = 20, seed: int = 1,
         latency: Latency | None = None) -> Found:  # fmt: skip
    """The best subnets of a supernet under a budget, by constrained evolution and without retraining.

    budget: cost -> at most so much; params, macs (of 10 s), superb_macs, megabytes (of a float16 file), milliseconds.
    score: a standalone subnet -> a number, lower is better; lighthubert.search.score.HeldOutLoss is the job's own.
    evaluations: how many archs evolution may score; random search scores as many beside it.
    latency: what milliseconds are, which archs then have beside their other costs. None: for a budget in milliseconds,
    those of 10 s in fp32 on a thread of this machine, which is measured the first time.
    Raises ValueError for a budget that no subnet keeps to. `lighthubert search` does the same on files, in several
    processes, and resumes.
    """
    from lighthubert.cost import Latency
    from lighthubert.search.run import run_search, space_of

    space = space_of(supernet)
    if "milliseconds" in budget and latency is None:
        latency = Latency.here(space)
    return run_search(space, budget, lambda arch: score(supernet.sample(arch)), evaluations=evaluations,
                      population=population, seed=seed, latency=latency)  # fmt: skip
