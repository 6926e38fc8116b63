"""HuBERT: one class for the teacher, the supernet's weights, every subnet and every pruned net."""

# B batch, S samples, T frames, E embed

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lighthubert.models.config import HubertConfig, brief
from lighthubert.models.encoder import Encoder
from lighthubert.models.frontend import Frontend, normalize_waveform, num_frames, receptive_field, valid_mask


@dataclass(frozen=True, eq=False)
class HubertOutput:
    """hidden_states[0] is the front-end's projection, before the positional convolution (masked frames replaced);
    hidden_states[i] is the output of layer i. All (B, T, E). lengths (B,) counts valid frames."""

    hidden_states: tuple[Tensor, ...]
    ffn_outputs: tuple[Tensor, ...]  # of each layer, before the residual add
    lengths: Tensor

    @property
    def last_hidden_state(self) -> Tensor:
        """(B, T, E); with the final norm in pre-norm nets."""
        return self.hidden_states[-1]


class Hubert(nn.Module):
    """A HuBERT of any sizes (Hsu et al. 2021): plain weights, no buffers, no parametrisations.

    A clip's outputs do not depend on its batch-mates: norms, positional convolution and attention look at valid
    frames only.
    """

    def __init__(self, config: HubertConfig) -> None:
        super().__init__()
        self.config = config
        self.mask_embed = nn.Parameter(torch.empty(config.embed_dim))
        self.frontend = Frontend(config)
        self.encoder = Encoder(config)
        if not self.mask_embed.is_meta:
            self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Initialise as HuBERT's pre-training does (normal .02 for matrices, Kaiming for convolutions)."""
        nn.init.uniform_(self.mask_embed)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)
        std = math.sqrt(4 / (self.config.pos_conv_kernel * self.config.embed_dim))
        for name, parameter in self.named_parameters():
            if name.startswith("frontend.convs.") and name.endswith("weight"):
                nn.init.kaiming_normal_(parameter)
            elif name.startswith("encoder.pos_convs."):
                nn.init.zeros_(parameter) if name.endswith("bias") else nn.init.normal_(parameter, std=std)

    def forward(self, waveform: Tensor, lengths: Tensor | None = None, mask: Tensor | None = None,
                channel_mask: Tensor | None = None) -> HubertOutput:  # fmt: skip
        """waveform (B, S) float at 16 kHz, of any precision; lengths (B,) valid samples, all if None; mask (B, T) bool,
        True = masked.

        channel_mask (B, E) bool: channels of the projection that are 0 in the whole clip, as in fine-tuning.
        Raises ValueError for wrong types and shapes, and for clips shorter than one frame's receptive field.
        """
        self._check(waveform, lengths, mask, channel_mask)
        if lengths is not None:  # whatever stands in the padding, be it NaN
            waveform = torch.where(valid_mask(lengths, waveform.shape[1]), waveform, 0)
        if self.config.normalize_waveform:
            waveform = normalize_waveform(waveform, lengths)
        x = self.frontend(waveform.to(self.mask_embed.dtype), lengths)
        if mask is not None:
            if mask.shape != x.shape[:2] or mask.dtype != torch.bool:
                raise ValueError(f"mask: expected bool of shape {tuple(x.shape[:2])} (clips, frames), "
                                 f"got {mask.dtype} {tuple(mask.shape)}")  # fmt: skip
            x = torch.where(mask[:, :, None], self.mask_embed.to(x.dtype), x)
        if channel_mask is not None:
            x = torch.where(channel_mask[:, None], 0, x)
        if lengths is None:
            valid, frames = None, torch.full((x.shape[0],), x.shape[1], device=x.device)
        else:
            frames = num_frames(lengths, self.config)
            valid = valid_mask(frames, x.shape[1])
            x = x * valid[:, :, None]
        states, ffn_outputs = self.encoder(x, valid)
        return HubertOutput((x, *states), tuple(ffn_outputs), frames)

    def _check(self, waveform: Tensor, lengths: Tensor | None, *masks: Tensor | None) -> None:
        names = ("waveform", "lengths", "mask", "channel_mask")
        for name, value in zip(names, (waveform, lengths, *masks), strict=True):
            if value is not None and not isinstance(value, Tensor):
                raise ValueError(f"{name}: expected a torch tensor, got {type(value).__name__}")
        if waveform.ndim != 2 or not waveform.is_floating_point():
            raise ValueError(
                f"waveform: expected floats of shape (clips, samples), got {waveform.dtype} {tuple(waveform.shape)}"
            )
        shortest = receptive_field(self.config)
        if waveform.shape[1] < shortest:
            raise ValueError(f"waveform: needs {shortest} samples or more (one frame), got {waveform.shape[1]}")
        if lengths is None or torch.compiler.is_compiling():
            return
        if lengths.shape != waveform.shape[:1] or lengths.is_floating_point():
            raise ValueError(f"lengths: expected integers of shape ({waveform.shape[0]},), "
                             f"got {lengths.dtype} {tuple(lengths.shape)}")  # fmt: skip
        if lengths.device.type != "cpu":
            return  # to look at them would wait for the accelerator
        if any(not shortest <= n <= waveform.shape[1] for n in lengths.tolist()):
            raise ValueError(f"lengths: must lie within {shortest} and {waveform.shape[1]}, got {lengths.tolist()}")

    def __repr__(self) -> str:
        c, size = self.config, sum(p.numel() for p in self.parameters())
        parts = [f"{size / 1e6:.2f}M parameters", f"{c.num_layers} layers", f"embed_dim={c.embed_dim}"]
        parts += [f"{key}={brief(getattr(c, key))}" for key in ("num_heads", "ffn_dim", "conv_channels")]
        if c.layers is not None:
            parts.append(f"layers={brief(c.layers)}")
        return f"Hubert({', '.join(parts)})"
