"""Costs of many archs of a space at once: what a search asks of every arch before it spends a forward pass on it."""

# N archs

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np
import torch

from lighthubert.cost.latency import Latency
from lighthubert.cost.polynomial import Sizes, macs, num_params, superb_macs
from lighthubert.elastic import EMBED, Axis, SearchSpace
from lighthubert.elastic.axes import NUMBERED
from lighthubert.models import Arch, HubertConfig

HALF = 2  # bytes of a weight in a float16 file

_COSTS: dict[str, Callable[[HubertConfig, Sizes], torch.Tensor]] = {
    "params": lambda config, sizes: num_params(config, sizes),
    "macs": lambda config, sizes: macs(config, sizes=sizes),
    "superb_macs": lambda config, sizes: superb_macs(config, sizes),
    "megabytes": lambda config, sizes: num_params(config, sizes).double() * HALF / 1e6,
}
COSTS = (*_COSTS, "milliseconds")


def costs(
    space: SearchSpace,
    archs: Sequence[Arch],
    names: Sequence[str] = ("params", "macs"),
    latency: Latency | None = None,
) -> dict[str, np.ndarray]:
    """Costs of archs: name -> (N,), integers but for megabytes and milliseconds.

    params: parameters. macs: multiply-accumulates of 10 s. superb_macs: as the SUPERB challenge counts them.
    megabytes: weights in a float16 file, 10^6 bytes. milliseconds: what `latency` predicts. Equal to the cost of each
    arch's config, thousands of times faster. Raises ValueError for another name, or for milliseconds without latency.
    """
    if unknown := [name for name in names if name not in COSTS]:
        raise ValueError(f"{', '.join(unknown)}: no such cost; known are {', '.join(COSTS)}")
    if "milliseconds" in names and latency is None:
        raise ValueError("milliseconds: needs the latency of a device, as lighthubert.cost.Latency measures it")
    functions = _COSTS | ({"milliseconds": latency} if latency else {})
    depths = defaultdict(list)
    for i, arch in enumerate(archs):
        depths[arch.num_layers].append(i)
    real = ("megabytes", "milliseconds")
    table = {name: np.zeros(len(archs), np.float64 if name in real else np.int64) for name in names}
    for num_layers, rows in depths.items():
        config, sizes = _largest(space, num_layers), _sizes([archs[i] for i in rows])
        for name in names:
            table[name][rows] = functions[name](config, sizes).numpy()
    return table


@functools.lru_cache(maxsize=256)
def _largest(space: SearchSpace, num_layers: int) -> HubertConfig:
    """A net of this depth: its layers are the terms of the polynomial, which is made once for all archs of it."""
    sizes = {"embed_dim": max(space.embed_dim), "num_heads": max(space.num_heads), "ffn_ratio": max(space.ffn_ratio)}
    return space.config(space.arch({**sizes, "num_layers": num_layers, "conv_channels": space.conv_choices()[0]}))


def _sizes(archs: Sequence[Arch]) -> dict[Axis, torch.Tensor]:
    """Axis -> (N,) int64, of archs of one depth."""
    embed = torch.tensor([arch.embed_dim for arch in archs])
    tables = {kind: torch.tensor([getattr(arch, key) for arch in archs]) for kind, key in NUMBERED.items()}
    return {EMBED: embed} | {Axis(kind, i): n for kind, table in tables.items() for i, n in enumerate(table.unbind(1))}
