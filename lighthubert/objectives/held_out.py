"""How well a task is done on held-out clips."""

# B batch, S samples

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from lighthubert.data import SAMPLE_RATE, DataConfig, Manifest, eval_batches
from lighthubert.objectives.decoding import Decode, greedy, measure
from lighthubert.objectives.tasks import learnable, task_loss
from lighthubert.objectives.vocabulary import Labels

Predict = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]  # waveform (B, S), lengths (B,) -> logits, frames (B,)


@torch.no_grad()
def evaluate_task(predict: Predict, device: torch.device, clips: Manifest, labels: Labels, data: DataConfig,
                  decode: Decode = greedy, *, rank: int = 0,
                  world: int = 1) -> dict[str, tuple[float, float]]:  # fmt: skip
    """(sum, count) of the loss, and of "wer" and "cer" or of "accuracy", over a rank's share of whole clips.

    predict: a TaskModel, or what acts like one, on this device. The loss is a mean over tokens, or over clips for
    classes; clips that none can be had of count in the rates alone.
    """
    sums: dict[str, float] = defaultdict(float)
    counts: dict[str, float] = defaultdict(float)
    for batch in itertools.islice(eval_batches(clips, uncropped(data, clips)), rank, None, world):
        logits, frames = predict(batch.waveform.to(device), batch.lengths.to(device))
        table = labels.of(batch)
        known = learnable(frames.cpu(), table, labels.kind)
        losses = task_loss(logits, frames, table.to(device)).cpu()
        found = measure(logits, frames, labels.texts_of(batch), labels.vocabulary, decode)
        found[f"loss/{labels.kind}"] = (float(losses.sum()), float(known.sum()))
        for key, (value, count) in found.items():
            sums[key] += value
            counts[key] += count
    return {key: (value, counts[key]) for key, value in sums.items()}


def uncropped(data: DataConfig, clips: Manifest) -> DataConfig:
    """Nothing of a clip is cut off: its label is of the whole."""
    whole = max(float(clips.samples.max()) / SAMPLE_RATE, data.max_clip_seconds)
    return replace(data, max_clip_seconds=whole, max_seconds=max(whole, data.max_seconds))
