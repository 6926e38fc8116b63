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


@dataclass(frozen=True)
class MaskConfig:
    """What fine-tuning hides of a clip: spans of frames, and spans of channels of the front-end's projection.

    A probability of 0 hides nothing. wav2vec 2.0 and HuBERT: .65 to .75 of frames, .5 of channels in spans of 64.
    """

    time_prob: float = 0.0
    time_length: int = 10
    channel_prob: float = 0.0
    channel_length: int = 64

    def __post_init__(self) -> None:
        problems = []
        for key in ("time_prob", "channel_prob"):
            if not 0 <= getattr(self, key) <= 1:
                problems.append(f"{key}: must lie within 0 and 1, got {getattr(self, key)}")
        for key in ("time_length", "channel_length"):
            if getattr(self, key) < 1:
                problems.append(f"{key}: must be positive, got {getattr(self, key)}")
        if problems:
            raise ValueError("; ".join(problems))


def draw_masks(batch: Batch, net: HubertConfig, config: MaskConfig, seed: int) -> tuple[Tensor, Tensor]:
    """(B, T) of frames and (B, E) of channels, bool on the host: of each clip a function of (seed, epoch, clip)."""
    drawn = [[stream(purpose, seed, batch.epoch, row) for row in batch.rows] for purpose in ("masks", "channels")]
    frames = num_frames(batch.lengths.cpu(), net).tolist()
    time = span_mask(frames, config.time_prob, config.time_length, drawn[0])
    width = [net.embed_dim] * len(batch.rows)
    return time, span_mask(width, config.channel_prob, config.channel_length, drawn[1], min_spans=0)


def draw_mask(batch: Batch, net: HubertConfig, config: FrameConfig, seed: int) -> Tensor:
    """(B, T) bool on the host: each clip's mask is a function of (seed, epoch, clip), whatever its batch and rank."""
    frames = num_frames(batch.lengths, net).tolist()
    rngs = [stream("masks", seed, batch.epoch, row) for row in batch.rows]
    return span_mask(frames, config.mask_prob, config.mask_length, rngs)


def frame_weights(mask: Tensor, frames: Tensor, config: FrameConfig) -> Tensor:
    """mask (B, T) bool, frames (B,) valid ones -> weight of each frame (B, T) float; padding weighs nothing."""
    weights = mask * (config.masked_weight - config.unmasked_weight) + config.unmasked_weight
    return weights * valid_mask(frames, mask.shape[1])
