"""The space of a single net whose layers may all differ: a subnet that a search chose, or a pruned net."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lighthubert.elastic.subnet import Subnet
from lighthubert.models import Arch, HubertConfig


@dataclass(frozen=True)
class OneArch:
    """A space that holds its parent and nothing else, so that it can be trained as a supernet is.

    The choices of a SearchSpace are the same for all layers, so it cannot hold such a net.
    """

    parent: HubertConfig
    name = "alone"
    num_archs = 1

    @classmethod
    def of(cls, config: HubertConfig) -> OneArch:
        """The space of one net."""
        return cls(replace(config, layers=None))

    def largest(self) -> Arch:
        net = self.parent
        return Arch(net.embed_dim, net.num_heads, net.ffn_dim, net.conv_channels, tuple(range(net.num_layers)))

    smallest = largest

    def sample(self, rng: random.Random) -> Arch:
        return self.largest()

    def arch(self, config: Arch | Mapping[str, Any] | str | Path) -> Arch:
        """Raises ValueError for any other."""
        if config != self.largest():
            raise ValueError(f"not the one arch of the space {self.name}: {config!r} instead of {self.largest()!r}")
        return self.largest()

    def __contains__(self, arch: object) -> bool:
        return arch == self.largest()

    def subnet(self, arch: Arch) -> Subnet:
        """The whole parent. Raises ValueError for another arch."""
        self.arch(arch)
        return Subnet.full(self.parent)

    def config(self, arch: Arch) -> HubertConfig:
        return self.subnet(arch).config(self.parent)

    def to_dict(self) -> dict[str, Any]:
        return {"name": self.name, "parent": self.parent.to_dict()}
