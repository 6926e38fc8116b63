"""The objective of pruning: a task's loss of the net that the gates leave, and the price of what it costs."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lighthubert.data import Batch, DataConfig, Manifest, eval_batches
from lighthubert.elastic import axis_sizes, run
from lighthubert.prune.constraint import lagrangian
from lighthubert.prune.model import GatedHubert
from lighthubert.prune.plots import width_curves
from lighthubert.prune.tasks import Task
from lighthubert.train.plots import loss_curves

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Pruning:
    """Implements train.Objective. Without constraints it trains a net as it is."""

    def __init__(self, model: GatedHubert, task: Task, valid: Manifest, data: DataConfig) -> None:
        self.model, self.task, self.valid, self.data = model, task, valid, data

    def counts(self, batch: Batch, step: int) -> Tensor:
        """(2,) what the task's loss is a mean over, and clips."""
        counts = (self.task.count(batch), float(len(batch.rows))) if batch.rows else (0.0, 0.0)
        return torch.tensor(counts, dtype=torch.float64)

    def losses(self, batch: Batch, step: int, totals: Tensor) -> Iterator[tuple[Tensor, dict[str, Tensor]]]:
        """The batch's share of the task's mean loss, and as large a share of the constraints' price as of the clips."""
        model = self.model
        things, clips = totals.tolist()
        share = len(batch.rows) / clips
        output = run(model.hubert, model.subnet(step), batch.waveform, batch.lengths)
        loss = self.task.loss(output, batch) / max(things, 1.0)
        parts = {"loss/task": loss.detach()}
        if model.constraints:
            price, sparsities = lagrangian(model.constraints, model.gates, model.multipliers, step)
            loss = loss + share * price
            parts |= {"loss/price": share * price.detach()} | {k: share * s for k, s in sparsities.items()}
        yield loss, parts

    def evaluate(self, step: int, rank: int, world: int) -> dict[str, tuple[float, float]]:
        """The held-out loss of the net as it would be extracted now, its sizes, and the constraints."""
        model, sums = self.model, defaultdict[str, float](float)
        counts = defaultdict[str, float](float)
        subnet, device = model.hard_subnet(), next(model.parameters()).device
        for batch in itertools.islice(eval_batches(self.valid, self.data), rank, None, world):
            count, batch = self.task.count(batch, held_out=True), batch.to(device)
            output = run(model.hubert, subnet, batch.waveform, batch.lengths)
            sums["held_out_loss"] += float(self.task.loss(output, batch, held_out=True))
            counts["held_out_loss"] += count
        values = {key: (value, counts[key]) for key, value in sums.items()}
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
