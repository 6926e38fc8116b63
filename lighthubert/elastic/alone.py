"""The space of a single net whose layers may all differ: a subnet that a search chose, or a pruned net."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from lighthubert.elastic.space import SearchSpace
from lighthubert.models import Arch, HubertConfig


class OneArch(SearchSpace):
    """A space that holds its parent and nothing else, so that it can be trained as a supernet is.

    The choices of a SearchSpace are the same for all layers, so it cannot hold such a net.
    """

    @classmethod
    def of(cls, config: HubertConfig) -> OneArch:
        """The space of one net."""
        return cls(
            parent=replace(config, layers=None),
            embed_dim=(config.embed_dim,),
            num_layers=(config.num_layers,),
            num_heads=tuple(sorted(set(config.num_heads))),
            ffn_ratio=tuple(sorted({dim / config.embed_dim for dim in config.ffn_dim})),
            conv_channels=(config.conv_channels,),
            name="alone",
        )

    def __post_init__(self) -> None:
        """The parent's sizes are right by themselves; there is no grid that they could break."""

    @property
    def num_archs(self) -> int:
        return 1

    def largest(self) -> Arch:
        net = self.parent
        return Arch(net.embed_dim, net.num_heads, net.ffn_dim, net.conv_channels, tuple(range(net.num_layers)))

    def smallest(self) -> Arch:
        return self.largest()

    def sample(self, rng: random.Random) -> Arch:
        return self.largest()

    def arch(self, config: Arch | Mapping[str, Any] | str | Path) -> Arch:
        if config != self.largest():
            raise ValueError(f"not the one arch of the space {self.name}: {config!r} instead of {self.largest()!r}")
        return self.largest()

    def __contains__(self, arch: object) -> bool:
        return arch == self.largest()
