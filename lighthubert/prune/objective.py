"""The objective of pruning: a criterion's loss of the net that the gates leave, and the price of what it costs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from lighthubert.data import Batch
from lighthubert.elastic import axis_sizes, run_subnet
from lighthubert.prune.constraint import lagrangian
from lighthubert.prune.criterion import Criterion
from lighthubert.prune.model import GatedHubert
from lighthubert.prune.plots import width_curves
from lighthubert.runtime import plots
from lighthubert.runtime.sums import Sums
from lighthubert.train import Objective


class Pruning(Objective):
    """Without constraints it trains a net as it is."""

    model: GatedHubert

    def __init__(self, model: GatedHubert, criterion: Criterion) -> None:
        self.model, self.criterion, self.groups = model, criterion, model.groups

    def counts(self, batch: Batch, step: int) -> Tensor:
        """(2,) what the criterion's loss is a mean over, and clips."""
        return torch.tensor([self.criterion.count(batch), len(batch.rows)], dtype=torch.float64)

    def losses(self, batch: Batch, step: int, totals: Tensor) -> Iterator[tuple[Tensor, dict[str, Tensor]]]:
        """The batch's share of the mean loss, and as large a share of the constraints' price as of the clips."""
        model = self.model
        things, clips = totals.tolist()
        share = len(batch.rows) / clips
        masks = (None if m is None else m.to(batch.waveform.device) for m in self.criterion.masks(batch))
        output = run_subnet(model.hubert, model.subnet(step), batch.waveform, batch.lengths, *masks)
        loss = self.criterion.loss(output, batch) / max(things, 1.0)
        parts = {"loss/task": loss.detach()}
        if model.constraints:
            price, sparsities = lagrangian(model.constraints, model.gates, model.multipliers, step)
            loss = loss + share * price
            parts |= {"loss/price": share * price.detach()} | {k: share * s for k, s in sparsities.items()}
        yield loss, parts

    def evaluate(self, step: int, rank: int, world: int) -> Sums:
        """The criterion's figures of the net as it would be extracted now, its sizes, and the constraints."""
        model, subnet = self.model, self.model.hard_subnet()
        sums = self.criterion.evaluate(partial(run_subnet, model.hubert, subnet), rank, world)
        config = subnet.config(model.hubert.config)
        sizes = axis_sizes(config)
        values = {f"width/{axis}": float(sizes[axis]) for axis in model.gates.probabilities()}
        for c, (linear, square) in zip(model.constraints, model.multipliers.tolist(), strict=True):
            values |= {f"sparsity/{c}": 1 - c.of(config) / c.of(model.hubert.config), f"target/{c}": c.target(step)}
            values |= {f"multiplier_linear/{c}": linear, f"multiplier_square/{c}": square}
        sums.extend({name: (value, 1.0) for name, value in values.items()})
        return sums

    def describe(self) -> dict[str, str]:
        return {"net": f"`{self.model.hubert}`", "constraints": "; ".join(map(str, self.model.constraints)) or "none"}

    def figures(self, history: Sequence[Mapping[str, Any]]) -> dict[str, plots.Figure]:
        figures = super().figures(history)
        return figures | {"widths": width_curves(history)} if figures and self.model.constraints else figures
