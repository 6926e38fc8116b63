"""Supervised tasks on top of a net: transcripts by CTC, classes of clips. Shared by fine-tuning and pruning."""

# B clips, T frames, E embed, V outputs (CTC tokens or classes), L labels

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lighthubert.models import HubertOutput, valid_mask
from lighthubert.objectives.vocabulary import PAD, TaskConfig


class TaskHead(nn.Module):
    """A linear layer on the last hidden state, or on a weighted sum of all: of each frame for CTC, of the mean over a
    clip's valid frames for classes.

    The weights of the sum are a softmax, equal at the start; hidden state 0, the front-end's projection, is one of
    them, as in SUPERB. Pruned nets keep embed_dim and the number of layers, so a head goes on with them.
    """

    def __init__(self, embed_dim: int, num_layers: int, num_outputs: int, config: TaskConfig) -> None:
        super().__init__()
        self.kind = config.kind
        self.proj = nn.Linear(embed_dim, num_outputs)
        nn.init.xavier_uniform_(self.proj.weight)  # as fairseq's CTC head
        nn.init.zeros_(self.proj.bias)
        self.layer_weights = nn.Parameter(torch.zeros(num_layers + 1)) if config.layers == "weighted" else None

    def forward(self, output: HubertOutput) -> Tensor:
        """-> logits, (B, T, V) for CTC, (B, V) for classes."""
        state = output.last_hidden_state
        if self.layer_weights is not None:
            weights = self.layer_weights.softmax(0)
            state = torch.stack([w * s for w, s in zip(weights, output.hidden_states, strict=True)]).sum(0)
        if self.kind == "classify":
            valid = valid_mask(output.lengths, state.shape[1])[:, :, None]
            state = torch.where(valid, state, 0).sum(1) / output.lengths[:, None]
        return self.proj(state)


def task_loss(logits: Tensor, frames: Tensor, labels: Tensor) -> Tensor:
    """The loss of each clip, (B,) float32: a sum over its tokens (CTC), or the cross-entropy of its class.

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
    """(B,) bool: clips that a loss can be had of. CTC: at least one token, and frames (B,) enough for all of them, with
    a blank between two that are alike. Classes: a known one."""
    counts = (labels != PAD).sum(1)
    if kind == "classify":
        return counts > 0
    repeats = ((labels[:, 1:] == labels[:, :-1]) & (labels[:, 1:] != PAD)).sum(1)
    return (counts > 0) & (counts + repeats <= frames)
