"""Search spaces: which archs exist, and which subnet of the parent each of them is."""

from __future__ import annotations

import itertools
import os
import random
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from lighthubert.config import ConfigError, read_yaml
from lighthubert.elastic import rules
from lighthubert.elastic.alone import OneArch
from lighthubert.elastic.axes import EMBED, Axis, conv, ffn, heads
from lighthubert.elastic.grid import Grid, arch_problems, complete
from lighthubert.elastic.subnet import Subnet, Units
from lighthubert.models import Arch, HubertConfig

SPACES = Path(__file__).parent / "spaces"
Genes = tuple[dict[int, int], dict[int, int]]  # by layer: heads, and the index of the FFN ratio


class SearchSpace(Grid):
    """Archs out of the choices of every elastic size."""

    @classmethod
    def load(cls, name: str | Path) -> SearchSpace:
        """A space that comes with the package, by name, or a YAML file. Raises ConfigError that names file and rule."""
        path = SPACES / f"{name}.yaml"
        if not os.path.isfile(path):  # Path.is_file raises for a name that is too long
            path = Path(name)
        if not os.path.isfile(path):
            known = ", ".join(sorted(p.stem for p in SPACES.glob("*.yaml")))
            raise ConfigError(f"{name}: no search space of this name (there are {known}) and no such file")
        values = read_yaml(path)
        try:
            return cls.from_dict({"name": path.stem, **values})
        except ValueError as error:
            raise ConfigError(f"{path}: {error}") from None

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> SearchSpace:
        """A space out of JSON-like values. Raises ValueError that lists all wrong keys and values."""
        if not isinstance(values, Mapping):
            raise ValueError(f"search space: expected keys and values, got {values!r}")
        keys = [f.name for f in fields(cls)]
        required = [k for k in keys if k not in ("layer_rule", "ffn_rule", "name")]
        problems = [f"{k}: unknown key; known are {', '.join(keys)}" for k in values if k not in keys]
        problems += [f"{k}: is missing" for k in required if k not in values]
        parsed: dict[str, Any] = {k: v for k, v in values.items() if k in keys}
        if not isinstance(parsed.get("name", ""), str):
            problems.append(f"name: expected text, got {parsed.pop('name')!r}")
        for key in [k for k in required if k in parsed]:
            try:
                if key == "parent":
                    parsed[key] = rules.parse_parent(parsed[key])
                else:
                    kind = float if key == "ffn_ratio" else int
                    parsed[key] = rules.parse_choices(parsed[key], kind, nested=key == "conv_channels")
            except (TypeError, ValueError) as error:
                problems.append(f"{key}: {error}" + (f", got {values[key]!r}" if isinstance(error, TypeError) else ""))
        if problems:
            raise ValueError(f"search space {parsed.get('name', 'custom')}: " + "; ".join(problems))
        return cls(**parsed)

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and numbers, as `from_dict` reads them."""

        def plain(value: Any) -> Any:
            return [plain(v) for v in value] if isinstance(value, tuple) else value

        return {f.name: plain(getattr(self, f.name)) for f in fields(self)} | {"parent": self.parent.to_dict()}

    @property
    def num_archs(self) -> int:
        per_layer = len(self.num_heads) * len(self.ffn_ratio)
        convs = len(self.conv_channels) ** (1 if self.joint_convs else len(self.parent.conv_channels))
        return len(self.embed_dim) * sum(per_layer**n for n in self.num_layers) * convs

    def largest(self) -> Arch:
        return self._uniform(max)

    def smallest(self) -> Arch:
        return self._uniform(min)

    def _uniform(self, pick: Callable[..., Any]) -> Arch:
        n, embed, heads = pick(self.num_layers), pick(self.embed_dim), pick(self.num_heads)
        convs = pick(self.conv_choices(), key=sum)
        return Arch(embed, (heads,) * n, (pick(self.ffn_dims(embed)),) * n, convs, self.layers(n))

    def sample(self, rng: random.Random) -> Arch:
        """One arch, each choice uniform and independent, drawn in LightHuBERT's order: depth, embed, ratios, heads."""
        n, embed = rng.choice(self.num_layers), rng.choice(self.embed_dim)
        ffn = tuple(rng.choice(self.ffn_dims(embed)) for _ in range(n))
        heads = tuple(rng.choice(self.num_heads) for _ in range(n))
        choices = self.conv_choices()
        if self.joint_convs or len(choices) == 1:  # without a draw where there is no choice: seeds then agree
            convs = rng.choice(choices) if len(choices) > 1 else choices[0]
        else:
            convs = tuple(rng.choice(choices)[i] for i in range(len(self.parent.conv_channels)))
        return Arch(embed, heads, ffn, convs, self.layers(n))

    def mutate(self, arch: Arch, rng: random.Random, prob: float) -> Arch:
        """Draw each choice anew with probability `prob`; layers that a greater depth brings are drawn too."""
        arch, drawn = self.arch(arch), self.sample(rng)
        layers = range(self.parent.num_layers)
        heads = {i: rng.choice(self.num_heads) for i in layers}
        ratios = {i: rng.randrange(len(self.ffn_ratio)) for i in layers}
        return self._mix(arch, drawn, (heads, ratios), rng, prob)

    def crossover(self, a: Arch, b: Arch, rng: random.Random) -> Arch:
        """Each choice from either parent with equal chance; a layer that only one of them has from that one."""
        a, b = self.arch(a), self.arch(b)
        return self._mix(a, b, self._genes(b), rng, 0.5)

    def _mix(self, a: Arch, b: Arch, genes_b: Genes, rng: random.Random, prob: float) -> Arch:
        """Each choice from b, whose layers have `genes_b`, with probability `prob`, else from a."""

        def pick(x: Any, y: Any) -> Any:
            if x is None or y is None:
                return y if x is None else x
            return y if rng.random() < prob else x

        embed, layers = pick(a.embed_dim, b.embed_dim), pick(a.layers, b.layers)
        genes = zip(self._genes(a), genes_b, strict=True)
        heads, ratios = ([pick(x.get(i), y.get(i)) for i in layers] for x, y in genes)
        if self.joint_convs:
            convs = pick(a.conv_channels, b.conv_channels)
        else:
            convs = tuple(itertools.starmap(pick, zip(a.conv_channels, b.conv_channels, strict=True)))
        dims = self.ffn_dims(embed)
        return Arch(embed, tuple(heads), tuple(dims[r] for r in ratios), convs, layers)

    def _genes(self, arch: Arch) -> Genes:
        """Heads, and the index of the FFN ratio, by kept layer: FFN sizes follow the width."""
        ratios = map(self.ffn_dims(arch.embed_dim).index, arch.ffn_dim)
        heads = dict(zip(arch.layers, arch.num_heads, strict=True))
        return heads, dict(zip(arch.layers, ratios, strict=True))

    def arch(self, config: Arch | Mapping[str, Any] | str | Path) -> Arch:
        """A checked arch out of an Arch, a mapping or a YAML/JSON file.

        A mapping may give num_layers for layers, ffn_ratio for ffn_dim and one number for all layers, and leave out
        what the space has no choice in. Raises ConfigError that lists which value breaks which rule.
        """
        where = ""
        if isinstance(config, (str, Path)):
            where, config = f"{config}: ", read_yaml(config)
        try:
            if not isinstance(config, (Arch, Mapping)):
                raise ValueError(f"expected an Arch, a mapping or a path, got {config!r}")
            arch = config if isinstance(config, Arch) else Arch.from_dict(complete(self, config))
            problems = list(arch_problems(self, arch))
        except ValueError as error:
            problems = [str(error)]
        if problems:
            raise ConfigError(f"{where}not in the search space {self.name}: " + "; ".join(problems))
        return arch

    def __contains__(self, arch: object) -> bool:
        return isinstance(arch, Arch) and not list(arch_problems(self, arch))

    def subnet(self, arch: Arch) -> Subnet:
        """The parent's layers and units that an arch takes. Raises ValueError for an arch outside the space."""
        arch = self.arch(arch)
        units: dict[Axis, Units] = {EMBED: range(arch.embed_dim)}
        units |= {conv(i): range(n) for i, n in enumerate(arch.conv_channels)}
        for layer, num_heads, ffn_dim in zip(arch.layers, arch.num_heads, arch.ffn_dim, strict=True):
            units[heads(layer)] = range(num_heads)
            units[ffn(layer)] = rules.ffn_units(self.ffn_rule, ffn_dim, arch.embed_dim, self.parent.embed_dim)
        return Subnet(arch.layers, units)

    def config(self, arch: Arch) -> HubertConfig:
        """The sizes of the standalone net that an arch is."""
        return self.subnet(arch).config(self.parent)

    def __repr__(self) -> str:
        convs = f"{len(self.conv_channels)} joint choices" if self.joint_convs else f"{list(self.conv_channels)}"
        return (
            f"SearchSpace({self.name}: {self.num_archs:,} archs, embed_dim={list(self.embed_dim)}, "
            f"num_layers={list(self.num_layers)}, num_heads={list(self.num_heads)}, ffn_ratio={list(self.ffn_ratio)}, "
            f"conv_channels={convs})"
        )


Space = SearchSpace | OneArch  # of the subnets of a supernet
