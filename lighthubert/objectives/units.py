"""HuBERT's own objective: masked prediction of k-means units (Hsu et al. 2021)."""

# B batch, T frames, E embed, K units

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lighthubert.data import Batch
from lighthubert.models import Hubert, HubertConfig, nearest_frames, num_frames, receptive_field
from lighthubert.runtime.errors import StateError, UserError
from lighthubert.runtime.files import open_regular, replacing


@torch.no_grad()
def layer_features(net: Hubert, waveform: Tensor, layer: int, frames: HubertConfig) -> Tensor:
    """(S,) -> (T, E): hidden state `layer` of a net, for the units of the next iteration.

    frames: the net that learns them, for each of whose frames the state is taken whose middle is nearest.
    """
    states = net(waveform[None]).hidden_states[layer][0].float().cpu()
    first, hop = receptive_field(net.config) / 2, net.config.hop
    return states[nearest_frames(len(waveform), frames, first, hop, len(states))]


def fit_kmeans(features: Iterable[np.ndarray | Tensor], num_units: int, seed: int) -> np.ndarray:
    """Cluster the frames of several clips, each (T, D), into centres (K, D) float32; ValueError for too few frames."""
    from sklearn.cluster import MiniBatchKMeans

    frames = np.concatenate([np.asarray(f) for f in features])
    if len(frames) < num_units:
        raise UserError(f"units.num_units: {num_units} units need as many frames, the clips have {len(frames)}")
    kmeans = MiniBatchKMeans(num_units, batch_size=8192, max_iter=25, n_init=3, random_state=seed)
    return kmeans.fit(frames).cluster_centers_.astype(np.float32)


def assign(features: Tensor, centres: Tensor) -> np.ndarray:
    """(T, D), (K, D) -> the nearest centre of each frame (T,) uint16."""
    return torch.cdist(features, centres).argmin(1).numpy().astype(np.uint16)


class UnitLabels:
    """Units of every clip of a manifest, in one file: clip after clip, with the frame at which each clip begins.

    A clip that could not be read has no frames. net: whose frames have units.
    """

    def __init__(self, path: Path, net: HubertConfig) -> None:
        self.net = net
        with open_regular(path, StateError) as raw, np.load(raw, allow_pickle=False) as file:
            self.units, self.offsets = file["units"], file["offsets"]

    @staticmethod
    def write(path: Path, clips: Iterable[np.ndarray]) -> None:
        """Atomic: a run that is killed meanwhile begins this file anew."""
        units = list(clips)
        offsets = np.cumsum([0, *map(len, units)])
        with replacing(path) as part, part.open("wb") as file:
            np.savez(file, units=np.concatenate(units), offsets=offsets)

    def of(self, batch: Batch) -> Tensor:
        """(B, T) int64, the units of a batch's crops; -100 where a clip has ended."""
        rows = [
            self.units[self.offsets[row] : self.offsets[row + 1]][start // self.net.hop :]
            for row, start in zip(batch.rows, batch.starts, strict=True)
        ]
        frames = num_frames(batch.lengths, self.net)
        table = torch.full((len(rows), int(frames.max())), -100)
        for i, (row, n) in enumerate(zip(rows, frames.tolist(), strict=True)):
            table[i, : min(n, len(row))] = torch.from_numpy(row[:n].astype(np.int64))
        return table

    def perplexity(self) -> float:
        """How many units are in use: the exponential of their entropy."""
        share = np.bincount(self.units) / max(len(self.units), 1)
        share = share[share > 0]
        return float(np.exp(-(share * np.log(share)).sum()))


class UnitHead(nn.Module):
    """Logits of K units: cosine of a projected state with each unit's vector, over a temperature of 0.1."""

    def __init__(self, embed_dim: int, num_units: int, dim: int = 256) -> None:
        super().__init__()
        self.proj = nn.Linear(embed_dim, dim)
        self.units = nn.Parameter(torch.rand(num_units, dim) * 2 - 1)
        nn.init.normal_(self.proj.weight, std=0.02)
        nn.init.zeros_(self.proj.bias)

    def forward(self, state: Tensor) -> Tensor:
        """(..., E) -> (..., K)."""
        state = F.normalize(self.proj(state).float(), dim=-1)
        with torch.autocast(state.device.type, enabled=False):  # logits near 10 would be multiples of 1/16 in bf16
            return F.linear(state, F.normalize(self.units.float(), dim=-1)) / 0.1


def read_about(path: Path) -> dict[str, object]:
    """What the centres of a file cluster."""
    with open_regular(path, StateError) as raw, np.load(raw, allow_pickle=False) as file:
        about: dict[str, object] = json.loads(str(file["about"]))
    return about


def save_centres(path: Path, centres: np.ndarray, about: dict[str, object]) -> None:
    """Write centres with what they cluster: units, clips and seed. Atomic."""
    with replacing(path) as part, part.open("wb") as file:
        np.savez(file, centres=centres, about=np.array(json.dumps(about)))
