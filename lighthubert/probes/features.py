"""What a probe sees of a clip: the frames of every layer of a net, or MFCC; stacked, or pooled over the clip."""

# T frames, D dimensions, N items (clips, or frames)

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lighthubert.data import Batch, DataConfig, Manifest, eval_batches, mfcc
from lighthubert.models import Hubert, HubertConfig

BATCH = DataConfig(max_seconds=32, max_clip_seconds=15)


@dataclass(frozen=True)
class Represent:
    """frames: a batch -> for each layer, the frames (T, D) of each clip. net: whose frames they are."""

    frames: Callable[[Batch], list[list[Tensor]]]
    net: HubertConfig

    def __call__(self, batch: Batch) -> list[list[Tensor]]:
        return self.frames(batch)


@dataclass(frozen=True)
class Features:
    """layers: (N, D) of each. rows, counts: which clip of the probe, and how many items in a row are of it."""

    layers: list[np.ndarray]
    rows: list[int]
    counts: list[int]


def _mfcc(batch: Batch) -> list[list[Tensor]]:
    clips = zip(batch.waveform, batch.lengths.tolist(), strict=True)
    return [[mfcc(waveform[:samples], HubertConfig(), subtract_mean=False) for waveform, samples in clips]]


mfcc_frames = Represent(_mfcc, HubertConfig())
"""The one layer of 13 MFCC with deltas (T, 39): what a net has to beat. Means over the clip are kept."""


def hidden_states(net: Hubert) -> Represent:
    """Hidden states 0 to the last of a net, wherever it is; they come back to the CPU."""
    device = next(net.eval().parameters()).device

    @torch.no_grad()
    def represent(batch: Batch) -> list[list[Tensor]]:
        output = net(batch.waveform.to(device), batch.lengths.to(device))
        frames = output.lengths.tolist()
        return [[state[i, :n].cpu() for i, n in enumerate(frames)] for state in output.hidden_states]

    return Represent(represent, net.config)


def collect(manifest: Manifest, represent: Represent, layers: Sequence[int] | None,
            view: Callable[[Tensor], Tensor]) -> Features:  # fmt: skip
    """What `view` makes of each clip's frames, (T, D) -> (items, D'), of some layers or all, kept in memory."""
    seen: list[list[np.ndarray]] = []
    rows: list[int] = []
    for batch in eval_batches(manifest, BATCH, represent.net):
        states = represent(batch)
        states = [states[layer] for layer in layers] if layers else states
        seen = seen or [[] for _ in states]
        for layer, clips in zip(seen, states, strict=True):
            layer += [view(frames).float().numpy() for frames in clips]
        rows += batch.rows
    return Features([np.concatenate(layer) for layer in seen], rows, [len(items) for items in seen[0]])


def stack(frames: Tensor, context: int) -> Tensor:
    """(T, D) -> (T, context * D): each frame between its neighbours; the ends are repeated."""
    side = context // 2
    padded = torch.cat([frames[:1].expand(side, -1), frames, frames[-1:].expand(side, -1)])
    return torch.cat([padded[i : i + len(frames)] for i in range(context)], dim=1)


def pool(frames: Tensor) -> Tensor:
    """(T, D) -> (2 D,): mean and deviation over time."""
    return torch.cat([frames.mean(0), frames.std(0, correction=0)])
