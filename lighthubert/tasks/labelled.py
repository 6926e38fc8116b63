"""A task of labelled clips: what fine-tuning and pruning learn, and how well they have learnt it."""

# B clips, T frames, E embed, S samples

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from lighthubert.checkpoint import Loaded, weights_digest
from lighthubert.data import SAMPLE_RATE, Batch, DataConfig, Manifest, eval_batches, stream
from lighthubert.models import Hubert, HubertOutput, num_frames, span_mask
from lighthubert.runtime import ranks
from lighthubert.runtime.sums import Sums
from lighthubert.tasks.config import MaskConfig, TaskConfig
from lighthubert.tasks.decoding import Decode, greedy, measure
from lighthubert.tasks.labels import Labels, labelled
from lighthubert.tasks.losses import learnable, task_loss
from lighthubert.tasks.model import TaskModel
from lighthubert.tasks.vocabulary import build_vocabulary

Net = Callable[[Tensor, Tensor], HubertOutput]  # waveform (B, S), lengths (B,) -> a net's outputs


class LabelledTask:
    """A net with a head, and the labels of the clips that it learns from and is measured on.

    net: trained in its place. init: the file that it came from, whose head goes on if it has one that fits. The seed is
    that of a new head, and of the masks. Raises ManifestError for clips that do not do, and ValueError where labels
    make no vocabulary.
    """

    def __init__(self, config: TaskConfig, masks: MaskConfig, net: Hubert, init: Loaded, train: Manifest,
                 valid: Manifest, data: DataConfig, seed: int) -> None:  # fmt: skip
        self.mask_config, self.data, self.seed = masks, data, seed
        train, valid = labelled(train, config, data.max_clip_samples), labelled(valid, config)
        vocabulary = ranks.on_first(lambda: build_vocabulary(train.columns[config.column], config))
        torch.manual_seed(seed)
        self.model = TaskModel(net, config, vocabulary)
        if init.task is not None:
            self.model.take_head(init)
        self.head: nn.Module = self.model.head
        self.train, self.valid = (Labels(clips, config, vocabulary) for clips in (train, valid))

    @property
    def content(self) -> dict[str, Any]:
        """Hashes of what a run goes on with alone; files may change under their names."""
        digests = {"train_labels": self.train.digest, "valid_labels": self.valid.digest}
        return {"init_weights": weights_digest(self.model), **digests}

    def count(self, batch: Batch) -> float:
        """How many labels of a batch of training clips the loss is a sum over."""
        frames = num_frames(batch.lengths.cpu(), self.model.hubert.config)
        return float(learnable(frames, self.train.of(batch), self.train.kind).sum())

    def masks(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """(B, T) of frames and (B, E) of channels, bool on the host: of each clip a function of (seed, epoch, clip)."""
        net, masks = self.model.hubert.config, self.mask_config
        drawn = [[stream(name, self.seed, batch.epoch, row) for row in batch.rows] for name in ("masks", "channels")]
        frames, width = num_frames(batch.lengths.cpu(), net).tolist(), [net.embed_dim] * len(batch.rows)
        time = span_mask(frames, masks.time_prob, masks.time_length, drawn[0])
        return time, span_mask(width, masks.channel_prob, masks.channel_length, drawn[1], min_spans=0)

    def loss(self, output: HubertOutput, batch: Batch) -> Tensor:
        """The sum of the batch's losses (), of what the net makes of training clips on its device."""
        labels = self.train.of(batch).to(batch.waveform.device)
        return task_loss(self.head(output), output.lengths, labels).sum()

    def evaluate(self, net: Net, rank: int, world: int) -> Sums:
        """`evaluate_task` of another net with this head, on the held-out clips."""
        return evaluate_task(self.model, self.valid, self.data, net=net, rank=rank, world=world)


@torch.no_grad()
def evaluate_task(model: TaskModel, labels: Labels, data: DataConfig, decode: Decode = greedy, *,
                  net: Net | None = None, rank: int = 0, world: int = 1) -> Sums:  # fmt: skip
    """Sums of the loss, and of "wer" and "cer" or of "accuracy", over a rank's share of whole clips.

    net: what stands in for the model's, on its device. The loss is a mean over tokens, or over clips for classes; clips
    that none can be had of count in the rates alone.
    """
    net, sums = net or model.hubert, Sums()
    for batch in eval_batches(labels.clips, uncropped(data, labels.clips), model.hubert.config, rank, world):
        output = net(batch.waveform.to(model.device), batch.lengths.to(model.device))
        logits, frames, table = model.head(output), output.lengths, labels.of(batch)
        texts = [labels.texts[row] for row in batch.rows]
        sums.extend(measure(logits, frames, texts, labels.vocabulary, decode))
        losses = task_loss(logits, frames, table.to(model.device))
        known = learnable(frames.cpu(), table, labels.kind)
        sums.add(f"loss/{labels.kind}", float(losses.cpu().sum()), float(known.sum()))
    return sums


def uncropped(data: DataConfig, clips: Manifest) -> DataConfig:
    """Nothing of a clip is cut off: its label is of the whole."""
    whole = max(float(clips.samples.max()) / SAMPLE_RATE, data.max_clip_seconds)
    return replace(data, max_clip_seconds=whole, max_seconds=max(whole, data.max_seconds))
