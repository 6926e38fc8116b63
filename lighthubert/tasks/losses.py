"""The loss of labels, and of which labels there is one."""

# B clips, T frames, V outputs (CTC tokens or classes), L labels

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from lighthubert.tasks.labels import PAD


def task_loss(logits: Tensor, frames: Tensor, labels: Tensor) -> Tensor:
    """The loss of each clip, (B,) float32: a sum over its tokens (CTC), or the cross-entropy of its class.

    Jobs take the mean over labels (`learnable`), so that both kinds have one scale beside other losses.

    logits (B, T, V) or (B, V); frames (B,) valid ones; labels (B, L) int64, PAD behind each clip's. Clips that are not
    `learnable` have a loss and a gradient of zero.
    """
    with torch.autocast(logits.device.type, enabled=False):
        scores = logits.float().log_softmax(-1)
        if logits.ndim == 2:
            return F.nll_loss(scores, labels[:, 0], ignore_index=PAD, reduction="none")
        counts = (labels != PAD).sum(1)
        losses = F.ctc_loss(scores.transpose(0, 1), labels.clamp_min(0), frames, counts, blank=0, reduction="none",
                            zero_infinity=True)  # fmt: skip
        return torch.where(counts > 0, losses, 0)


def learnable(frames: Tensor, labels: Tensor, kind: str) -> Tensor:
    """(B,) how many labels of each clip a loss can be had of. CTC: all of its tokens, or none if frames (B,) are too
    few for them and a blank between two that are alike. Classes: 1, or 0 for an unknown one."""
    counts = (labels != PAD).sum(1)
    if kind == "classify":
        return counts
    repeats = ((labels[:, 1:] == labels[:, :-1]) & (labels[:, 1:] != PAD)).sum(1)
    return torch.where(counts + repeats <= frames, counts, 0)
