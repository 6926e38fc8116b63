"""A task's loss on a net and its head, and the held-out error."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lighthubert.data import Batch, Manifest
from lighthubert.finetune.recipe import Finetune
from lighthubert.models import num_frames
from lighthubert.objectives import Labels, TaskModel, draw_masks, evaluate_task, learnable, task_loss

if TYPE_CHECKING:
    from lighthubert.runtime.plots import Figure


class Supervised:
    """The mean loss over tokens (CTC) or clips (classes); implements train.Objective."""

    def __init__(self, model: TaskModel, recipe: Finetune, train: Manifest, valid: Manifest) -> None:
        self.model, self.recipe, self.valid = model, recipe, valid
        self.labels = {
            name: Labels(manifest, model.task, model.vocabulary)
            for name, manifest in (("train", train), ("valid", valid))
        }
        for module in (model.hubert.frontend.convs, model.hubert.frontend.norms):
            module.requires_grad_(False)

    @property
    def device(self) -> torch.device:
        return self.model.head.proj.weight.device

    def counts(self, batch: Batch, step: int) -> Tensor:
        """(1,) the labels that a loss can be had of."""
        if not batch.rows:
            return torch.zeros(1, dtype=torch.float64)
        frames = num_frames(batch.lengths.cpu(), self.model.hubert.config)
        labels = self.labels["train"].of(batch)
        return learnable(frames, labels, self.model.task.kind).sum(dtype=torch.float64)[None]

    def losses(self, batch: Batch, step: int, totals: Tensor) -> Iterator[tuple[Tensor, dict[str, Tensor]]]:
        if not totals[0]:
            return
        device, hubert = self.device, self.model.hubert
        mask, channels = (m.to(device) for m in draw_masks(batch, hubert.config, self.recipe.masks, self.recipe.seed))
        with torch.set_grad_enabled(step >= self.recipe.freeze_steps):
            output = hubert(batch.waveform, batch.lengths, mask, channels)
        labels = self.labels["train"].of(batch).to(device)
        loss = task_loss(self.model.head(output), output.lengths, labels).sum() / totals[0].item()
        yield loss, {f"loss/{self.model.task.kind}": loss.detach()}

    def evaluate(self, step: int, rank: int, world: int) -> dict[str, tuple[float, float]]:
        labels, data = self.labels["valid"], self.recipe.data
        return evaluate_task(self.model, self.device, self.valid, labels, data, rank=rank, world=world)

    def describe(self) -> dict[str, str]:
        names = ", ".join(f"`{name}`" for name in self.model.vocabulary.names[:50])
        return {"model": f"`{self.model.hubert}`", "vocabulary": f"{len(self.model.vocabulary)}: {names}"}

    def figures(self, history: Sequence[Mapping[str, Any]]) -> dict[str, Figure]:
        return {}
