"""A subnet is a pure function of its parent's parameters: which layers, and which units of each axis, survive."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from lighthubert.elastic.axes import EMBED, GROUP, NUMBERED, Axis, axes, axis_sizes, layer_of, rows_per_unit
from lighthubert.models import Hubert, HubertConfig
from lighthubert.models.config import brief

MAY_BE_EMPTY = ("heads", "ffn")  # kinds of axes
Units = range | tuple[int, ...]  # kept units in their new order; a range is taken as a view, a tuple is copied


@dataclass(frozen=True, eq=False)
class Subnet:
    """Which of the parent's layers remain, and which units of each of its axes (all of an axis that is not named).

    A layer may lose all its heads or FFN units: the bias of what consumed them remains. scales: axis -> a factor of
    each kept unit, in their order, 1 where none is named; it multiplies the columns of the matrix that consumes them.
    """

    layers: tuple[int, ...]
    units: Mapping[Axis, Units] = field(default_factory=dict)
    scales: Mapping[Axis, Tensor] = field(default_factory=dict)

    @classmethod
    def full(cls, parent: HubertConfig) -> Subnet:
        """The parent itself."""
        return cls(tuple(range(parent.num_layers)))

    def config(self, parent: HubertConfig) -> HubertConfig:
        """The sizes of the standalone net. Raises ValueError for axes, layers or units that the parent lacks."""
        self._check(parent)
        width = parent.embed_dim // parent.pos_conv_groups
        if parent.pos_conv_fixed == "group_dim" and len(self.units.get(EMBED, ())) % width:
            raise ValueError(
                f"embed: {len(self.units[EMBED])} are not whole groups of the positional convolution ({width} each)"
            )
        kept = {axis: len(self.units.get(axis, range(size))) for axis, size in axis_sizes(parent).items()}
        indices = {"conv": range(len(parent.conv_channels)), "heads": self.layers, "ffn": self.layers}
        sizes = {key: tuple(kept[Axis(kind, i)] for i in indices[kind]) for kind, key in NUMBERED.items()}
        return parent.resized(kept[EMBED], **sizes, layers=self.layers)

    def _check(self, parent: HubertConfig) -> None:
        sizes = axis_sizes(parent)
        problems = [f"{axis!r}: the parent has no such axis" for axis in self.units if axis not in sizes]
        if not set(self.layers) <= set(range(parent.num_layers)):
            problems.append(f"layers: the parent has {parent.num_layers}, got {self.layers}")
        for axis, size in sizes.items():
            units, may_be_empty = self.units.get(axis, range(size)), axis.kind in MAY_BE_EMPTY
            if not (_fits(units, size) and (units or may_be_empty)):
                several = "" if may_be_empty else ", one or more"
                problems.append(f"{axis}: needs distinct units within 0 and {size - 1}{several}")
        for axis, scale in self.scales.items():
            if axis not in sizes or axis == EMBED:
                problems.append(f"scales: {axis}: is no axis of units that can be scaled")
            elif scale.shape != (len(self.units.get(axis, range(sizes[axis]))),):
                problems.append(f"scales: {axis}: needs a number for each kept unit, got shape {tuple(scale.shape)}")
        if problems:
            raise ValueError("Subnet: " + "; ".join(problems))

    def __repr__(self) -> str:
        parts = [f"layers={brief(self.layers)}"]
        for kind in (EMBED.kind, *NUMBERED):
            units = [u for axis, u in self.units.items() if axis.kind == kind]
            chosen = " (not the first ones)" if any(u != range(len(u)) for u in units) else ""
            if units:
                parts.append(f"{kind}={brief(tuple(len(u) for u in units))}{chosen}")
        return f"Subnet({', '.join(parts)})"


def _fits(units: Units, size: int) -> bool:
    """Whether these are distinct units of an axis."""
    if isinstance(units, range):
        return units.step == 1 and 0 <= units.start <= units.stop <= size
    return len(units) == len(set(units)) and min(units, default=0) >= 0 and max(units, default=-1) < size


def select(params: Mapping[str, Tensor], subnet: Subnet, parent: HubertConfig) -> dict[str, Tensor]:
    """The subnet's parameters out of its parent's, by their names in the standalone net.

    Differentiable: slices are views of the parent's tensors, other choices are gathered; scales get a gradient too.
    Raises KeyError for a parameter that has no axes, ValueError where `subnet.config` does.
    """
    subnet.config(parent)  # for its errors: a layer that the parent lacks would just be missing
    return select_checked(params, subnet, parent)


def select_checked(params: Mapping[str, Tensor], subnet: Subnet, parent: HubertConfig) -> dict[str, Tensor]:
    """As `select`, of a subnet whose `config` was made of this parent before."""
    new_layer = {old: new for new, old in enumerate(subnet.layers)}
    group = _group_units(subnet, parent)
    selected = {}
    for name, tensor in params.items():
        layer = layer_of(name)
        if layer is not None and layer not in new_layer:
            continue
        for dim, axis in enumerate(axes(name, len(parent.conv_channels))):
            units = group if axis == GROUP else subnet.units.get(axis)
            if units is not None:
                tensor = _take(tensor, dim, units, rows_per_unit(axis, parent))
            if dim == 1 and axis in subnet.scales:  # where the axis is consumed
                scale = subnet.scales[axis].repeat_interleave(rows_per_unit(axis, parent))
                tensor = tensor * scale.reshape(-1, *(1,) * (tensor.ndim - 2))
        if layer is not None:
            name = name.replace(f".{layer}.", f".{new_layer[layer]}.", 1)
        selected[name] = tensor
    return selected


def _take(tensor: Tensor, dim: int, units: Units, rows: int) -> Tensor:
    if isinstance(units, range):
        if len(units) * rows == tensor.shape[dim]:
            return tensor
        return tensor.narrow(dim, units.start * rows, len(units) * rows)
    return tensor.index_select(dim, _index(units, rows, tensor.device))


@functools.lru_cache(maxsize=512)
def _index(units: Units, rows: int, device: torch.device) -> Tensor:
    """Rows of a matrix that units are; kept, since to copy thousands of numbers costs more than to gather by them."""
    with torch.inference_mode(False):  # a tensor made in inference mode could not be used in training later
        index = torch.tensor(units, device=device, dtype=torch.long)
        return (index[:, None] * rows + torch.arange(rows, device=device)).flatten()


def _group_units(subnet: Subnet, parent: HubertConfig) -> Units | None:
    """Input channels of the positional convolution's groups that go with the kept embedding.

    A prefix takes leading channels of each filter, as LightHuBERT does, even where its groups are cut anew. Any other
    choice must take whole groups, in any order, with their channels in one order that all share: then the filters
    keep the inputs that they were trained with.
    """
    embed = subnet.units.get(EMBED)
    if embed is None:
        return None
    fixed = parent.pos_conv_fixed == "groups"
    groups = parent.pos_conv_groups if fixed else len(embed) * parent.pos_conv_groups // parent.embed_dim
    if embed == range(len(embed)):
        return range(len(embed) // groups)
    width = parent.embed_dim // parent.pos_conv_groups
    rows = torch.tensor(embed).reshape(groups, -1)
    within = rows % width
    if rows.shape[1] != width or (rows // width != rows[:, :1] // width).any() or (within != within[0]).any():
        raise ValueError(
            f"embed: other units than the first ones must be whole groups of the positional convolution ({width} each),"
            " with one order of channels in all of them"
        )
    return tuple(within[0].tolist())


def extract(hubert: Hubert, subnet: Subnet) -> Hubert:
    """A subnet as a standalone net with its own storage; in fp32 its outputs equal the supernet's bit for bit
    from 16 rows (batch x frames) up."""
    return copied(hubert, subnet, subnet.config(hubert.config))


@torch.no_grad()
def copied(hubert: Hubert, subnet: Subnet, config: HubertConfig) -> Hubert:
    """A net of these sizes, those of the subnet, that has the subnet's parameters for its own."""
    net = skeleton(config)
    params = select_checked(dict(hubert.named_parameters()), subnet, hubert.config)
    own = {name: p.clone(memory_format=torch.contiguous_format) for name, p in params.items()}
    net.load_state_dict(own, assign=True)
    return net.train(hubert.training)


def skeleton(config: HubertConfig) -> Hubert:
    """A net without storage, to be given parameters."""
    with torch.device("meta"):
        return Hubert(config)
