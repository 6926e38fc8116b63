"""The sizes of a HuBERT, layer by layer (the phenotype), and the architecture that people write down (the genotype)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from lighthubert.schema import parse


@dataclass(frozen=True)
class Arch:
    """An architecture as people and searches write it down; lists are per kept layer, conv_channels per convolution.

    `layers` are the kept layers of the parent, 0-based.
    """

    embed_dim: int
    num_heads: tuple[int, ...]
    ffn_dim: tuple[int, ...]
    conv_channels: tuple[int, ...]
    layers: tuple[int, ...]

    def __post_init__(self) -> None:
        _lists_to_tuples(self)

    @property
    def num_layers(self) -> int:
        return len(self.layers)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Arch:
        return parse(cls, values)

    def to_dict(self) -> dict[str, Any]:
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    def __repr__(self) -> str:
        parts = [f"embed_dim={self.embed_dim}"]
        parts += [f"{k}={brief(getattr(self, k))}" for k in ("num_heads", "ffn_dim", "conv_channels", "layers")]
        return f"Arch({', '.join(parts)})"


def _lists_to_tuples(sizes: Arch | HubertConfig) -> None:
    """Lists do as well as tuples, but sizes are compared and hashed."""
    for key, value in vars(sizes).items():
        if isinstance(value, list):
            object.__setattr__(sizes, key, tuple(value))


def brief(values: tuple[int, ...]) -> str:
    """A tuple of sizes in the fewest characters: (12, 12, 12) -> "12x3", (0, 1, 2) -> "0..2", else the tuple."""
    if len(values) > 2 and values == tuple(range(values[0], values[0] + len(values))):
        return f"{values[0]}..{values[-1]}"
    if len(values) > 1 and len(set(values)) == 1:
        return f"{values[0]}x{len(values)}"
    return str(values[0] if len(values) == 1 else values)


@dataclass(frozen=True)
class HubertConfig:
    """Every size of one standalone HuBERT; the default is HuBERT Base as published (Hsu et al. 2021, table 1)."""

    conv_channels: tuple[int, ...] = (512,) * 7
    conv_kernels: tuple[int, ...] = (10, 3, 3, 3, 3, 2, 2)
    conv_strides: tuple[int, ...] = (5, 2, 2, 2, 2, 2, 2)
    conv_bias: bool = False
    conv_norm: str = "group"  # "group": norm of each channel over time, after the first conv | "layer": after each conv
    embed_dim: int = 768
    head_dim: int = 64
    num_heads: tuple[int, ...] = (12,) * 12  # 0: of the layer's attention only the bias of its output is left
    ffn_dim: tuple[int, ...] = (3072,) * 12  # 0 likewise
    pos_conv_kernel: int = 128  # of each positional convolution
    pos_conv_groups: int = 16
    pos_conv_depth: int = 1  # 5 in data2vec
    pos_conv_fixed: str = "groups"  # as embed_dim shrinks: the number of "groups" (HuBERT), or the "group_dim" of each
    norm_first: bool = False
    normalize_waveform: bool = False
    dropout: float = 0.1
    attention_dropout: float = 0.1
    ffn_dropout: float = 0.0
    layers: tuple[int, ...] | None = None  # a subnet: which layers of its parent these are

    def __post_init__(self) -> None:
        _lists_to_tuples(self)
        problems = list(_config_problems(self))
        if problems:
            raise ValueError("HubertConfig: " + "; ".join(problems))

    @classmethod
    def base(cls) -> HubertConfig:
        return cls()

    @classmethod
    def large(cls) -> HubertConfig:
        return cls(
            conv_bias=True,
            conv_norm="layer",
            embed_dim=1024,
            num_heads=(16,) * 24,
            ffn_dim=(4096,) * 24,
            norm_first=True,
            normalize_waveform=True,
            dropout=0.0,
            attention_dropout=0.0,
        )

    @property
    def num_layers(self) -> int:
        return len(self.num_heads)

    @property
    def hop(self) -> int:
        """Samples per frame."""
        return math.prod(self.conv_strides)

    @property
    def arch(self) -> Arch | None:
        """The architecture that made this subnet, None for a net that is nobody's subnet."""
        if self.layers is None:
            return None
        return Arch(self.embed_dim, self.num_heads, self.ffn_dim, self.conv_channels, self.layers)

    def resized(self, embed_dim: int, **sizes: Any) -> HubertConfig:
        """This config at other sizes; the positional convolution's groups follow `pos_conv_fixed`."""
        groups = self.pos_conv_groups
        if self.pos_conv_fixed == "group_dim":
            groups = embed_dim * groups // self.embed_dim
        return replace(self, embed_dim=embed_dim, pos_conv_groups=max(groups, 1), **sizes)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> HubertConfig:
        return parse(cls, values)

    def to_dict(self) -> dict[str, Any]:
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    def __repr__(self) -> str:
        values = [(f.name, getattr(self, f.name)) for f in fields(self) if getattr(self, f.name) != f.default]
        return f"HubertConfig({', '.join(f'{k}={brief(v) if isinstance(v, tuple) else repr(v)}' for k, v in values)})"


def _config_problems(c: HubertConfig) -> Iterator[str]:
    convs = ("conv_channels", "conv_kernels", "conv_strides")
    for key in convs:
        value = getattr(c, key)
        if not value or min(value) < 1:
            yield f"{key}: needs one positive integer or more, got {value}"
    for key in ("num_heads", "ffn_dim"):
        value = getattr(c, key)
        if not value or min(value) < 0:
            yield f"{key}: needs an integer from 0 up for every layer, got {value}"
    if len({len(getattr(c, key)) for key in convs}) > 1:
        counts = [len(getattr(c, key)) for key in convs]
        yield f"{', '.join(convs)}: need one value per convolution each, got {counts} values"
    if len(c.num_heads) != len(c.ffn_dim):
        yield f"num_heads, ffn_dim: need one value per layer each, got {len(c.num_heads)} and {len(c.ffn_dim)} values"
    for key in ("embed_dim", "head_dim", "pos_conv_kernel", "pos_conv_groups", "pos_conv_depth"):
        if getattr(c, key) < 1:
            yield f"{key}: must be positive, got {getattr(c, key)}"
    if c.pos_conv_groups > 0 and c.embed_dim % c.pos_conv_groups:
        yield f"embed_dim: must be a multiple of pos_conv_groups={c.pos_conv_groups}, got {c.embed_dim}"
    for key, choices in {"conv_norm": ("group", "layer"), "pos_conv_fixed": ("groups", "group_dim")}.items():
        if getattr(c, key) not in choices:
            yield f"{key}: must be one of {', '.join(choices)}, got {getattr(c, key)!r}"
    for key in ("dropout", "attention_dropout", "ffn_dropout"):
        if not 0 <= getattr(c, key) < 1:
            yield f"{key}: must be at least 0 and below 1, got {getattr(c, key)}"
    if c.layers is not None:
        if len(c.layers) != len(c.num_heads):
            yield f"layers: needs one index per layer, got {len(c.layers)} for {len(c.num_heads)} layers"
        if list(c.layers) != sorted(set(c.layers)) or (c.layers and c.layers[0] < 0):
            yield f"layers: must be rising indices from 0 up, got {c.layers}"
