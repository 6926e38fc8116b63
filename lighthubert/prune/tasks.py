"""What a net learns while it is pruned: a teacher's hidden states, or labels of clips."""

# B clips, T frames, D the teacher's width

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from lighthubert.checkpoint import save
from lighthubert.data import Batch, DataConfig, Manifest, eval_batches
from lighthubert.models import Hubert, HubertConfig, HubertOutput, num_frames, valid_mask
from lighthubert.objectives import (
    Labels,
    MaskConfig,
    TaskModel,
    distance,
    draw_masks,
    evaluate_task,
    learnable,
    task_loss,
)
from lighthubert.prune.recipe import DistillConfig

Run = Callable[[Tensor, Tensor], HubertOutput]  # waveform (B, S), lengths (B,) -> a net's outputs


class Task(Protocol):
    """A loss on top of a net's outputs."""

    @property
    def head(self) -> nn.Module:
        """What it adds to the net."""

    def count(self, batch: Batch) -> float:
        """How many things the batch's loss is a sum over."""

    def masks(self, batch: Batch) -> tuple[Tensor | None, Tensor | None]:
        """What the net does not see: frames (B, T) and channels (B, E), on the host."""

    def loss(self, output: HubertOutput, batch: Batch) -> Tensor:
        """The sum of the batch's losses (); batch on the net's device."""

    def evaluate(self, run: Run, rank: int, world: int) -> dict[str, tuple[float, float]]:
        """(sum, count) of the loss and perhaps more over a rank's share of the held-out clips."""

    def save(self, net: Hubert, path: Path) -> None:
        """Write a net, with the head if that is of use without the run."""


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
    """The distance of some hidden states from a teacher's, a mean over layers, summed over valid frames.

    labelled: the fine-tuned model that is pruned, if it is one: its head is saved with the net, as it was.
    """

    def __init__(
        self, teacher: Hubert, net: HubertConfig, config: DistillConfig, valid: Manifest, data: DataConfig,
        labelled: TaskModel | None = None,
    ) -> None:  # fmt: skip
        for name, sizes in (("teacher", teacher.config), ("net", net)):
            if max(config.layers) > sizes.num_layers:
                raise ValueError(f"distill.layers: the {name} has {sizes.num_layers} layers, got {config.layers}")
        self.teacher, self.config, self.valid, self.data = teacher.eval().requires_grad_(False), config, valid, data
        self.labelled = labelled
        self.head = Maps(net.embed_dim, teacher.config.embed_dim, config.layers)

    def count(self, batch: Batch) -> float:
        return float(num_frames(batch.lengths, self.teacher.config).sum())

    def masks(self, batch: Batch) -> tuple[None, None]:
        return None, None

    def loss(self, output: HubertOutput, batch: Batch) -> Tensor:
        with torch.no_grad():
            goal = self.teacher(batch.waveform, batch.lengths).hidden_states
        valid, own = valid_mask(output.lengths, goal[0].shape[1]), output.hidden_states
        losses = [
            (distance(self.head(own[i], i), goal[i], self.config.distance) * valid).sum() for i in self.config.layers
        ]
        return torch.stack(losses).mean()

    def evaluate(self, run: Run, rank: int, world: int) -> dict[str, tuple[float, float]]:
        device, sums, frames = next(self.teacher.parameters()).device, 0.0, 0.0
        for batch in itertools.islice(eval_batches(self.valid, self.data), rank, None, world):
            batch = batch.to(device)
            sums += float(self.loss(run(batch.waveform, batch.lengths), batch))
            frames += self.count(batch)
        return {"loss/distance": (sums, frames)}

    def save(self, net: Hubert, path: Path) -> None:
        if self.labelled is None:
            save(net, path)
        else:
            self.labelled.of(net).save(path)


class Labelled:
    """CTC or classification, a mean over tokens or clips."""

    def __init__(
        self, model: TaskModel, masks: MaskConfig, seed: int, train: Manifest, valid: Manifest, data: DataConfig
    ) -> None:
        self.model, self.config, self.seed, self.valid, self.data = model, masks, seed, valid, data
        self.labels, self.valid_labels = (Labels(m, model.task, model.vocabulary) for m in (train, valid))

    @property
    def head(self) -> nn.Module:
        return self.model.head

    def count(self, batch: Batch) -> float:
        frames = num_frames(batch.lengths.cpu(), self.model.hubert.config)
        return float(learnable(frames, self.labels.of(batch), self.model.task.kind).sum())

    def masks(self, batch: Batch) -> tuple[Tensor, Tensor]:
        return draw_masks(batch, self.model.hubert.config, self.config, self.seed)

    def loss(self, output: HubertOutput, batch: Batch) -> Tensor:
        labels = self.labels.of(batch).to(batch.waveform.device)
        return task_loss(self.head(output), output.lengths, labels).sum()

    def evaluate(self, run: Run, rank: int, world: int) -> dict[str, tuple[float, float]]:
        def predict(waveform: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
            output = run(waveform, lengths)
            return self.head(output), output.lengths

        device = next(self.head.parameters()).device
        return evaluate_task(predict, device, self.valid, self.valid_labels, self.data, rank=rank, world=world)

    def save(self, net: Hubert, path: Path) -> None:
        self.model.of(net).save(path)
