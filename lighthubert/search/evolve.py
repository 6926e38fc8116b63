"""Evolution under a budget: NSGA-II (Deb et al. 2002) over the archs of a space. The only door to pymoo."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.core.crossover import Crossover
from pymoo.core.duplicate import ElementwiseDuplicateElimination
from pymoo.core.mutation import Mutation
from pymoo.core.problem import Problem
from pymoo.core.repair import Repair
from pymoo.core.sampling import Sampling
from pymoo.optimize import minimize

from lighthubert.elastic import SearchSpace
from lighthubert.models import Arch
from lighthubert.search.budget import MUTATION, Budget

Score = Callable[[Sequence[Arch]], np.ndarray]  # archs -> (N,), lower is better


def evolve(space: SearchSpace, budget: Budget, score: Score, evaluations: int, population: int, seed: int) -> None:
    """Let `score` see `evaluations` archs, all within the budget, that get better and better.

    Objectives: the score, and every cost that the budget limits. A function of the seed and of what `score` answers.
    """
    algorithm = NSGA2(
        pop_size=population,
        sampling=_Draw(),
        crossover=_Cross(),
        mutation=_Mutate(),
        repair=_Fit(),
        eliminate_duplicates=_Same(),
    )
    minimize(_Problem(space, budget, score), algorithm, ("n_eval", evaluations), seed=seed)


class _Problem(Problem):
    def __init__(self, space: SearchSpace, budget: Budget, score: Score) -> None:
        super().__init__(n_var=1, n_obj=1 + len(budget.limits), vtype=object)
        self.space, self.budget, self.score = space, budget, score

    def _evaluate(self, x: np.ndarray, out: dict[str, np.ndarray], *_: object, **__: object) -> None:
        archs = list(x[:, 0])
        out["F"] = np.column_stack([self.score(archs), *self.budget.costs(archs).values()])


def _rng(random_state: np.random.Generator) -> random.Random:
    return random.Random(int(random_state.integers(2**62)))


def _column(archs: Sequence[Arch]) -> np.ndarray:
    column = np.empty((len(archs), 1), dtype=object)
    column[:, 0] = archs
    return column


class _Draw(Sampling):
    def _do(
        self, problem: _Problem, n_samples: int, *_: object, random_state: np.random.Generator, **__: object
    ) -> np.ndarray:
        return _column(problem.budget.draw(n_samples, _rng(random_state)))


class _Cross(Crossover):
    def __init__(self) -> None:
        super().__init__(2, 2)

    def _do(
        self, problem: _Problem, x: np.ndarray, *_: object, random_state: np.random.Generator, **__: object
    ) -> np.ndarray:
        rng, (a, b) = _rng(random_state), x[:, :, 0]
        children = [[problem.space.crossover(p, q, rng) for p, q in zip(a, b, strict=True)] for _ in range(2)]
        return np.stack([_column(archs) for archs in children])


class _Mutate(Mutation):
    def _do(
        self, problem: _Problem, x: np.ndarray, *_: object, random_state: np.random.Generator, **__: object
    ) -> np.ndarray:
        rng = _rng(random_state)
        return _column([problem.space.mutate(arch, rng, MUTATION) for arch in x[:, 0]])


class _Fit(Repair):
    """Children over the budget come back under it, so that no evaluation is spent on an arch that cannot be used."""

    def _do(
        self, problem: _Problem, x: np.ndarray, *_: object, random_state: np.random.Generator, **__: object
    ) -> np.ndarray:
        return _column(problem.budget.fit(list(x[:, 0]), _rng(random_state)))


class _Same(ElementwiseDuplicateElimination):
    def is_equal(self, a: Mapping[str, object], b: Mapping[str, object]) -> bool:
        return bool(a.X[0] == b.X[0])  # type: ignore[attr-defined]
