"""What a net learns while it is pruned: a teacher's hidden states, or labels of clips."""

# B clips, T frames, D the teacher's width

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn

from lighthubert.data import Batch, Manifest
from lighthubert.models import Hubert, HubertConfig, HubertOutput, num_frames, valid_mask
from lighthubert.objectives import DistanceConfig, distance
from lighthubert.objectives.tasks import TaskHead, learnable, task_loss
from lighthubert.objectives.vocabulary import Labels, TaskConfig, Vocabulary
from lighthubert.prune.recipe import DistillConfig


class Task(Protocol):
    """A loss on top of a net's outputs."""

    @property
    def head(self) -> nn.Module:
        """What it adds to the net."""

    def count(self, batch: Batch, held_out: bool = False) -> float:
        """How many things the batch's loss is a sum over; batch on any device."""

    def loss(self, output: HubertOutput, batch: Batch, held_out: bool = False) -> Tensor:
        """The sum of the batch's losses (); batch on the net's device."""


class Maps(nn.Module):
    """Linear maps from a net's hidden states to a teacher's, the identity at first: one for the front-end's projection,
    one that all other layers share (DPHuBERT)."""

    def __init__(self, embed_dim: int, teacher_dim: int, layers: list[int]) -> None:
        super().__init__()
        kinds = dict.fromkeys("frontend" if layer == 0 else "layers" for layer in layers)
        self.maps = nn.ModuleDict({kind: nn.Linear(embed_dim, teacher_dim, bias=False) for kind in kinds})
        for linear in self.maps.children():
            nn.init.eye_(linear.weight)  # type: ignore[arg-type]

    def forward(self, state: Tensor, layer: int) -> Tensor:
        mapped: Tensor = self.maps["layers" if layer else "frontend"](state)
        return mapped


class Distil:
    """The distance of some hidden states from a teacher's, a mean over layers, summed over valid frames."""

    def __init__(self, teacher: Hubert, net: HubertConfig, config: DistillConfig) -> None:
        for name, sizes in (("teacher", teacher.config), ("net", net)):
            if max(config.layers) > sizes.num_layers:
                raise ValueError(f"distill.layers: the {name} has {sizes.num_layers} layers, got {config.layers}")
        self.teacher, self.layers = teacher.eval().requires_grad_(False), config.layers
        self.distance: DistanceConfig = config.distance
        self.head = Maps(net.embed_dim, teacher.config.embed_dim, config.layers)

    def count(self, batch: Batch, held_out: bool = False) -> float:
        return float(num_frames(batch.lengths, self.teacher.config).sum())

    def loss(self, output: HubertOutput, batch: Batch, held_out: bool = False) -> Tensor:
        with torch.no_grad():
            goal = self.teacher(batch.waveform, batch.lengths).hidden_states
        valid = valid_mask(output.lengths, goal[0].shape[1])
        losses = [
            (distance(self.head(output.hidden_states[i], i), goal[i], self.distance) * valid).sum() for i in self.layers
        ]
        return torch.stack(losses).mean()


class Labelled:
    """CTC or classification, a mean over the clips that can be learnt."""

    def __init__(
        self, net: HubertConfig, config: TaskConfig, vocabulary: Vocabulary, train: Manifest, valid: Manifest
    ) -> None:
        self.config, self.net = config, net
        self.labels = {held_out: Labels(m, config, vocabulary) for held_out, m in ((False, train), (True, valid))}
        self.head = TaskHead(net.embed_dim, net.num_layers, len(vocabulary), config)

    def count(self, batch: Batch, held_out: bool = False) -> float:
        frames = num_frames(batch.lengths.cpu(), self.net)
        return float(learnable(frames, self.labels[held_out].of(batch), self.config.kind).sum())

    def loss(self, output: HubertOutput, batch: Batch, held_out: bool = False) -> Tensor:
        labels = self.labels[held_out].of(batch).to(batch.waveform.device)
        return task_loss(self.head(output), output.lengths, labels).sum()
