"""A budget: at most so much of each cost; which archs keep to it, and how others are brought under it."""

# N archs

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Mapping, Sequence

import numpy as np

from lighthubert.cost import Latency, costs
from lighthubert.elastic import SearchSpace
from lighthubert.models import Arch
from lighthubert.runtime.errors import UserError

MUTATION = 0.1  # chance that a choice is drawn anew
WALKS = 8  # mutants to choose from, where an arch is above the budget


class Budget:
    """limits: cost (params, macs, superb_macs, megabytes, milliseconds) -> at most so much. latency: what tells
    milliseconds.

    Raises ValueError if not even the smallest subnet of the space keeps to it, and says what that one costs.
    """

    def __init__(self, space: SearchSpace, limits: Mapping[str, float], latency: Latency | None = None) -> None:
        self.space, self.limits, self.latency = space, dict(limits), latency
        smallest = {name: values[0] for name, values in self.costs([space.smallest()]).items()}
        if over := [name for name, limit in limits.items() if smallest[name] > limit]:
            problem = "budget.{}: the smallest subnet has {}, got {:,.15g}"
            raise UserError("; ".join(problem.format(name, _rounded(smallest[name]), limits[name]) for name in over))

    def costs(self, archs: Sequence[Arch]) -> dict[str, np.ndarray]:
        """Cost -> (N,), of the costs that are limited."""
        return costs(self.space, archs, list(self.limits), self.latency)

    def share(self, archs: Sequence[Arch]) -> np.ndarray:
        """(N,) how much of the budget each arch takes, of the cost that it takes most of; above 1 is too much."""
        prices = self.costs(archs)
        return np.max([prices[name] / limit for name, limit in self.limits.items()], axis=0)

    def fit(self, archs: Sequence[Arch], rng: random.Random) -> list[Arch]:
        """The same archs, but those above the budget walk down, by mutants of them, until they just keep to it."""
        archs = list(archs)
        while len(over := np.flatnonzero(self.share(archs) > 1)):
            walks = [self._below(archs[i], rng) for i in over]
            shares = self.share(list(itertools.chain(*walks))).reshape(len(walks), -1)
            for i, walk, share in zip(over, walks, shares, strict=True):
                archs[i] = walk[np.where(share > 1, -share, share).argmax()]
        return archs

    def _below(self, arch: Arch, rng: random.Random) -> list[Arch]:
        """Where a walk may go on; a cross with the smallest arch is among it, so every walk arrives."""
        mutants = [self.space.mutate(arch, rng, MUTATION) for _ in range(WALKS)]
        return [*mutants, self.space.crossover(arch, self.space.smallest(), rng)]

    def draw(self, count: int, rng: random.Random) -> list[Arch]:
        """Random archs of the space, brought under the budget."""
        return self.fit([self.space.sample(rng) for _ in range(count)], rng)

    def starts(self) -> list[Arch]:
        """Archs of equal layers that a search looks at first.

        The smallest one, and it with one choice larger: they show what each choice is worth. And those in which no
        choice can grow within the budget: of two choices that are good together, random archs may show neither.
        """
        alike = self._alike()
        steps = [arch for place, arch in alike.items() if sum(i > 0 for i in place) <= 1]
        full = [arch for place, arch in alike.items() if not any(larger in alike for larger in _larger(place))]
        return list(dict.fromkeys([*steps, *full]))

    def uniform(self) -> Arch:
        """What one would take without a search: every layer alike, as much of the first cost as the budget allows.

        Of archs that cost the same, the one with the most parameters, then the deepest.
        """
        kept, first = list(self._alike().values()), next(iter(self.limits))
        prices = costs(self.space, kept, list({first, "params"}), self.latency)
        return kept[max(range(len(kept)), key=lambda i: (prices[first][i], prices["params"][i], kept[i].num_layers))]

    def _alike(self) -> dict[tuple[int, ...], Arch]:
        """Archs within the budget whose layers are all alike, by the place of each choice among its values, from the
        least."""
        space = self.space
        choices = {key: sorted(getattr(space, key)) for key in ("embed_dim", "num_layers", "num_heads", "ffn_ratio")}
        choices["conv_channels"] = sorted(space.conv_choices(), key=sum)
        places = list(itertools.product(*(range(len(values)) for values in choices.values())))
        archs = [space.arch({k: choices[k][i] for k, i in zip(choices, place, strict=True)}) for place in places]
        return {place: a for place, a, share in zip(places, archs, self.share(archs), strict=True) if share <= 1}


def _larger(place: tuple[int, ...]) -> list[tuple[int, ...]]:
    """The places with one choice a step larger."""
    return [(*place[:k], i + 1, *place[k + 1 :]) for k, i in enumerate(place)]


def _rounded(cost: float) -> str:
    """Rounded up where it is no whole number: a limit of so much suffices."""
    return f"{cost:,}" if cost == int(cost) else f"{math.ceil(1000 * cost) / 1000:,}"
