"""Hard-concrete gates (Louizos et al. 2018, with the constants of CoFi and DPHuBERT) over the axes of a net.

A gate is a random number z in [0, 1] that is exactly 0 or 1 most of the time. Its parameter log_alpha learns through
the values in between; how probable it is to be open, P(z > 0), has a closed form, and so have expected widths.
"""

# N units of an axis

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from lighthubert.data import stream
from lighthubert.elastic import Axis, Subnet, axis_sizes, conv
from lighthubert.elastic.axes import NUMBERED
from lighthubert.models import HubertConfig

BETA, LOW, HIGH = 2 / 3, -0.1, 1.1  # temperature, and the interval that a sigmoid is stretched to before it is cut
SOFT = 0.8  # CoFi's factor of log_alpha / BETA in gates that are no longer drawn
START = 0.01  # probability that an unstretched gate is closed at first: CoFi's and DPHuBERT's for channels and heads
EPS = 1e-6  # of the noise: u in (EPS, 1 - EPS)
UNITS = tuple(NUMBERED)  # kinds of axes, one gate for each unit
SUBLAYERS = {"attention": "heads", "feed_forward": "ffn"}  # kinds of gates, one for all units of a layer's axis


def sample(log_alpha: Tensor, noise: Tensor) -> Tensor:
    """Gates z (N,) in [0, 1] of log_alpha (N,) and uniform noise (N,) in [0, 1]; counted in float32 at least."""
    noise = noise.double().clamp(EPS, 1 - EPS)  # 1 - EPS is 1 in half precision
    logistic = (noise.log() - (1 - noise).log()).to(log_alpha.device, torch.promote_types(log_alpha.dtype, torch.float))
    return (((logistic + log_alpha) / BETA).sigmoid() * (HIGH - LOW) + LOW).clamp(0, 1)


def open_probability(log_alpha: Tensor) -> Tensor:
    """P(z > 0) of each gate."""
    return (log_alpha - BETA * math.log(-LOW / HIGH)).sigmoid()


def soft(log_alpha: Tensor) -> Tensor:
    """The value in (0, 1) of each gate that stays open once gates are no longer drawn."""
    return (SOFT * log_alpha / BETA).sigmoid()


def axis_of(gate: Axis) -> Axis:
    """The axis that a gate belongs to: heads3 of attention3, else its own."""
    return Axis(SUBLAYERS.get(gate.kind, gate.kind), gate.index)


class Gates(nn.Module):
    """The log_alpha of every gate of a net, by the text of its axis (conv0, heads3, ffn3, attention3, feed_forward3).

    kinds: which axes have gates, of UNITS and SUBLAYERS. A layer that has lost all its heads or FFN units has none.
    """

    def __init__(self, config: HubertConfig, kinds: Sequence[str], seed: int) -> None:
        super().__init__()
        self.config, self.seed = config, seed
        sizes = {axis: n for axis, n in axis_sizes(config).items() if n and axis.kind in UNITS}
        gates = {axis: n for axis, n in sizes.items() if axis.kind in kinds}
        for kind in (kind for kind in SUBLAYERS if kind in kinds):
            gates |= {Axis(kind, axis.index): 1 for axis in sizes if axis.kind == SUBLAYERS[kind]}
        rng = stream("gate_start", seed)
        start = math.log((1 - START) / START)
        self.log_alpha = nn.ParameterDict(
            {str(gate): nn.Parameter(torch.from_numpy(rng.normal(start, 0.01, n)).float()) for gate, n in gates.items()}
        )

    def by_gate(self) -> dict[Axis, Tensor]:
        """The log_alpha of every gate."""
        return {Axis.parse(name): log_alpha for name, log_alpha in self.log_alpha.items()}

    def probabilities(self, dtype: torch.dtype = torch.float64) -> dict[Axis, Tensor]:
        """Of each unit of each gated axis, how probable it is to be open; with gradients."""
        return self._of_axes({gate: open_probability(a.to(dtype)) for gate, a in self.by_gate().items()})

    def expected_sizes(self) -> dict[Axis, int | Tensor]:
        """Units of every axis, as `lighthubert.cost` takes them: expected numbers, with gradients, where gates are."""
        return axis_sizes(self.config) | {axis: p.sum() for axis, p in self.probabilities().items()}

    def values(self, log_alpha: Mapping[Axis, Tensor]) -> dict[Axis, Tensor]:
        """The soft values of the units of each gated axis."""
        return self._of_axes({gate: soft(a.float()) for gate, a in log_alpha.items()})

    def _of_axes(self, gates: Mapping[Axis, Tensor]) -> dict[Axis, Tensor]:
        """Gates of units times the gate of their sub-layer."""
        axes: dict[Axis, Tensor] = {}
        sizes = axis_sizes(self.config)
        for gate, values in gates.items():
            axis = axis_of(gate)
            axes[axis] = axes[axis] * values if axis in axes else values.expand(sizes[axis])
        return axes

    def draw(self, step: int) -> Subnet:
        """The net of a step: a function of (seed, step), one for all clips and ranks.

        Units whose gate is exactly 0 are left out; the values of the others are scales. A convolution keeps its most
        probable channel.
        """
        rng = stream("gates", self.seed, step)
        log_alpha = self.by_gate()
        values = self._of_axes({g: sample(a, torch.from_numpy(rng.random(len(a)))) for g, a in log_alpha.items()})
        for axis, z in values.items():
            if axis.kind == "conv" and not bool((z > 0).any()):
                best = log_alpha[axis].detach().argmax()
                values[axis] = torch.zeros_like(z).index_fill(0, best, 1.0)
        return self.subnet(values)

    def subnet(self, values: Mapping[Axis, Tensor]) -> Subnet:
        """The net of gates' values (N,) by axis.

        Behind the last convolution a norm follows, which no scale goes through: there an open gate counts as 1. Its
        gradient is that of a factor behind the norm (straight-through).
        """
        last = conv(len(self.config.conv_channels) - 1)
        units, scales = {}, {}
        for axis, z in values.items():
            kept = torch.nonzero(z.detach()).flatten()
            units[axis] = tuple(kept.tolist())
            z = z[kept]
            scales[axis] = 1 + (z - z.detach()) if axis == last else z
        return Subnet(tuple(range(self.config.num_layers)), units, scales)
