"""Which frames are masked, and which count in the loss."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from lighthubert.data import Batch, stream
from lighthubert.models import HubertConfig, num_frames, span_mask, valid_mask


@dataclass(frozen=True)
class FrameConfig:
    """Span masks, and the weight of masked and of unmasked frames in the loss, a weighted mean over frames."""

    mask_prob: float = 0.65
    mask_length: int = 10
    masked_weight: float = 1.0
    unmasked_weight: float = 0.0

    def __post_init__(self) -> None:
        problems = []
        if not 0 <= self.mask_prob <= 1:
            problems.append(f"mask_prob: must lie within 0 and 1, got {self.mask_prob}")
        if self.mask_length < 1:
            problems.append(f"mask_length: must be positive, got {self.mask_length}")
        if min(self.masked_weight, self.unmasked_weight) < 0 or self.masked_weight + self.unmasked_weight == 0:
            both = f"{self.masked_weight} and {self.unmasked_weight}"
            problems.append(f"masked_weight, unmasked_weight: must not be negative nor both zero, got {both}")
        if problems:
            raise ValueError("; ".join(problems))


def draw_mask(batch: Batch, net: HubertConfig, config: FrameConfig, seed: int) -> Tensor:
    """(B, T) bool on the host: each clip's mask is a function of (seed, epoch, clip), whatever its batch and rank."""
    frames = num_frames(batch.lengths, net).tolist()
    rngs = [stream("masks", seed, batch.epoch, row) for row in batch.rows]
    return span_mask(frames, config.mask_prob, config.mask_length, rngs)


def frame_weights(mask: Tensor, frames: Tensor, config: FrameConfig) -> Tensor:
    """mask (B, T) bool, frames (B,) valid ones -> weight of each frame (B, T) float; padding weighs nothing."""
    weights = mask * (config.masked_weight - config.unmasked_weight) + config.unmasked_weight
    return weights * valid_mask(frames, mask.shape[1])
