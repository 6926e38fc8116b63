"""Distances between a prediction and a teacher's target."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from lighthubert.schema import Checked


@dataclass(frozen=True)
class DistanceConfig(Checked):
    """A weighted sum of distances: L1 (LightHuBERT), squared L2, and 1 - cosine (DistilHuBERT mixes L1 and cosine)."""

    l1: float = 1.0
    """Weight of the mean absolute difference."""
    l2: float = 0.0
    """Weight of the mean squared difference."""
    cosine: float = 0.0
    """Weight of 1 - the cosine."""

    def problems(self) -> Iterator[str]:
        if min(self.l1, self.l2, self.cosine) < 0 or self.l1 + self.l2 + self.cosine == 0:
            yield f"l1, l2, cosine: must not be negative nor all zero, got {self.l1}, {self.l2}, {self.cosine}"


def distance(prediction: Tensor, target: Tensor, config: DistanceConfig) -> Tensor:
    """Two (B, T, D) -> (B, T) float32; L1 and L2 are means over D."""
    prediction, target = prediction.float(), target.float()  # sums over D in half precision lose the small differences
    total = prediction.new_zeros(prediction.shape[:2])
    if config.l1:
        total = total + config.l1 * (prediction - target).abs().mean(-1)
    if config.l2:
        total = total + config.l2 * (prediction - target).square().mean(-1)
    if config.cosine:
        total = total + config.cosine * (1 - F.cosine_similarity(prediction, target, dim=-1))
    return total
