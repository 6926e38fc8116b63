"""What a probe finds out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

METRICS = {"accuracy": True, "cer": False}  # is a higher value better?


@dataclass(frozen=True)
class Score:
    """A metric on the held-out clips, by seed, and what the probe chose without them.

    metric: "accuracy", or "cer", the character error rate (above 1 where more is inserted than there is to say).
    layer: the chosen one, or the heaviest in a weighted sum. by_layer: each layer's accuracy in choosing, or its
    weight in the sum. penalty: the chosen one; None where nothing is chosen.
    """

    metric: str
    values: tuple[float, ...]
    layer: int
    penalty: float | None
    by_layer: tuple[float, ...]
    num_train: int
    num_test: int

    @property
    def mean(self) -> float:
        return float(np.mean(self.values))

    @property
    def goodness(self) -> float:
        """The mean, turned so that higher is better: an accuracy, or 1 - an error rate."""
        return self.mean if METRICS[self.metric] else 1 - self.mean
