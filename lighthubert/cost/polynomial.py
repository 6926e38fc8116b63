"""Parameters and MACs as a polynomial in the widths of a net: takes integers, or tensors with gradients."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

from lighthubert.elastic import EMBED, Axis, axis_sizes, heads
from lighthubert.elastic.axes import GROUP, fixed_sizes, parameters, pattern_axes, rows_per_unit
from lighthubert.models import HubertConfig, num_frames

Sizes = Mapping[Axis, Any]  # axis -> number of units: an int, or a tensor (a batch of nets, an expected width)

PARTS = ("all", "frontend", "transformer")

# Utterances of LibriSpeech test-clean that the SUPERB challenge counts MACs over, in samples; 224.86 s in all.
SUPERB_SAMPLES = (
    *(20560, 34560, 38480, 42560, 45600, 48720, 52000, 55120, 59120, 62720, 66400, 71200, 75200, 78640, 82800, 87520),
    *(92720, 98560, 104400, 111120, 118480, 125040, 132720, 142640, 154000, 166720, 180880, 197920, 217920, 239280),
    *(268160, 326000),
)


class Term(NamedTuple):
    """How many numbers a parameter holds: `fixed` times the sizes of the elastic axes.

    pattern, number: as `lighthubert.elastic.axes.parameters` gives them. matrix: it multiplies what goes through a net.
    """

    pattern: str
    number: int
    fixed: int
    elastic: tuple[Axis, ...]
    matrix: bool


@functools.lru_cache(maxsize=256)
def _terms(config: HubertConfig) -> tuple[Term, ...]:
    """Of every parameter, by the table of axes."""
    constants, terms = fixed_sizes(config), []
    for pattern, number in parameters(config):
        fixed, elastic, named = 1, [], pattern_axes(pattern, number, len(config.conv_channels))
        for axis in named:
            if axis in constants:
                fixed *= constants[axis]
            else:
                elastic.append(axis)
                fixed *= rows_per_unit(axis, config)
        terms.append(Term(pattern, number, fixed, tuple(elastic), len(named) > 1))
    return tuple(terms)


def _numel(config: HubertConfig, sizes: Sizes, term: Term) -> Any:
    number: Any = term.fixed
    for axis in term.elastic:
        if axis == GROUP:  # whole: the width of a group divides the embedding
            embed, groups = sizes[EMBED], config.pos_conv_groups
            counts = isinstance(embed, int) or not embed.is_floating_point()
            number = number * (embed // groups if counts else embed / groups)
        else:
            number = number * sizes[axis]
    return number


def in_part(name: str, part: str) -> bool:
    """Whether a parameter belongs to a part of a net: "frontend" (convolutions, norms, projection), "transformer" (all
    else), or "all". A part's cost depends on its own axes (and "embed") only."""
    if part not in PARTS:
        raise ValueError(f"part: must be one of {', '.join(PARTS)}, got {part!r}")
    return part == "all" or name.startswith("frontend.") == (part == "frontend")


def num_params(config: HubertConfig, sizes: Sizes | None = None, part: str = "all") -> Any:
    """Parameters of `Hubert(config)`: trunk and mask embedding, or of one part as in `in_part`.

    sizes: other widths of the same layers (axis -> units), as integers or tensors; the config's own if None.
    """
    sizes = sizes or axis_sizes(config)
    return sum(_numel(config, sizes, term) for term in _terms(config) if in_part(term.pattern, part))


def macs(config: HubertConfig, num_samples: int = 160000, sizes: Sizes | None = None, part: str = "all") -> Any:
    """Multiply-accumulates of one clip of `num_samples` (10 s by default): convolutions, projections and the two
    products of attention; norms, GELU and softmax count nothing. sizes and part as in `num_params`."""
    sizes = sizes or axis_sizes(config)
    conv_frames, frames = [], num_samples
    for kernel, stride in zip(config.conv_kernels, config.conv_strides, strict=True):
        frames = (frames - kernel) // stride + 1
        conv_frames.append(frames)
    # Padding of half a kernel on both sides makes one frame more if the kernel is even; it is computed, then cut.
    positions = frames + 1 - config.pos_conv_kernel % 2
    total: Any = 0
    for term in _terms(config):
        if not term.matrix or not in_part(term.pattern, part):
            continue
        times = frames
        if term.pattern.startswith("frontend.convs."):
            times = conv_frames[term.number]
        elif term.pattern.startswith("encoder.pos_convs."):
            times = positions
        total = total + times * _numel(config, sizes, term)
    for layer in range(config.num_layers if part != "frontend" else 0):
        total = total + 2 * frames**2 * config.head_dim * sizes[heads(layer)]
    return total


def superb_macs(config: HubertConfig, sizes: Sizes | None = None) -> Any:
    """MACs as the SUPERB challenge counts them: summed over its 32 utterances, with what its profiler sees in
    attention beside the products (query, key and value biases, scaling, mask, softmax, and dropout where it is on)."""
    sizes = sizes or axis_sizes(config)
    elementwise = 3 + (config.attention_dropout > 0)
    total: Any = 0
    for num_samples in SUPERB_SAMPLES:
        frames = num_frames(num_samples, config)
        num_heads = sum(sizes[heads(layer)] for layer in range(config.num_layers))
        total = total + macs(config, num_samples, sizes)
        total = total + num_heads * (4 * config.head_dim * frames + elementwise * frames**2)
    return total
