"""The sizes of a HuBERT, layer by layer (the phenotype), and the architecture that people write down (the genotype)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import Annotated, Any, Literal, TypeVar

from lighthubert.schema import POSITIVE, Checked, Rule, parse

T = TypeVar("T")
MOST_PARTS = 1000  # layers, convolutions: what reading a file costs must not grow with a number in it
Positive = Annotated[int, POSITIVE]
Sizes = Annotated[tuple[int, ...], Rule("needs one positive integer or more", lambda x: x and min(x) >= 1)]
PerLayer = Annotated[tuple[int, ...], Rule("needs an integer from 0 up for every layer", lambda x: x and min(x) >= 0)]
Dropout = Annotated[float, Rule("must be at least 0 and below 1", lambda x: 0 <= x < 1)]


class Written:
    """Sizes as JSON-like values and back. Lists do as well as tuples, but sizes are compared and hashed."""

    def __post_init__(self) -> None:
        for key, value in vars(self).items():
            if isinstance(value, list):
                object.__setattr__(self, key, tuple(value))

    @classmethod
    def from_dict(cls: type[T], values: Mapping[str, Any]) -> T:
        """Raises Problems that lists all wrong keys and values."""
        return parse(cls, values)

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and numbers, as `from_dict` reads them."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in vars(self).items()}


@dataclass(frozen=True)
class Arch(Written):
    """An architecture as people and searches write it down. A file may give ffn_ratio and num_layers too, one number
    for all layers, and leave out what the space has no choice in."""

    embed_dim: int
    """Width of the Transformer."""
    num_heads: tuple[int, ...]
    """Of each kept layer."""
    ffn_dim: tuple[int, ...]
    """Of each kept layer; or ffn_ratio, of embed_dim."""
    conv_channels: tuple[int, ...]
    """Of each convolution."""
    layers: tuple[int, ...]
    """The kept layers of the parent, 0-based; or num_layers, and the space's layer rule names them."""

    @property
    def num_layers(self) -> int:
        return len(self.layers)

    def __repr__(self) -> str:
        parts = [f"embed_dim={self.embed_dim}"]
        parts += [f"{k}={brief(getattr(self, k))}" for k in ("num_heads", "ffn_dim", "conv_channels", "layers")]
        return f"Arch({', '.join(parts)})"


def brief(values: tuple[int, ...]) -> str:
    """A tuple of sizes in the fewest characters: (12, 12, 12) -> "12x3", (0, 1, 2) -> "0..2", else the tuple."""
    if len(values) > 2 and values == tuple(range(values[0], values[0] + len(values))):
        return f"{values[0]}..{values[-1]}"
    if len(values) > 1 and len(set(values)) == 1:
        return f"{values[0]}x{len(values)}"
    return str(values[0] if len(values) == 1 else values)


@dataclass(frozen=True)
class HubertConfig(Written, Checked):
    """Every size of one standalone HuBERT; the default is HuBERT Base as published (Hsu et al. 2021, table 1)."""

    conv_channels: Sizes = (512,) * 7
    """Of each convolution of the front-end."""
    conv_kernels: Sizes = (10, 3, 3, 3, 3, 2, 2)
    """Taps of each convolution."""
    conv_strides: Sizes = (5, 2, 2, 2, 2, 2, 2)
    """Of each convolution; their product is the samples of a frame."""
    conv_bias: bool = False
    """Whether the convolutions have biases."""
    conv_norm: Literal["group", "layer"] = "group"
    """group: norm of each channel over time, after the first convolution; layer: after each convolution."""
    conv_scale: bool = False
    """Whether each channel has a factor behind the last convolution: what DPHuBERT leaves of its gates there."""
    embed_dim: Positive = 768
    """Width of the Transformer."""
    head_dim: Positive = 64
    """Width of an attention head."""
    num_heads: PerLayer = (12,) * 12
    """Of each layer; 0: of the layer's attention only the bias of its output is left."""
    ffn_dim: PerLayer = (3072,) * 12
    """Units of each layer's FFN; 0 likewise."""
    pos_conv_kernel: Positive = 128
    """Taps of each positional convolution."""
    pos_conv_groups: Positive = 16
    """Groups of each positional convolution."""
    pos_conv_depth: Positive = 1
    """How many positional convolutions; 5 in data2vec."""
    pos_conv_fixed: Literal["groups", "group_dim"] = "groups"
    """What stays as embed_dim shrinks: the number of groups (HuBERT), or the channels of each (group_dim)."""
    norm_first: bool = False
    """Norms before attention and FFN (Large) instead of behind them."""
    normalize_waveform: bool = False
    """Whether audio is brought to zero mean and unit variance first."""
    dropout: Dropout = 0.1
    """Of the residual branches."""
    attention_dropout: Dropout = 0.1
    """Of the attention weights."""
    ffn_dropout: Dropout = 0.0
    """Between the two layers of the FFN."""
    layers: tuple[int, ...] | None = None
    """Of a subnet: which layers of its parent these are."""

    def __post_init__(self) -> None:
        Written.__post_init__(self)
        Checked.__post_init__(self)

    def problems(self) -> Iterator[str]:
        convs = ("conv_channels", "conv_kernels", "conv_strides")
        lengths = [len(getattr(self, key)) for key in convs]
        if len(set(lengths)) > 1:
            yield f"{', '.join(convs)}: need one value per convolution each, got {lengths} values"
        heads, ffns = len(self.num_heads), len(self.ffn_dim)
        if heads != ffns:
            yield f"num_heads, ffn_dim: need one value per layer each, got {heads} and {ffns} values"
        counts = {key: len(getattr(self, key)) for key in (*convs, "num_heads")}
        counts["pos_conv_depth"] = self.pos_conv_depth
        yield from (f"{k}: {n:,} are more than any net has ({MOST_PARTS})" for k, n in counts.items() if n > MOST_PARTS)
        if self.pos_conv_groups > 0 and self.embed_dim % self.pos_conv_groups:
            yield f"embed_dim: must be a multiple of pos_conv_groups={self.pos_conv_groups}, got {self.embed_dim}"
        if self.layers is not None:
            if len(self.layers) != heads:
                yield f"layers: needs one index per layer, got {len(self.layers)} for {heads} layers"
            if list(self.layers) != sorted(set(self.layers)) or (self.layers and self.layers[0] < 0):
                yield f"layers: must be rising indices from 0 up, got {self.layers}"

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

    def __repr__(self) -> str:
        values = [(f.name, getattr(self, f.name)) for f in fields(self) if getattr(self, f.name) != f.default]
        return f"HubertConfig({', '.join(f'{k}={brief(v) if isinstance(v, tuple) else repr(v)}' for k, v in values)})"
