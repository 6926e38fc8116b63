"""HuBERT's convolutional front-end: waveform to frames, 20 ms each in HuBERT itself."""

# B batch, S samples, C channels, T frames (of the convolution at hand), E embed

from __future__ import annotations

from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lighthubert.models.config import HubertConfig

SAMPLE_RATE = 16_000  # Hz, of all audio that nets hear
N = TypeVar("N")  # int, numpy array or tensor of counts


def num_frames(num_samples: N, config: HubertConfig) -> N:
    """How many frames the front-end makes of so many samples (16 kHz). HuBERT: one more for every 320 after 400."""
    for kernel, stride in zip(config.conv_kernels, config.conv_strides, strict=True):
        num_samples = (num_samples - kernel) // stride + 1  # type: ignore[operator,assignment]
    return num_samples


def receptive_field(config: HubertConfig) -> int:
    """The fewest samples that make one frame: 400 for HuBERT."""
    num_samples = 1
    for kernel, stride in zip(reversed(config.conv_kernels), reversed(config.conv_strides), strict=True):
        num_samples = (num_samples - 1) * stride + kernel
    return num_samples


def frame_middles(config: HubertConfig, count: int) -> Tensor:
    """(count,) where in a clip the middles of its first frames are, in samples."""
    return receptive_field(config) / 2 + config.hop * torch.arange(count)


def nearest_frames(num_samples: int, config: HubertConfig, first: float, hop: float, count: int) -> Tensor:
    """(T,) int64, which of `count` other frames of a clip is nearest to each frame of a net; the earlier of two.

    first, hop: samples to the middle of the first of the others, and between their middles.
    """
    middles = frame_middles(config, max(num_frames(num_samples, config), 0))
    return ((middles - first) / hop - 0.5).ceil().long().clamp(0, count - 1)


def require_same_frames(teacher: HubertConfig, student: HubertConfig) -> None:
    """Raise ValueError where two nets make other frames of a clip, whose states cannot be compared one by one."""
    theirs, own = ((receptive_field(net), net.hop) for net in (teacher, student))
    if theirs != own:
        raise ValueError(f"teacher: its frames are {theirs[0]} samples long and {theirs[1]} apart, "
                         f"the student's {own[0]} and {own[1]}: they must be the same")  # fmt: skip


def valid_mask(lengths: Tensor, width: int) -> Tensor:
    """(B, width) bool, True where a position is before its row's length (B,)."""
    return torch.arange(width, device=lengths.device) < lengths[:, None]


def normalize_waveform(waveform: Tensor, lengths: Tensor | None) -> Tensor:
    """Zero mean and unit variance of each clip (B, S) over its valid samples; padding becomes 0.

    Equals torch's layer_norm over an unpadded clip (eps 1e-5), as fairseq and s3prl do it.
    """
    if lengths is None:
        return F.layer_norm(waveform, waveform.shape[-1:])
    return standardize(waveform, valid_mask(lengths, waveform.shape[1]), lengths[:, None])


def standardize(x: Tensor, valid: Tensor, count: Tensor) -> Tensor:
    """Zero mean, unit variance over the valid positions of the last dimension, 0 elsewhere.

    count: how many are valid. In two passes, so that nothing cancels.
    """
    mean = torch.where(valid, x, 0).sum(-1, keepdim=True) / count
    x = torch.where(valid, x - mean, 0)
    return x * torch.rsqrt(x.square().sum(-1, keepdim=True) / count + 1e-5)


def exact(x: Tensor) -> Tensor:
    """In single precision at least: sums over channels, or over thousands of frames, are not for half precision."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


class ChannelNorm(nn.GroupNorm):
    """Group norm with one group per channel, over valid frames only, so that padding changes nothing."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, channels)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:  # (B, C, T), (B,) frames
        x, weight, bias = exact(x), exact(self.weight), exact(self.bias)
        if lengths is None:
            x = F.group_norm(x, x.shape[1], weight, bias)
        else:
            x = standardize(x, valid_mask(lengths, x.shape[2])[:, None], lengths[:, None, None])
            x = torch.addcmul(bias[:, None], x, weight[:, None])
        return x.to(self.weight.dtype)


class ExactLayerNorm(nn.LayerNorm):
    """Layer norm that counts in single precision at least, under autocast too."""

    def forward(self, x: Tensor) -> Tensor:
        x = F.layer_norm(exact(x), self.normalized_shape, exact(self.weight), exact(self.bias), self.eps)
        return x.to(self.weight.dtype)


class FrameNorm(ExactLayerNorm):
    """Layer norm over the channels of (B, C, T)."""

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        return super().forward(x.transpose(1, 2)).transpose(1, 2)


class Frontend(nn.Module):
    """Convolutions with GELU, layer norm, and the projection to the embedding width."""

    scale: nn.Parameter | None  # (C,) behind the last convolution

    def __init__(self, config: HubertConfig) -> None:
        super().__init__()
        self.config = config
        channels = (1, *config.conv_channels)
        self.convs = nn.ModuleList(
            nn.Conv1d(channels[i], channels[i + 1], kernel, stride, bias=config.conv_bias)
            for i, (kernel, stride) in enumerate(zip(config.conv_kernels, config.conv_strides, strict=True))
        )
        if config.conv_norm == "group":
            self.norms = nn.ModuleList([ChannelNorm(channels[1])])
        else:
            self.norms = nn.ModuleList(FrameNorm(c) for c in channels[1:])
        self.register_parameter("scale", nn.Parameter(torch.ones(channels[-1])) if config.conv_scale else None)
        self.norm = ExactLayerNorm(channels[-1])
        self.proj = nn.Linear(channels[-1], config.embed_dim)

    def forward(self, waveform: Tensor, lengths: Tensor | None = None) -> Tensor:
        """(B, S) and (B,) samples -> (B, T, E)."""
        x = waveform[:, None]
        for i, conv in enumerate(self.convs):
            x = conv(x) if i else self._filter(x)
            if lengths is not None:
                lengths = (lengths - self.config.conv_kernels[i]) // self.config.conv_strides[i] + 1
            if i < len(self.norms):
                x = self.norms[i](x, lengths)
            x = F.gelu(x)
        x = x.transpose(1, 2)
        return self.proj(self.norm(x if self.scale is None else x * self.scale))

    def _filter(self, waveform: Tensor) -> Tensor:
        """The first convolution, in single precision under autocast too.

        The norm after it makes quiet channels as loud as the rest, errors of their small filters included. With the
        mini teacher on speech, these weights in bf16 alone turn the gradient: cosine .91 over all, .5 for the weights.
        """
        device = waveform.device.type
        if not torch.amp.is_autocast_available(device):
            return self.convs[0](waveform)
        with torch.autocast(device, enabled=False):
            return self.convs[0](waveform)
