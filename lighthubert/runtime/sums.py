"""Sums and counts by name: what a mean over all ranks is made of."""

from __future__ import annotations

import math
from collections.abc import Mapping


class Sums(dict[str, tuple[float, float]]):
    """Name -> (sum, count)."""

    def add(self, name: str, value: float, count: float) -> None:
        """Add to one of them."""
        before = self.get(name, (0.0, 0.0))
        self[name] = (before[0] + value, before[1] + count)

    def extend(self, others: Mapping[str, tuple[float, float]]) -> None:
        """Add to all that are named."""
        for name, (value, count) in others.items():
            self.add(name, value, count)

    def means(self) -> dict[str, float | None]:
        """None where a mean is not finite, for JSON has no such number; nothing where the count is 0."""
        means = {name: value / count for name, (value, count) in self.items() if count}
        return {name: mean if math.isfinite(mean) else None for name, mean in means.items()}
