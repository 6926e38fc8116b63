"""HuBERT's own objective: predict the k-means units of masked speech, so that a teacher can be trained from nothing."""

from __future__ import annotations

import itertools
import logging
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lighthubert.checkpoint import Loaded, digest, read
from lighthubert.data import AudioError, Batch, Manifest, eval_batches, load_audio, mfcc
from lighthubert.models import Hubert, HubertConfig, num_frames
from lighthubert.objectives import UnitHead, UnitLabels, draw_mask, frame_weights
from lighthubert.objectives.units import assign, fit_kmeans, layer_features, read_about, save_centres
from lighthubert.pretrain.recipe import UnitConfig, Units
from lighthubert.train.plots import loss_curves

if TYPE_CHECKING:
    from matplotlib.figure import Figure

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


class MaskedUnits:
    """Cross-entropy of every frame's unit, weighted by whether it is masked; implements train.Objective."""

    def __init__(self, model: UnitModel, recipe: Units, train: UnitLabels, valid: UnitLabels, clips: Manifest) -> None:
        self.model, self.recipe, self.clips = model, recipe, clips
        self.labels = {"train": train, "valid": valid}

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

    def evaluate(self, step: int, rank: int, world: int) -> dict[str, tuple[float, float]]:
        """Cross-entropy of masked frames, accuracy of masked and of unmasked ones, on held-out clips."""
        sums: dict[str, float] = defaultdict(float)
        counts: dict[str, float] = defaultdict(float)
        device = next(self.model.parameters()).device
        for batch in itertools.islice(eval_batches(self.clips, self.recipe.data), rank, None, world):
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
                sums[name] += float(values[where].sum())
                counts[name] += int(where.sum())
        return {key: (value, counts[key]) for key, value in sums.items()}

    def describe(self) -> dict[str, str]:
        return {
            "model": f"`{self.model.hubert}`",
            "units": f"{asdict(self.recipe.units)}, perplexity {self.labels['train'].perplexity():.1f}",
        }

    def figures(self, history: Sequence[Mapping[str, Any]]) -> dict[str, Figure]:
        return {"held-out loss": loss_curves(history)} if len(history) > 1 else {}


def prepare_units(config: UnitConfig, train: Manifest, valid: Manifest, folder: Path, seed: int,
                  init: Loaded | None = None) -> dict[str, str]:  # fmt: skip
    """Cluster features of some training clips and label every clip; what a killed run has finished is kept.

    init: what the run starts from, which may be the source too.
    Returns what the units depend on beside the recipe: the source's weights, since a file may change under its name.
    """
    from rich.progress import track

    folder.mkdir(parents=True, exist_ok=True)
    known = init is not None and init.path == config.source
    net = None if config.source == "mfcc" else (init if init and known else read(config.source)).hubert
    if net is not None and config.layer > net.config.num_layers:
        raise ValueError(f"units.layer: {config.source} has {net.config.num_layers} layers, got {config.layer}")

    def features(manifest: Manifest, row: int) -> Tensor | None:
        try:
            waveform = load_audio(manifest.file_path(row))
            return mfcc(waveform) if net is None else layer_features(net, waveform, config.layer)
        except (AudioError, ValueError) as error:
            logger.warning("no units for %s: %s", manifest.files[row], error)
            return None

    centres_file = folder / "centres.npz"
    content = {} if net is None else {"source_weights": digest(net)}
    about = {**asdict(config), "seed": seed, "train": train.digest, "valid": valid.digest, **content}
    if not centres_file.exists() or read_about(centres_file) != about:
        for name in ("train", "valid"):  # labels of other centres
            (folder / f"{name}.npz").unlink(missing_ok=True)
        rows = np.random.default_rng(seed).permutation(len(train))[: config.fit_clips].tolist()
        found = (features(train, row) for row in track(rows, "features to cluster"))
        centres = fit_kmeans([f for f in found if f is not None], config.num_units, seed)
        save_centres(centres_file, centres, about)
    with np.load(centres_file, allow_pickle=False) as file:
        table = torch.from_numpy(file["centres"])
    for name, manifest in {"train": train, "valid": valid}.items():
        path = folder / f"{name}.npz"
        if not path.exists():
            clips = (features(manifest, row) for row in track(range(len(manifest)), f"units of {name} clips"))
            none = np.zeros(0, dtype=np.uint16)
            UnitLabels.write(path, (none if f is None else assign(f, table) for f in clips))
    return content
