"""The objective of pruning: a task's loss of the net that the gates leave, and the price of what it costs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lighthubert.data import Batch
from lighthubert.elastic import axis_sizes, run
from lighthubert.prune.constraint import lagrangian
from lighthubert.prune.model import GatedHubert
from lighthubert.prune.plots import width_curves
from lighthubert.prune.tasks import Task
from lighthubert.runtime.plots import loss_curves

if TYPE_CHECKING:
    from lighthubert.runtime.plots import Figure


class Pruning:
    """Implements train.Objective. Without constraints it trains a net as it is."""

    def __init__(self, model: GatedHubert, task: Task) -> None:
        self.model, self.task = model, task

    def counts(self, batch: Batch, step: int) -> Tensor:
        """(2,) what the task's loss is a mean over, and clips."""
        counts = (self.task.count(batch), float(len(batch.rows))) if batch.rows else (0.0, 0.0)
        return torch.tensor(counts, dtype=torch.float64)

    def losses(self, batch: Batch, step: int, totals: Tensor) -> Iterator[tuple[Tensor, dict[str, Tensor]]]:
        """The batch's share of the task's mean loss, and as large a share of the constraints' price as of the clips."""
        model = self.model
        things, clips = totals.tolist()
        share = len(batch.rows) / clips
        masks = (None if m is None else m.to(batch.waveform.device) for m in self.task.masks(batch))
        output = run(model.hubert, model.subnet(step), batch.waveform, batch.lengths, *masks)
        loss = self.task.loss(output, batch) / max(things, 1.0)
        parts = {"loss/task": loss.detach()}
        if model.constraints:
            price, sparsities = lagrangian(model.constraints, model.gates, model.multipliers, step)
            loss = loss + share * price
            parts |= {"loss/price": share * price.detach()} | {k: share * s for k, s in sparsities.items()}
        yield loss, parts

    def evaluate(self, step: int, rank: int, world: int) -> dict[str, tuple[float, float]]:
        """The task's figures of the net as it would be extracted now, its sizes, and the constraints."""
        model, subnet = self.model, self.model.hard_subnet()
        values = self.task.evaluate(partial(run, model.hubert, subnet), rank, world)
        if not model.constraints:
            return values
        config = subnet.config(model.hubert.config)
        sizes = axis_sizes(config)
        values |= {f"width/{axis}": (float(sizes[axis]), 1.0) for axis in model.gates.probabilities()}
        for c, (linear, square) in zip(model.constraints, model.multipliers.tolist(), strict=True):
            values[f"sparsity/{c}"] = (1 - c.of(config) / c.of(model.hubert.config), 1.0)
            values[f"target/{c}"] = (c.target(step), 1.0)
            values |= {f"multiplier_linear/{c}": (linear, 1.0), f"multiplier_square/{c}": (square, 1.0)}
        return values

    def describe(self) -> dict[str, str]:
        return {"net": f"`{self.model.hubert}`", "constraints": "; ".join(map(str, self.model.constraints)) or "none"}

    def figures(self, history: Sequence[Mapping[str, Any]]) -> dict[str, Figure]:
        if len(history) < 2:
            return {}
        widths = {"widths": width_curves(history)} if self.model.constraints else {}
        return {"held-out loss": loss_curves(history)} | widths
