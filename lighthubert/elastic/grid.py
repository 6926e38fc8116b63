"""The choices that a search space is made of, how an arch of them may be written, and what is outside."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from lighthubert.elastic.rules import DROPPED, LARGEST, ffn_unit, kept_layers
from lighthubert.models import Arch, HubertConfig
from lighthubert.schema import Checked, Problems


@dataclass(frozen=True)
class Grid(Checked):
    """The choices of every elastic size."""

    parent: HubertConfig
    """The net that holds the weights, which may be wider than every subnet: hubert_base, hubert_large, or keys of
    HubertConfig."""
    embed_dim: tuple[int, ...]
    """One choice for the whole net."""
    num_layers: tuple[int, ...]
    """One choice; the layer rule says which layers these are."""
    num_heads: tuple[int, ...]
    """Chosen for each kept layer."""
    ffn_ratio: tuple[float, ...]
    """Of embed_dim, chosen for each kept layer."""
    conv_channels: tuple[int, ...] | tuple[tuple[int, ...], ...]
    """Chosen for each convolution, or, as lists with a number for each, one choice for all of them together."""
    layer_rule: Literal["lighthubert", "spread"] = "spread"
    """Which layers of the parent remain: the released table for 12 layers, or evenly spread ones."""
    ffn_rule: Literal["strided", "prefix"] = "prefix"
    """Which FFN units of the parent remain: the first ones, or those of the released files, in blocks of embed_dim."""
    name: str = field(default="custom", compare=False)
    """What messages call the space; the file's name."""

    def __post_init__(self) -> None:
        try:
            super().__post_init__()
        except Problems as error:
            raise Problems(error.problems, f"search space {self.name}") from None

    def problems(self) -> Iterator[str]:
        return space_problems(self)

    def ffn_dims(self, embed_dim: int) -> tuple[int, ...]:
        return tuple(int(ratio * embed_dim) for ratio in self.ffn_ratio)

    def layers(self, num_layers: int) -> tuple[int, ...]:
        return kept_layers(self.layer_rule, num_layers, self.parent.num_layers)

    def conv_choices(self) -> list[tuple[int, ...]]:
        """Every joint choice of channels; where each convolution chooses by itself, those where all choose alike."""
        return [c if isinstance(c, tuple) else (c,) * len(self.parent.conv_channels) for c in self.conv_channels]

    @property
    def joint_convs(self) -> bool:
        return isinstance(self.conv_channels[0], tuple)


def space_problems(space: Grid) -> Iterator[str]:
    """What is wrong with a space by itself."""
    parent = space.parent
    if space.layer_rule == "lighthubert" and (parent.num_layers != 12 or not set(space.num_layers) <= set(DROPPED)):
        yield f"layer_rule: lighthubert knows 6 to 12 of 12 layers, got {list(space.num_layers)} of {parent.num_layers}"
    limits = {
        "embed_dim": parent.embed_dim,
        "num_layers": parent.num_layers,
        "num_heads": min(parent.num_heads),
    }
    for key, limit in limits.items():
        if max(getattr(space, key)) > limit:
            yield f"{key}: the parent has {limit}, got {list(getattr(space, key))}"
    for embed in space.embed_dim:
        dims = space.ffn_dims(embed)
        if min(dims) < 1 or len(set(dims)) < len(dims):
            yield f"ffn_ratio: must make sizes that differ, one unit or more; of {embed} they are {list(dims)}"
            continue
        if ffn_unit(space.ffn_rule, max(dims) - 1, embed, parent.embed_dim) >= min(parent.ffn_dim):
            yield f"ffn_ratio: {max(space.ffn_ratio)} x {embed} is more than the parent's {min(parent.ffn_dim)} units"
        width = parent.embed_dim // parent.pos_conv_groups
        step = parent.pos_conv_groups if parent.pos_conv_fixed == "groups" else width
        if embed % step:
            fixed = f"positional convolution, fixed {parent.pos_conv_fixed}"
            yield f"embed_dim: must be a multiple of {step} ({fixed}), got {embed}"
    for choice in space.conv_choices():
        if len(choice) != len(parent.conv_channels):
            yield f"conv_channels: needs {len(parent.conv_channels)} per joint choice, got {list(choice)}"
        elif any(c > p for c, p in zip(choice, parent.conv_channels, strict=True)):
            yield f"conv_channels: the parent has {list(parent.conv_channels)}, got {list(choice)}"


def complete(space: Grid, config: Mapping[str, Any]) -> dict[str, Any]:
    """Write an arch out: num_layers names the layers, ffn_ratio the FFN sizes, scalars apply to every layer or
    convolution, and what the space leaves no choice in may be left out. Raises ValueError."""
    values, written = dict(config), {"num_layers": "layers", "ffn_ratio": "ffn_dim"}
    for key in ("embed_dim", "num_layers", "num_heads", "ffn_ratio", "conv_channels"):
        if len(getattr(space, key)) == 1 and written.get(key, key) not in values:
            values.setdefault(key, getattr(space, key)[0])
    for pair in written.items():
        if all(key in config for key in pair):
            raise ValueError(f"{', '.join(pair)}: give one of the two")
    depth = values.pop("num_layers", None)
    if depth is not None:
        if type(depth) is not int or depth not in space.num_layers:
            raise ValueError(f"num_layers: must be one of {list(space.num_layers)}, got {depth!r}")
        values["layers"] = space.layers(depth)
    ratios, embed = values.pop("ffn_ratio", None), values.get("embed_dim")
    if ratios is not None and type(embed) is int:
        several = isinstance(ratios, (list, tuple))
        if not all(type(r) in (int, float) and abs(r) < LARGEST for r in (ratios if several else [ratios])):
            raise ValueError(f"ffn_ratio: expected a number or a list of numbers, got {ratios!r}")
        values["ffn_dim"] = [int(r * embed) for r in ratios] if several else int(ratios * embed)
    layers = values.get("layers")
    counts = {"conv_channels": len(space.parent.conv_channels)}
    if isinstance(layers, (list, tuple)):
        counts |= {"num_heads": len(layers), "ffn_dim": len(layers)}
    for key, count in counts.items():
        if type(values.get(key)) is int:
            values[key] = [values[key]] * count
    return values


def arch_problems(space: Grid, arch: Arch) -> Iterator[str]:
    """Which value of an arch breaks which rule of the space."""
    return itertools.chain(_depth_problems(space, arch), _width_problems(space, arch))


def _depth_problems(space: Grid, arch: Arch) -> Iterator[str]:
    if arch.num_layers not in space.num_layers:
        yield f"layers: must be {_one_of(space.num_layers)} layers, got {arch.num_layers}"
    elif arch.layers != space.layers(arch.num_layers):
        rule = f"{list(space.layers(arch.num_layers))} ({space.layer_rule} rule)"
        yield f"layers: {arch.num_layers} layers must be {rule}, got {list(arch.layers)}"
    for key in ("num_heads", "ffn_dim"):
        if len(getattr(arch, key)) != arch.num_layers:
            yield f"{key}: needs one value for each of {arch.num_layers} layers, got {len(getattr(arch, key))}"


def _width_problems(space: Grid, arch: Arch) -> Iterator[str]:
    if arch.embed_dim not in space.embed_dim:
        yield f"embed_dim: must be {_one_of(space.embed_dim)}, got {arch.embed_dim}"
    else:
        dims = space.ffn_dims(arch.embed_dim)
        for i, ffn in enumerate(arch.ffn_dim):
            if ffn not in dims:
                ratios = _one_of(space.ffn_ratio)
                yield f"ffn_dim[{i}]: must be {_one_of(dims)} ({ratios} x embed_dim={arch.embed_dim}), got {ffn}"
    for i, heads in enumerate(arch.num_heads):
        if heads not in space.num_heads:
            yield f"num_heads[{i}]: must be {_one_of(space.num_heads)}, got {heads}"
    if isinstance(space.conv_channels[0], tuple):
        if arch.conv_channels not in space.conv_channels:
            yield f"conv_channels: must be {_one_of(map(list, space.conv_channels))}, got {list(arch.conv_channels)}"
        return
    convs = len(space.parent.conv_channels)
    if len(arch.conv_channels) != convs:
        yield f"conv_channels: needs one value for each of {convs} convolutions, got {len(arch.conv_channels)}"
    for i, channels in enumerate(arch.conv_channels):
        if channels not in space.conv_channels:
            yield f"conv_channels[{i}]: must be {_one_of(space.conv_channels)}, got {channels}"


def _one_of(values: Any) -> str:
    values = list(map(str, values))
    return values[0] if len(values) == 1 else "one of " + ", ".join(values)
