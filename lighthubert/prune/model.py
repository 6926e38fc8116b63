"""The net in pruning: its weights, gates over its units, and the multipliers of the constraints."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from lighthubert.elastic import Axis, Subnet
from lighthubert.models import Hubert
from lighthubert.prune.constraint import Constraint, harden
from lighthubert.prune.gates import Gates


class GatedHubert(nn.Module):
    """hubert holds the weights of all units; head is what the task adds to it. Without constraints there are no gates.

    gate_lr: the highest learning rate of gates and multipliers; the latter ascend.
    """

    def __init__(
        self, hubert: Hubert, head: nn.Module, constraints: Sequence[Constraint], units: Sequence[str], gate_lr: float,
        seed: int,
    ) -> None:  # fmt: skip
        super().__init__()
        self.hubert, self.head, self.constraints = hubert, head, tuple(constraints)
        self.gates = Gates(hubert.config, units if constraints else (), seed)
        self.multipliers = nn.Parameter(torch.zeros(len(constraints), 2), requires_grad=bool(constraints))
        groups = {"gates.": {"lr": gate_lr}, "multipliers": {"lr": gate_lr, "maximize": True}}
        self.groups = groups if constraints else {}

    def subnet(self, step: int) -> Subnet:
        """The net that a step trains: a function of (seed, step)."""
        return self.gates.draw(step) if self.constraints else Subnet.full(self.hubert.config)

    @torch.no_grad()
    def hard_subnet(self, final: bool = False) -> Subnet:
        """The net as it would be extracted now, as dear as gates are expected to be; finally, as constraints ask."""
        config, sizes = self.hubert.config, self.gates.expected_sizes()
        budgets = [(c, c.budget(config) if final else float(c.of(config, sizes))) for c in self.constraints]
        return harden(self.gates, budgets) if budgets else Subnet.full(config)

    def order(self) -> dict[Axis, tuple[int, ...]]:
        """Units of every gated axis, the most probable ones first."""
        probabilities = self.gates.probabilities().items()
        return {axis: tuple(p.argsort(descending=True, stable=True).tolist()) for axis, p in probabilities}
