"""Evolution under a budget: NSGA-II (Deb et al. 2002) over the archs of a space, by predicted scores, proposes what to
score next. The only door to pymoo."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.core.crossover import Crossover
from pymoo.core.duplicate import DuplicateElimination
from pymoo.core.mutation import Mutation
from pymoo.core.population import Population
from pymoo.core.problem import Problem
from pymoo.core.repair import Repair
from pymoo.optimize import minimize
from pymoo.util.nds.non_dominated_sorting import NonDominatedSorting

from lighthubert.elastic import SearchSpace
from lighthubert.models import Arch
from lighthubert.runtime import ranks
from lighthubert.search.budget import MUTATION, Budget
from lighthubert.search.predict import Predictor

Score = Callable[[Sequence[Arch]], np.ndarray]  # archs -> (N,), lower is better
CROWD, STEPS = 40, 10  # of the evolution by predicted scores, between two generations that are scored
TRIES = 3  # to fill a step of it with new archs; small spaces run out of them


def evolve(space: SearchSpace, budget: Budget, score: Score, generations: int, population: int, seed: int) -> None:
    """Let `score` see generations of archs, none twice, all within the budget, that get better and better.

    First come the budget's `starts`, and random archs to fill their generations. Each other one is what evolution
    finds by the scores that a regression on all before it predicts. A function of the seed and of what `score` answers.
    Ends early where no other arch is found.
    """
    starts, scored = budget.starts(), dict[Arch, float]()
    for generation in range(generations):
        rng = random.Random(f"generation {generation} of search {seed}")
        if new := [arch for arch in starts if arch not in scored]:
            drawn = [arch for arch in budget.draw(4 * population, rng) if arch not in scored]
            archs = list(dict.fromkeys([*new, *drawn]))[:population]
        else:  # ranks might round a regression differently, so one of them speaks for all
            archs = ranks.on_first(partial(_propose, space, budget, scored, population, rng))
        if not archs:
            return
        scored |= dict(zip(archs, score(archs).tolist(), strict=True))


def _propose(
    space: SearchSpace, budget: Budget, scored: Mapping[Arch, float], population: int, rng: random.Random
) -> list[Arch]:
    """The next generation: half of it the best by prediction, half spread along the predicted front."""
    predict, seen = Predictor(space, scored), dict[Arch, float]()

    def score(archs: Sequence[Arch]) -> np.ndarray:
        scores = predict(archs)
        seen.update(zip(archs, scores.tolist(), strict=True))
        return scores

    start = sorted(scored, key=lambda arch: scored[arch])[: CROWD // 2]
    _evolve(_Problem(space, budget, score), [*start, *budget.draw(CROWD - len(start), rng)], rng)
    new = sorted((arch for arch in seen if arch not in scored), key=lambda arch: seen[arch])
    if not new:
        return []
    values = np.column_stack([[seen[arch] for arch in new], *budget.costs(new).values()])
    front = sorted(NonDominatedSorting().do(values, only_non_dominated_front=True).tolist())
    best = population // 2
    spread = np.linspace(0, len(front) - 1, population - best).round().astype(int)
    order = dict.fromkeys([*range(best), *(front[i] for i in spread), *range(len(new))])
    return [new[i] for i in order if i < len(new)][:population]


def _evolve(problem: _Problem, start: Sequence[Arch], rng: random.Random) -> None:
    algorithm = NSGA2(
        pop_size=CROWD,
        sampling=_column(start),
        crossover=_Cross(2, 2),
        mutation=_Mutate(),
        repair=_Fit(),
        eliminate_duplicates=_Same(),
    )
    algorithm.mating.n_max_iterations = TRIES
    minimize(problem, algorithm, ("n_gen", STEPS), seed=rng.randrange(2**31))


class _Problem(Problem):
    def __init__(self, space: SearchSpace, budget: Budget, score: Score) -> None:
        super().__init__(n_var=1, n_obj=1 + len(budget.limits), vtype=object)
        self.space, self.budget, self.score = space, budget, score

    def _evaluate(self, x: np.ndarray, out: dict[str, np.ndarray], *_: object, **__: object) -> None:
        archs = list(x[:, 0])
        out["F"] = np.column_stack([self.score(archs), *self.budget.costs(archs).values()])


def _rng(options: Mapping[str, Any]) -> random.Random:
    """Random numbers of one call of an operator, from pymoo's generator."""
    return random.Random(int(options["random_state"].integers(2**62)))


def _column(archs: Sequence[Arch]) -> np.ndarray:
    column = np.empty((len(archs), 1), dtype=object)
    column[:, 0] = archs
    return column


class _Cross(Crossover):
    def _do(self, problem: _Problem, x: np.ndarray, *_: object, **options: Any) -> np.ndarray:
        rng, (a, b) = _rng(options), x[:, :, 0]
        children = [[problem.space.crossover(p, q, rng) for p, q in zip(a, b, strict=True)] for _ in range(2)]
        return np.stack([_column(archs) for archs in children])


class _Mutate(Mutation):
    def _do(self, problem: _Problem, x: np.ndarray, *_: object, **options: Any) -> np.ndarray:
        rng = _rng(options)
        return _column([problem.space.mutate(arch, rng, MUTATION) for arch in x[:, 0]])


class _Fit(Repair):
    """Children over the budget come back under it, so that no evaluation is spent on an arch that cannot be used."""

    def _do(self, problem: _Problem, x: np.ndarray, *_: object, **options: Any) -> np.ndarray:
        return _column(problem.budget.fit(list(x[:, 0]), _rng(options)))


class _Same(DuplicateElimination):
    def _do(self, pop: Population, other: Population | None, is_duplicate: np.ndarray) -> np.ndarray:
        seen = set() if other is None else {one.X[0] for one in other}
        for i, one in enumerate(pop):
            is_duplicate[i] |= one.X[0] in seen
            seen.add(one.X[0])
        return is_duplicate
