"""A labelled task's loss on a net whose convolutions stay as they are, and the held-out error."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from lighthubert.data import Batch
from lighthubert.runtime.sums import Sums
from lighthubert.tasks.labelled import LabelledTask
from lighthubert.tasks.model import TaskModel
from lighthubert.train import Objective


class Finetuning(Objective):
    """The mean loss over tokens (CTC) or clips (classes). For freeze_steps only the head learns."""

    model: TaskModel

    def __init__(self, task: LabelledTask, freeze_steps: int) -> None:
        self.model, self.task, self.freeze_steps = task.model, task, freeze_steps
        for module in (self.model.hubert.frontend.convs, self.model.hubert.frontend.norms):
            module.requires_grad_(False)

    def counts(self, batch: Batch, step: int) -> Tensor:
        """(1,) the labels that a loss can be had of."""
        return torch.tensor([self.task.count(batch)], dtype=torch.float64)

    def losses(self, batch: Batch, step: int, totals: Tensor) -> Iterator[tuple[Tensor, dict[str, Tensor]]]:
        if not totals[0]:
            return
        masks = (mask.to(batch.waveform.device) for mask in self.task.masks(batch))
        with torch.set_grad_enabled(step >= self.freeze_steps):
            output = self.model.hubert(batch.waveform, batch.lengths, *masks)
        loss = self.task.loss(output, batch) / totals[0].item()
        yield loss, {f"loss/{self.model.task.kind}": loss.detach()}

    def evaluate(self, step: int, rank: int, world: int) -> Sums:
        return self.task.evaluate(self.model.hubert, rank, world)

    def describe(self) -> dict[str, str]:
        names = ", ".join(f"`{name}`" for name in self.model.vocabulary.names[:50])
        return {"model": f"`{self.model.hubert}`", "vocabulary": f"{len(self.model.vocabulary)}: {names}"}
