"""The one table of what is elastic: the axis of every dimension of every parameter."""

from __future__ import annotations

import functools
import re

from lighthubert.models import HubertConfig

FIXED = ""
# Parameter -> the axis of each dimension. `{i}` is the number that stands for # in the name, `{h}` the one before it,
# `{last}` the last convolution. Axes count units: one head is head_dim rows. "group" is the input width of a group of
# the positional convolution and follows from "embed". The second dimension of a matrix is where an axis is consumed.
AXES: dict[str, tuple[str, ...]] = {
    "mask_embed": ("embed",),
    "frontend.convs.#.weight": ("conv{i}", "conv{h}", FIXED),
    "frontend.convs.#.bias": ("conv{i}",),
    "frontend.norms.#.weight": ("conv{i}",),
    "frontend.norms.#.bias": ("conv{i}",),
    "frontend.norm.weight": ("conv{last}",),
    "frontend.norm.bias": ("conv{last}",),
    "frontend.proj.weight": ("embed", "conv{last}"),
    "frontend.proj.bias": ("embed",),
    "encoder.pos_convs.#.weight": ("embed", "group", FIXED),
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
    "head.weight": (FIXED, "embed"),
}


@functools.lru_cache(maxsize=65536)
def axes(name: str, num_convs: int = 7) -> tuple[str, ...]:
    """The axis of each dimension of the parameter `name`; FIXED where nothing is elastic.

    Raises KeyError for a parameter that is not in the table: nothing is elastic or fixed by accident.
    """
    number = re.search(r"\.(\d+)(?=\.)", name)
    pattern = name if number is None else name[: number.start(1)] + "#" + name[number.end(1) :]
    if pattern not in AXES:
        raise KeyError(f"parameter {name!r} has no entry in the table of axes")
    i = int(number[1]) if number else 0
    named = (axis.format(i=i, h=i - 1, last=num_convs - 1) for axis in AXES[pattern])
    return tuple(FIXED if axis == "conv-1" else axis for axis in named)  # the waveform is one channel wide


def axis_sizes(config: HubertConfig) -> dict[str, int]:
    """Units of every axis of a net; "group" is left out, as it follows from "embed"."""
    sizes = {"embed": config.embed_dim}
    sizes |= {f"conv{i}": n for i, n in enumerate(config.conv_channels)}
    sizes |= {f"heads{i}": n for i, n in enumerate(config.num_heads)}
    sizes |= {f"ffn{i}": n for i, n in enumerate(config.ffn_dim)}
    return sizes


def layer_of(name: str) -> int | None:
    """The encoder layer that a parameter belongs to, None outside the layers."""
    match = re.match(r"encoder\.layers\.(\d+)\.", name)
    return int(match[1]) if match else None


def rows_per_unit(axis: str, config: HubertConfig) -> int:
    """How many rows of a matrix one unit of an axis is."""
    return config.head_dim if axis.startswith("heads") else 1
