"""The one table of what is elastic: the axis of every dimension of every parameter."""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Iterator
from typing import NamedTuple

from lighthubert.models import Arch, HubertConfig


class Axis(NamedTuple):
    """What a net has units of: kind "embed", "conv" (channels of a convolution), "heads" or "ffn" (of a layer).

    index: of the convolution or of the layer, from 0. Written EMBED, conv(0), heads(3), ffn(3); as text it is heads3,
    which `parse` reads back.
    """

    kind: str
    index: int | None = None  # type: ignore[assignment]  # over a method of tuples

    def __repr__(self) -> str:
        return self.kind if self.index is None else f"{self.kind}{self.index}"

    @classmethod
    def parse(cls, text: str) -> Axis:
        """Raises ValueError for what no axis is written like."""
        match = re.fullmatch(r"([a-z_]+)(-?\d+)?", text)
        if match is None:
            raise ValueError(f"{text!r}: not an axis: a word, and a number behind it")
        return cls(match[1], None if match[2] is None else int(match[2]))


EMBED = Axis("embed")
GROUP, POS_KERNEL = Axis("group"), Axis("pos_kernel")  # not elastic by themselves
# Kinds of axes that have an index -> where a net's config or an arch states their units.
NUMBERED = {"conv": "conv_channels", "heads": "num_heads", "ffn": "ffn_dim"}
# conv(0): the output channels of the first convolution; heads(11), ffn(11): of the twelfth layer.
conv, heads, ffn = (functools.partial(Axis, kind) for kind in NUMBERED)

# Parameter -> the axis of each dimension. `{i}` is the number that stands for # in the name, `{h}` the one before it,
# `{last}` the last convolution. Axes count units: one head is head_dim rows. "group" is the input width of a group of
# the positional convolution and follows from "embed"; kernels are fixed, and so is the waveform, one channel (conv-1).
# The second dimension of a matrix is where an axis is consumed. The order is that of Hubert's parameters.
AXES: dict[str, tuple[str, ...]] = {
    "mask_embed": ("embed",),
    "frontend.scale": ("conv{last}",),
    "frontend.convs.#.weight": ("conv{i}", "conv{h}", "kernel{i}"),
    "frontend.convs.#.bias": ("conv{i}",),
    "frontend.norms.#.weight": ("conv{i}",),
    "frontend.norms.#.bias": ("conv{i}",),
    "frontend.norm.weight": ("conv{last}",),
    "frontend.norm.bias": ("conv{last}",),
    "frontend.proj.weight": ("embed", "conv{last}"),
    "frontend.proj.bias": ("embed",),
    "encoder.pos_convs.#.weight": ("embed", "group", "pos_kernel"),
    "encoder.pos_convs.#.bias": ("embed",),
    "encoder.norm.weight": ("embed",),
    "encoder.norm.bias": ("embed",),
    "encoder.layers.#.attention.q_proj.weight": ("heads{i}", "embed"),
    "encoder.layers.#.attention.q_proj.bias": ("heads{i}",),
    "encoder.layers.#.attention.k_proj.weight": ("heads{i}", "embed"),
    "encoder.layers.#.attention.k_proj.bias": ("heads{i}",),
    "encoder.layers.#.attention.v_proj.weight": ("heads{i}", "embed"),
    "encoder.layers.#.attention.v_proj.bias": ("heads{i}",),
    "encoder.layers.#.attention.out_proj.weight": ("embed", "heads{i}"),
    "encoder.layers.#.attention.out_proj.bias": ("embed",),
    "encoder.layers.#.attention_norm.weight": ("embed",),
    "encoder.layers.#.attention_norm.bias": ("embed",),
    "encoder.layers.#.fc1.weight": ("ffn{i}", "embed"),
    "encoder.layers.#.fc1.bias": ("ffn{i}",),
    "encoder.layers.#.fc2.weight": ("embed", "ffn{i}"),
    "encoder.layers.#.fc2.bias": ("embed",),
    "encoder.layers.#.ffn_norm.weight": ("embed",),
    "encoder.layers.#.ffn_norm.bias": ("embed",),
    "head.weight": ("target", "embed"),
}


@functools.lru_cache(maxsize=4096)
def pattern_axes(pattern: str, number: int, num_convs: int) -> tuple[Axis, ...]:
    """The axis of each dimension of the parameter of an entry of AXES, `number` in the place of #."""
    return tuple(Axis.parse(axis.format(i=number, h=number - 1, last=num_convs - 1)) for axis in AXES[pattern])


@functools.lru_cache(maxsize=65536)
def axes(name: str, num_convs: int = 7) -> tuple[Axis, ...]:
    """The axis of each dimension of the parameter `name`.

    Raises KeyError for a parameter that is not in the table: nothing is elastic or fixed by accident.
    """
    number = re.search(r"\.(\d+)(?=\.)", name)
    pattern = name if number is None else name[: number.start(1)] + "#" + name[number.end(1) :]
    if pattern not in AXES:
        raise KeyError(f"parameter {name!r} has no entry in the table of axes")
    return pattern_axes(pattern, int(number[1]) if number else 0, num_convs)


def parameters(config: HubertConfig) -> Iterator[tuple[str, int]]:
    """Which parameters `Hubert(config)` has, in its order: entries of AXES, and the number in the place of #."""
    counts = {
        "frontend.convs": len(config.conv_channels),
        "frontend.norms": len(config.conv_channels) if config.conv_norm == "layer" else 1,
        "frontend.scale": int(config.conv_scale),
        "encoder.pos_convs": config.pos_conv_depth,
        "encoder.layers": config.num_layers,
        "head.weight": 0,  # a supernet's
    }
    absent = () if config.conv_bias else ("frontend.convs.#.bias",)
    for start, group in itertools.groupby(AXES, key=lambda pattern: pattern.partition(".#")[0]):
        patterns = [pattern for pattern in group if pattern not in absent]
        yield from ((pattern, i) for i in range(counts.get(start, 1)) for pattern in patterns)


def axis_sizes(sizes: HubertConfig | Arch) -> dict[Axis, int]:
    """Units of every axis of a net, or of an arch, whose layers then count among those that it keeps."""
    lists = {kind: getattr(sizes, key) for kind, key in NUMBERED.items()}
    return {EMBED: sizes.embed_dim} | {Axis(kind, i): n for kind, units in lists.items() for i, n in enumerate(units)}


def fixed_sizes(config: HubertConfig) -> dict[Axis, int]:
    """Sizes of the dimensions that stay as they are in every subnet."""
    sizes = {conv(-1): 1, POS_KERNEL: config.pos_conv_kernel}
    sizes |= {Axis("kernel", i): n for i, n in enumerate(config.conv_kernels)}
    if config.pos_conv_fixed == "group_dim":
        sizes[GROUP] = config.embed_dim // config.pos_conv_groups
    return sizes


def shapes(config: HubertConfig) -> dict[str, tuple[int, ...]]:
    """The shape of every parameter of `Hubert(config)`, by its name, in its order; no net is built."""
    sizes = {axis: n * rows_per_unit(axis, config) for axis, n in axis_sizes(config).items()}
    sizes |= {GROUP: config.embed_dim // config.pos_conv_groups} | fixed_sizes(config)
    return {
        pattern.replace("#", str(i)): tuple(sizes[axis] for axis in pattern_axes(pattern, i, len(config.conv_channels)))
        for pattern, i in parameters(config)
    }


def layer_of(name: str) -> int | None:
    """The encoder layer that a parameter belongs to, None outside the layers."""
    match = re.match(r"encoder\.layers\.(\d+)\.", name)
    return int(match[1]) if match else None


def rows_per_unit(axis: Axis, config: HubertConfig) -> int:
    """How many rows of a matrix one unit of an axis is."""
    return config.head_dim if axis.kind == "heads" else 1
