"""HuBERT's own objective: predict the k-means units of masked speech, so that a teacher can be trained from nothing."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lighthubert.checkpoint import Loaded
from lighthubert.data import AudioError, Batch, Manifest, eval_batches, load_audio, mfcc
from lighthubert.models import Hubert, HubertConfig, num_frames, receptive_field
from lighthubert.objectives import UnitHead, UnitLabels, draw_mask, frame_weights
from lighthubert.objectives.units import assign, fit_kmeans, layer_features, read_about, save_centres
from lighthubert.pretrain.recipe import UnitConfig, Units
from lighthubert.runtime import ranks
from lighthubert.runtime.errors import one_line
from lighthubert.runtime.progress import track
from lighthubert.runtime.sums import Sums
from lighthubert.train import Objective

logger = logging.getLogger("lighthubert")


class UnitModel(nn.Module):
    """A HuBERT and the head that names units; the head is thrown away with the run."""

    def __init__(self, config: HubertConfig, num_units: int) -> None:
        super().__init__()
        self.hubert = Hubert(config)
        self.head = UnitHead(config.embed_dim, num_units)

    def forward(self, waveform: Tensor, lengths: Tensor, mask: Tensor) -> Tensor:
        """(B, S), (B,), (B, T) -> logits (B, T, units)."""
        return self.head(self.hubert(waveform, lengths, mask).last_hidden_state)


class MaskedUnits(Objective):
    """Cross-entropy of every frame's unit, weighted by whether it is masked. labels: of "train" and "valid"."""

    model: UnitModel

    def __init__(self, model: UnitModel, recipe: Units, labels: Mapping[str, UnitLabels], clips: Manifest) -> None:
        self.model, self.recipe, self.labels, self.clips = model, recipe, labels, clips

    def frames(self, batch: Batch, split: str) -> tuple[Tensor, Tensor, Tensor]:
        """On the host: units (B, T), mask (B, T), weights in the loss (B, T)."""
        units = self.labels[split].of(batch)
        mask = draw_mask(batch, self.model.hubert.config, self.recipe.frames, self.recipe.seed)
        frames = num_frames(batch.lengths.cpu(), self.model.hubert.config)
        return units, mask, frame_weights(mask, frames, self.recipe.frames) * (units >= 0)

    def counts(self, batch: Batch, step: int) -> Tensor:
        if not batch.rows:
            return torch.zeros(1, dtype=torch.float64)
        return self.frames(batch, "train")[2].sum(dtype=torch.float64)[None]

    def losses(self, batch: Batch, step: int, totals: Tensor) -> Iterator[tuple[Tensor, dict[str, Tensor]]]:
        if not totals[0]:
            return
        units, mask, weights = (t.to(batch.waveform.device) for t in self.frames(batch, "train"))
        entropy = self.entropy(self.model(batch.waveform, batch.lengths, mask), units)
        loss = (entropy * weights).sum() / totals[0].item()
        yield loss, {"loss/units": loss.detach()}

    def entropy(self, logits: Tensor, units: Tensor) -> Tensor:
        return F.cross_entropy(logits.transpose(1, 2), units, reduction="none", ignore_index=-100)

    def evaluate(self, step: int, rank: int, world: int) -> Sums:
        """Cross-entropy of masked frames, accuracy of masked and of unmasked ones, on held-out clips."""
        sums, device = Sums(), next(self.model.parameters()).device
        for batch in eval_batches(self.clips, self.recipe.data, self.recipe.model, rank, world):
            units, mask, _ = (t.to(device) for t in self.frames(batch, "valid"))
            batch = batch.to(device)
            logits = self.model(batch.waveform, batch.lengths, mask)
            right = (logits.argmax(-1) == units).float()
            known = units >= 0
            for name, values, where in (
                ("masked_loss/units", self.entropy(logits, units), mask & known),
                ("masked_accuracy/units", right, mask & known),
                ("unmasked_accuracy/units", right, ~mask & known),
            ):
                sums.add(name, float(values[where].sum()), int(where.sum()))
        return sums

    def describe(self) -> dict[str, str]:
        return {
            "model": f"`{self.model.hubert}`",
            "units": f"{asdict(self.recipe.units)}, perplexity {self.labels['train'].perplexity():.1f}",
        }


def check_layer(config: UnitConfig, source: Loaded | None) -> None:
    """Raises ValueError if the net whose hidden states are clustered lacks the layer."""
    if source is not None and config.layer > source.hubert.config.num_layers:
        depth = f"{config.source} has {source.hubert.config.num_layers} layers"
        raise ValueError(f"units.layer: {depth}, got {config.layer}")


def make_units(config: UnitConfig, source: Loaded | None, model: HubertConfig, clips: Mapping[str, Manifest],
               folder: Path, seed: int, device: torch.device) -> dict[str, UnitLabels]:  # fmt: skip
    """Cluster features of some training clips and label every clip; what a killed run has finished is kept.

    source: the net whose hidden state is clustered, None for MFCC. model: whose frames have units. clips: the manifests
    "train" and "valid". The ranks share the clips, each on its device.
    """
    content: dict[str, Any] = {} if source is None else {"source_weights": source.digest}
    features = Features(config, None if source is None else source.hubert.to(device), model, device)
    content["frames"] = [receptive_field(model), model.hop]
    about = {**asdict(config), "seed": seed, **{name: m.digest for name, m in clips.items()}, **content}
    centres_file = folder / "centres.npz"
    if ranks.on_first(lambda: not centres_file.exists() or read_about(centres_file) != about):
        rows = np.random.default_rng(seed).permutation(len(clips["train"]))[: config.fit_clips].tolist()
        shares = features.of(clips["train"], rows, "features to cluster", lambda frames: frames.numpy())
        ranks.on_first(lambda: _fit(shares, config.num_units, seed, centres_file, about))
    with np.load(centres_file, allow_pickle=False) as file:
        table = torch.from_numpy(file["centres"])
    for name, manifest in clips.items():
        path = folder / f"{name}.npz"
        if not ranks.on_first(path.exists):
            rows, none = range(len(manifest)), np.zeros(0, dtype=np.uint16)
            shares = features.of(manifest, rows, f"units of {name} clips", partial(assign, centres=table))
            ranks.on_first(partial(UnitLabels.write, path, [none if units is None else units for units in shares]))
    return {name: UnitLabels(folder / f"{name}.npz", model) for name in clips}


def _fit(frames: Sequence[np.ndarray | None], num_units: int, seed: int, path: Path, about: dict[str, Any]) -> None:
    """Write the centres of a clustering; labels of other centres go."""
    for old in path.parent.glob("*.npz"):
        old.unlink()
    path.parent.mkdir(parents=True, exist_ok=True)
    save_centres(path, fit_kmeans([f for f in frames if f is not None], num_units, seed), about)


class Features:
    """What is clustered of a clip, on the frames of `model`: MFCC, or a hidden state of a net, (T, D)."""

    def __init__(self, config: UnitConfig, net: Hubert | None, model: HubertConfig, device: torch.device) -> None:
        self.config, self.net, self.model, self.device = config, net, model, device

    def of(self, manifest: Manifest, rows: Sequence[int], title: str,
           view: Callable[[Tensor], np.ndarray]) -> list[np.ndarray | None]:  # fmt: skip
        """What `view` makes of each clip's features, in the order of the rows, on rank 0 (elsewhere it is empty); None
        for a clip that cannot be used. Each rank works on every world-th row."""
        mine = [None if f is None else view(f) for f in
                (self._clip(manifest, row) for row in track(rows[ranks.rank() :: ranks.world()], title))]  # fmt: skip
        return ranks.interleave(mine)

    def _clip(self, manifest: Manifest, row: int) -> Tensor | None:
        try:
            waveform = load_audio(manifest.file_path(row))
            if self.net is None:
                return mfcc(waveform, self.model)
            return layer_features(self.net, waveform.to(self.device), self.config.layer, self.model)
        except (AudioError, ValueError) as error:
            logger.warning("%s", one_line(f"no units for {manifest.files[row]}: {error}"))
            return None
