"""Latency of subnets on one device: measured once for every block that a space can make, then added up.

As Once-for-all does it (Cai et al. 2020), but the blocks are timed inside whole nets, where they find the caches as
they do in use.
"""

# N archs

from __future__ import annotations

import functools
import itertools
import json
import logging
import math
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch

from lighthubert.cost.clock import Conditions, time_nets, typical
from lighthubert.cost.polynomial import Sizes
from lighthubert.elastic import EMBED, Axis, SearchSpace, axis_sizes
from lighthubert.elastic.axes import GROUP, parameters, pattern_axes
from lighthubert.models import Arch, Hubert, HubertConfig
from lighthubert.runtime.errors import StateError
from lighthubert.runtime.files import digest, read_text, write_text

logger = logging.getLogger("lighthubert")

ROUNDS, SECONDS = 30, 120.0  # of a measurement: whichever ends first, but five rounds
BITS = 20  # of a width, in a key of the table
Entry = tuple[str, tuple[int, ...]]  # kind of a block, its widths


@dataclass(frozen=True)
class Block:
    """A piece of a net that takes its time by itself.

    module: where it begins; it lasts until the next block. kind: blocks of one kind and of the same widths take the
    same time. axes: whose sizes are its widths.
    """

    module: str
    kind: str
    axes: tuple[Axis, ...]


# Start of a name in the table of axes -> the module where its block begins, and the block's kind.
_BLOCKS = {
    "frontend.convs.#.": ("frontend.convs.{i}", "conv{i}"),
    "frontend.norm.": ("frontend.norm", "projection"),
    "frontend.proj.": ("frontend.norm", "projection"),
    "encoder.pos_convs.": ("encoder", "positions"),
    "encoder.norm.": ("encoder.norm", "norm"),
    "encoder.layers.#.": ("encoder.layers.{i}", "layer"),
}


@functools.lru_cache(maxsize=256)
def blocks(config: HubertConfig) -> tuple[Block, ...]:
    """The blocks of a net; the axes of each are those of its parameters."""
    pieces: dict[tuple[str, str], dict[Axis, None]] = {}
    sizes = axis_sizes(config)
    for pattern, i in parameters(config):
        for start, (module, kind) in _BLOCKS.items():
            if pattern.startswith(start):
                named = pattern_axes(pattern, i, len(config.conv_channels))
                block = pieces.setdefault((module.format(i=i), kind.format(i=i)), {})
                block |= dict.fromkeys(axis for axis in (EMBED if a == GROUP else a for a in named) if axis in sizes)
    if not config.norm_first:  # the norm follows the positions at once
        del pieces["encoder.norm", "norm"]
    return tuple(Block(module, kind, tuple(block)) for (module, kind), block in pieces.items())


def covering(space: SearchSpace) -> list[Arch]:
    """Archs of a space whose blocks are, together, all the blocks that any of its archs has."""
    depth, values = max(space.num_layers), space.conv_choices()
    if not space.joint_convs:  # every pair of widths side by side
        pairs = itertools.product([choice[0] for choice in values], repeat=2)
        values = [tuple(pair[i % 2] for i in range(len(space.parent.conv_channels))) for pair in pairs]
    archs, seen = list[Arch](), set[Entry]()
    for embed in space.embed_dim:
        widths = list(itertools.product(space.num_heads, space.ffn_dims(embed)))
        turn = 0
        for number in range(max(len(values), -(-len(widths) // depth))):
            heads, ffn = zip(*(widths[(turn + i) % len(widths)] for i in range(depth)), strict=True)
            arch = Arch(embed, heads, ffn, values[number % len(values)], space.layers(depth))
            if (made := set(entries(space.config(arch)))) - seen:
                seen |= made
                archs.append(arch)
                turn += depth
    return archs


def entries(config: HubertConfig) -> list[Entry]:
    """The entries of the table that a net's latency is the sum of."""
    sizes = axis_sizes(config)
    return [(block.kind, tuple(sizes[axis] for axis in block.axes)) for block in blocks(config)]


@dataclass(frozen=True)
class Latency:
    """How long the subnets of a space take under some conditions: the sum over their blocks.

    milliseconds: of each block, by kind and widths. described: the device and what else the times depend on.
    """

    space: SearchSpace
    described: Mapping[str, Any] = field(hash=False)
    milliseconds: Mapping[Entry, float] = field(hash=False)

    @classmethod
    def here(cls, space: SearchSpace, conditions: Conditions | None = None) -> Latency:
        """Of this machine: from the user's cache, or measured now, which takes a minute or two.

        The cache ($XDG_CACHE_HOME or ~/.cache, lighthubert/) knows a machine by processor, torch, conditions and space.
        """
        conditions = conditions or Conditions()
        described = conditions.describe() | {"space": space_digest(space)}
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        path = cache / "lighthubert" / f"latency-{_digest(described)}.json"
        if path.is_file():
            try:
                cached = cls.load(path, space)
                if cached.described == described:
                    return cached
                logger.warning("%s: of another device; measured anew", path)
            except (ValueError, OSError) as error:
                logger.warning("%s; measured anew", error)
        logger.info("measuring the latency of %s on %s", space.name, described["model"])
        measured = cls.measure(space, conditions)
        try:
            measured.save(path)
        except OSError as error:
            logger.warning("%s: cannot be written (%s); the next search measures again", path, error)
        return measured

    @classmethod
    def measure(cls, space: SearchSpace, conditions: Conditions | None = None) -> Latency:
        """Runs nets with random weights that have, together, every block of the space."""
        archs, conditions = covering(space), conditions or Conditions()
        nets = [Hubert(space.config(arch)) for arch in archs]
        modules = [[block.module for block in blocks(net.config)] for net in nets]
        times = time_nets(nets, conditions, ROUNDS, SECONDS, modules)
        return cls.of_times(space, conditions, archs, times)

    @classmethod
    def of_times(
        cls, space: SearchSpace, conditions: Conditions, archs: Sequence[Arch], times: Sequence[np.ndarray]
    ) -> Latency:
        """archs: as of `covering`. times: of each, (rounds, blocks)."""
        measured = defaultdict[Entry, list[float]](list)
        for arch, table in zip(archs, times, strict=True):
            for entry, time in zip(entries(space.config(arch)), typical(table), strict=True):
                measured[entry].append(float(time))
        described = conditions.describe() | {"space": space_digest(space)}
        return cls(space, described, {entry: fmean(times) for entry, times in sorted(measured.items())})

    def __call__(self, config: HubertConfig, sizes: Sizes | None = None) -> Any:
        """Milliseconds of a net, or (N,) with sizes that are tensors (N,), as `lighthubert.cost.macs` takes them.

        Raises ValueError for a width that the space does not have.
        """
        sizes = sizes or axis_sizes(config)
        total: Any = 0.0
        for block in blocks(config):
            keys, values = self._tables[block.kind]
            key = torch.as_tensor(_key([sizes[axis] for axis in block.axes])).contiguous()
            place = torch.searchsorted(keys, key).clamp(max=len(keys) - 1)
            if not bool((keys[place] == key).all()):
                raise ValueError(f"{block.kind}: the latency of such widths was not measured, for no subnet has them")
            total = total + values[place]
        return total if isinstance(sizes[EMBED], torch.Tensor) else float(total)

    @functools.cached_property
    def _tables(self) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
        """Kind of block -> sorted keys of widths, their milliseconds."""
        kinds = defaultdict[str, list[tuple[int, float]]](list)
        for (kind, widths), time in self.milliseconds.items():
            kinds[kind].append((_key(widths), time))
        columns = {kind: tuple(zip(*sorted(rows), strict=True)) for kind, rows in kinds.items()}
        return {kind: (torch.tensor(k), torch.tensor(v, dtype=torch.float64)) for kind, (k, v) in columns.items()}

    @property
    def digest(self) -> str:
        """Hash of the times."""
        return _digest(self._rows())

    def _rows(self) -> list[Any]:
        return [[kind, list(widths), time] for (kind, widths), time in self.milliseconds.items()]

    def save(self, path: str | Path) -> None:
        """As JSON, in one move."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = ",\n".join(json.dumps(row) for row in self._rows())
        text = f'{{"latency": {json.dumps(self.described)},\n"milliseconds": [\n{rows}\n]}}\n'
        write_text(path, text)

    @classmethod
    def load(cls, path: str | Path, space: SearchSpace) -> Latency:
        """Raises ValueError for a file of something else or of another space."""
        try:
            values = json.loads(read_text(path, StateError))
            described = dict(values["latency"])
            table = {(str(kind), tuple(map(int, widths))): float(time) for kind, widths, time in values["milliseconds"]}
            if not all(0 <= time < math.inf for time in table.values()):
                raise ValueError("a time is not finite")
        except (ValueError, LookupError, TypeError, OverflowError, RecursionError) as error:
            raise StateError(f"{path}: not a latency model ({type(error).__name__}: {error})") from None
        needed = {entry for arch in covering(space) for entry in entries(space.config(arch))}
        if described.get("space") != space_digest(space) or needed - table.keys():
            raise StateError(f"{path}: the latency of another search space")
        return cls(space, described, table)


def space_digest(space: SearchSpace) -> str:
    """Hash of what a space holds, whatever it is called."""
    return _digest({key: value for key, value in space.to_dict().items() if key != "name"})


def _digest(values: Any) -> str:
    return digest([json.dumps(values, sort_keys=True).encode()])


def _key(widths: Sequence[Any]) -> Any:
    """One whole number for several widths; they may be tensors."""
    return functools.reduce(lambda key, width: (key << BITS) + width, widths)
