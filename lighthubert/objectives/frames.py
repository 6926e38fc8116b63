"""Which frames are masked, and which count in the loss."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

from torch import Tensor

from lighthubert.data import Batch, stream
from lighthubert.models import HubertConfig, num_frames, span_mask, valid_mask
from lighthubert.schema import POSITIVE, SHARE, Checked


@dataclass(frozen=True)
class FrameConfig(Checked):
    """Span masks, and the weight of masked and of unmasked frames in the loss, a weighted mean over frames."""

    mask_prob: Annotated[float, SHARE] = 0.65
    """Share of frames that the spans would cover if they did not overlap."""
    mask_length: Annotated[int, POSITIVE] = 10
    """Frames of a span."""
    masked_weight: float = 1.0
    """Of each masked frame in the loss."""
    unmasked_weight: float = 0.0
    """Of each other frame in the loss."""

    def problems(self) -> Iterator[str]:
        if min(self.masked_weight, self.unmasked_weight) < 0 or self.masked_weight + self.unmasked_weight == 0:
            both = f"{self.masked_weight} and {self.unmasked_weight}"
            yield f"masked_weight, unmasked_weight: must not be negative nor both zero, got {both}"


def draw_mask(batch: Batch, net: HubertConfig, config: FrameConfig, seed: int) -> Tensor:
    """(B, T) bool on the host: each clip's mask is a function of (seed, epoch, clip), whatever its batch and rank."""
    frames = num_frames(batch.lengths, net).tolist()
    rngs = [stream("masks", seed, batch.epoch, row) for row in batch.rows]
    return span_mask(frames, config.mask_prob, config.mask_length, rngs)


def frame_weights(mask: Tensor, frames: Tensor, config: FrameConfig) -> Tensor:
    """mask (B, T) bool, frames (B,) valid ones -> weight of each frame (B, T) float; padding weighs nothing."""
    weights = mask * (config.masked_weight - config.unmasked_weight) + config.unmasked_weight
    return weights * valid_mask(frames, mask.shape[1])
