"""Constraints on what a net costs, the price of breaking them, and the net that keeps them exactly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lighthubert import cost
from lighthubert.cost import Sizes
from lighthubert.elastic import Axis, Subnet, axis_sizes
from lighthubert.models import HubertConfig
from lighthubert.prune.gates import SUBLAYERS, UNITS, Gates, axis_of, open_probability


@dataclass(frozen=True)
class Constraint:
    """A share of a cost that must go.

    cost: "params", or "macs" of a clip of 10 s. part: of the net, "all", "frontend" (up to the projection) or
    "transformer" (all else). sparsity: the share of it that goes; asked for after warmup_steps, rising linearly from 0.
    """

    cost: str
    part: str
    sparsity: float
    warmup_steps: int = 0

    def of(self, config: HubertConfig, sizes: Sizes | None = None) -> Any:
        """The cost of a net, or of other sizes of it: integers, or tensors with gradients."""
        if self.cost == "params":
            return cost.num_params(config, sizes, self.part)
        return cost.macs(config, sizes=sizes, part=self.part)

    def budget(self, config: HubertConfig) -> float:
        """What the net may cost in the end."""
        return float((1 - self.sparsity) * self.of(config))

    def target(self, step: int) -> float:
        """The sparsity that is asked for after so many steps."""
        return self.sparsity * min(1.0, step / self.warmup_steps) if self.warmup_steps else self.sparsity

    def covers(self, kind: str) -> bool:
        """Whether it is about units of this kind."""
        return self.part == "all" or (kind == "conv") == (self.part == "frontend")

    def __str__(self) -> str:
        return self.cost if self.part == "all" else f"{self.part}_{self.cost}"


def problems_of(constraints: Sequence[Constraint], units: Sequence[str]) -> list[str]:
    """What does not go together: gates without a constraint, constraints without gates, two for the same units."""
    known = (*UNITS, *SUBLAYERS)
    problems = [f"units: must be some of {', '.join(known)}, got {unit!r}" for unit in units if unit not in known]
    problems += [f"units: {u} needs {axis} too" for u, axis in SUBLAYERS.items() if u in units and axis not in units]
    if problems or not constraints:
        return problems
    for unit in units:
        about = [str(c) for c in constraints if c.covers(unit)]
        if len(about) != 1:
            problems.append(f"sparsity: needs exactly one value about units {unit}, got {', '.join(about) or 'none'}")
    idle = [c for c in constraints if not any(c.covers(unit) for unit in units)]
    return problems + [f"sparsity: {c}: none of the units {', '.join(units)} are in that part" for c in idle]


def check_budgets(constraints: Sequence[Constraint], gates: Gates) -> None:
    """Raises ValueError if a cost is above its budget even without all units that may go."""
    config = gates.config
    least = axis_sizes(config) | {axis: int(axis.kind == "conv") for axis in gates.probabilities()}
    for c in constraints:
        most = 1 - c.of(config, least) / c.of(config)
        if c.sparsity > most:
            raise ValueError(f"sparsity.{c}: at most {most:.3f} can go with these units, got {c.sparsity}")


def lagrangian(
    constraints: Sequence[Constraint], gates: Gates, multipliers: Tensor, step: int
) -> tuple[Tensor, dict[str, Tensor]]:
    """The sum of lambda1 (s - t) + lambda2 (s - t)^2 over the constraints, s a cost's expected sparsity, t the one
    asked for now; and each s. multipliers (constraints, 2) ascend it, all else descends."""
    sizes, config = gates.expected_sizes(), gates.config
    total, sparsities = multipliers.new_zeros(()), {}
    for c, (linear, square) in zip(constraints, multipliers, strict=True):
        sparsity = 1 - c.of(config, sizes) / c.of(config)
        gap = sparsity - c.target(step)
        total = total + linear * gap + square * gap.square()
        sparsities[f"sparsity/{c}"] = sparsity.detach()
    return total, sparsities


@torch.no_grad()
def harden(gates: Gates, budgets: Sequence[tuple[Constraint, float]]) -> Subnet:
    """The net of gates that are no longer drawn, at most as dear as the budgets, and nearer than one unit of any kind.

    Of each axis the most probable units stay, as many as are expected to be open (as in the reference). What
    rounding and a constraint that is not quite met leave over is made good: log_alpha is shifted by one number for all
    units of a constraint until the expected cost is the budget, and of the fractions of units that remain, the largest
    ones become units as long as the budget allows.
    """
    log_alpha = {gate: a.detach().double() for gate, a in gates.by_gate().items()}
    shut = {axis_of(g) for g, a in log_alpha.items() if g.kind in SUBLAYERS and float(open_probability(a)) < 0.5}
    widths: dict[Axis, int] = {}
    for constraint, budget in budgets:
        axes = {g: a for g, a in log_alpha.items() if g.kind in UNITS and constraint.covers(g.kind)}
        widths |= _widths(constraint, budget, gates.config, axes, shut)
    values = gates.values(gates.by_gate())
    kept = {}
    for axis, width in widths.items():
        best = log_alpha[axis].argsort(descending=True, stable=True)[:width]
        kept[axis] = torch.zeros_like(values[axis]).index_copy(0, best, values[axis][best])
    return gates.subnet(kept)


def _widths(
    constraint: Constraint, budget: float, config: HubertConfig, axes: Mapping[Axis, Tensor], shut: set[Axis]
) -> dict[Axis, int]:
    """How many units of each axis stay; axes: their log_alpha."""
    low = {axis: int(axis.kind == "conv") for axis in axes}
    high = {axis: 0 if axis in shut else len(a) for axis, a in axes.items()}

    def expected(shift: float) -> dict[Axis, float]:
        sums = {axis: float(open_probability(a + shift).sum()) for axis, a in axes.items()}
        return {axis: min(max(n, low[axis]), high[axis]) for axis, n in sums.items()}

    def price(sizes: Mapping[Axis, float]) -> float:
        return float(constraint.of(config, {**axis_sizes(config), **sizes}))

    left, right = -40.0, 40.0  # all gates shut, all open
    for _ in range(60):
        middle = (left + right) / 2
        left, right = (middle, right) if price(expected(middle)) <= budget else (left, middle)
    wanted = expected(left)
    widths = {axis: int(n) for axis, n in wanted.items()}
    while True:
        fractions = sorted(widths, key=lambda axis: widths[axis] - wanted[axis])  # the largest one first
        before = dict(widths)
        for axis in fractions:
            if widths[axis] < high[axis] and price({**widths, axis: widths[axis] + 1}) <= budget:
                widths[axis] += 1
        if widths == before:
            return widths
