"""A head on top of a net: logits of CTC tokens for each frame, or of classes for a clip."""

# B clips, T frames, V outputs (CTC tokens or classes)

from __future__ import annotations

import logging
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor, nn

from lighthubert.checkpoint import CheckpointError, Loaded, save
from lighthubert.models import Hubert, HubertOutput, valid_mask
from lighthubert.runtime import ranks
from lighthubert.schema import parse
from lighthubert.tasks.config import TaskConfig
from lighthubert.tasks.vocabulary import Vocabulary

logger = logging.getLogger("lighthubert")


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
            state = torch.where(valid, state.float(), 0).sum(1) / output.lengths[:, None]
        return self.proj(state)


class TaskModel(nn.Module):
    """A net with the head for a task, and what the head's outputs stand for."""

    def __init__(self, hubert: Hubert, task: TaskConfig, vocabulary: Vocabulary) -> None:
        super().__init__()
        self.hubert, self.task, self.vocabulary = hubert, task, vocabulary
        self.head = TaskHead(hubert.config.embed_dim, hubert.config.num_layers, len(vocabulary), task)

    @property
    def device(self) -> torch.device:
        return self.head.proj.weight.device

    def forward(self, waveform: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """As Hubert's -> logits (B, T, V) or (B, V), valid frames (B,)."""
        output = self.hubert(waveform, lengths)
        return self.head(output), output.lengths

    def of(self, net: Hubert) -> TaskModel:
        """The same head on another net of as many layers and the same width."""
        model = TaskModel(net, self.task, self.vocabulary)
        model.head.load_state_dict(self.head.state_dict())
        return model

    def save(self, path: str | Path) -> None:
        """Write net, head, task and vocabulary as one native file; `lighthubert.load` reads the net out of it."""
        about = {"config": asdict(self.task), "vocabulary": asdict(self.vocabulary)}
        save(self.hubert, path, task=about, head=self.head)

    @classmethod
    def load(cls, file: Loaded) -> TaskModel:
        """What `save` wrote, for evaluation. Raises CheckpointError for any other file, naming every wrong key."""
        if file.task is None:
            raise CheckpointError(f"{file.path}: holds no fine-tuned task; `lighthubert finetune` makes such files")
        try:
            task = parse(TaskConfig, file.task.get("config", {}), "config")
            vocabulary = parse(Vocabulary, file.task.get("vocabulary", {}), "vocabulary")
        except ValueError as error:
            raise CheckpointError(f"{file.path}: metadata 'lighthubert': task: {error}") from None
        model = cls(file.hubert, task, vocabulary)
        expected = {name: tuple(p.shape) for name, p in model.head.named_parameters()}
        shapes = {name: tuple(t.shape) for name, t in file.head.items()}
        if expected != shapes:
            raise CheckpointError(f"{file.path}: the head's tensors are {shapes}, its task and net need {expected}")
        model.head.load_state_dict(file.head)
        return model.eval()

    def take_head(self, file: Loaded) -> None:
        """Go on with the head of what `save` wrote; a warning says why it starts anew, where it does not fit."""
        source = TaskModel.load(file)
        pairs = {
            "task.kind": (source.task.kind, self.task.kind),
            "task.layers": (source.task.layers, self.task.layers),
            "vocabulary": (source.vocabulary, self.vocabulary),
        }
        differing = [key for key, (theirs, ours) in pairs.items() if theirs != ours]
        if not differing:
            self.head.load_state_dict(source.head.state_dict())
        elif ranks.rank() == 0:
            logger.warning("init %r: its head starts anew, for it has another %s", file.path, ", ".join(differing))
