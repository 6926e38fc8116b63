"""Spaces: what they count and keep, and their files."""

from __future__ import annotations

import copy
import dataclasses
import itertools
import json
import pickle
import random
from pathlib import Path
from typing import Any

import pytest
from tiny import TWO_CONVS

import lighthubert as lh
from lighthubert import cost
from lighthubert.config import write_yaml
from lighthubert.elastic import EMBED, Arch, Axis, OneArch, SearchSpace, Supernet
from lighthubert.models import HubertConfig

SHIPPED = ("base", "small", "base_conv", "small_conv", "large", "mini")
PAIRS = 9  # heads x FFN sizes of a layer, in large and in mini


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("base", 6_530_347_008),
        ("small", 951_892_141_473),
        ("base_conv", 6_530_347_008 * 3**7),
        ("small_conv", 951_892_141_473 * 4**7),
        ("large", 3 * 3**7 * (PAIRS**16 + PAIRS**20 + PAIRS**24)),
        ("mini", 3 * 3 * (PAIRS**4 + PAIRS**5 + PAIRS**6)),
    ],
)
def test_number_of_archs(name: str, count: int) -> None:
    assert SearchSpace.load(name).num_archs == count


def default(embed_dim: int) -> dict[str, Any]:
    """The released models: 12 layers, FFN 4 times as wide."""
    return {"num_layers": 12, "embed_dim": embed_dim, "num_heads": embed_dim // 64, "ffn_ratio": 4.0}


@pytest.mark.parametrize(
    ("name", "which", "count"),
    [
        ("base", "smallest", 41_243_392),
        ("base", default(640), 66_891_520),
        ("base", "largest", 94_371_584),
        ("small", "smallest", 11_442_944),
        ("small", default(384), 26_873_600),
        ("small", "largest", 44_392_192),
    ],
)
def test_published_parameter_counts(name: str, which: Any, count: int) -> None:
    """The original counts all 768 numbers of the mask embedding; with a norm after each convolution 6,144 more."""
    space = SearchSpace.load(name)
    arch = space.arch(which) if isinstance(which, dict) else getattr(space, which)()
    assert cost.num_params(space.config(arch)) + 768 - arch.embed_dim == count
    layer_norm = dataclasses.replace(
        space, parent=HubertConfig.from_dict({**space.parent.to_dict(), "conv_norm": "layer"})
    )
    assert cost.num_params(layer_norm.config(arch)) + 768 - arch.embed_dim == count + 6144


@pytest.mark.parametrize("name", SHIPPED)
def test_largest_and_smallest(name: str) -> None:
    space = SearchSpace.load(name)
    largest, smallest = space.largest(), space.smallest()
    assert largest in space
    assert smallest in space
    assert (largest.embed_dim, smallest.embed_dim) == (max(space.embed_dim), min(space.embed_dim))
    assert (set(largest.num_heads), set(smallest.num_heads)) == ({max(space.num_heads)}, {min(space.num_heads)})
    assert set(largest.ffn_dim) == {round(max(space.ffn_ratio) * largest.embed_dim)}
    assert set(smallest.ffn_dim) == {round(min(space.ffn_ratio) * smallest.embed_dim)}
    assert (largest.num_layers, smallest.num_layers) == (max(space.num_layers), min(space.num_layers))
    assert all(a >= b for a, b in zip(largest.conv_channels, smallest.conv_channels, strict=True))


def test_every_arch_of_a_tiny_space() -> None:
    """num_archs and `in` against a loop over all combinations, wrong ones included."""
    space = SearchSpace.from_dict({**TWO_CONVS, "num_layers": [1, 2, 3]})
    inside = 0
    for embed, convs in itertools.product((16, 20, 24), itertools.product((4, 5, 6), repeat=2)):
        for layers in [(2,), (0, 2), (0, 1, 2), (0,), (0, 1), (1, 2)]:
            for heads in itertools.product((1, 2, 3), repeat=len(layers)):
                for ffn in itertools.product((24, 32, 36, 48), repeat=len(layers)):
                    expected = (
                        embed != 20
                        and 5 not in convs
                        and 2 not in heads
                        and layers in [(2,), (0, 2), (0, 1, 2)]
                        and {f / embed for f in ffn} <= {1.5, 2.0}
                    )
                    arch = Arch(embed, heads, ffn, convs, layers)
                    assert (arch in space) == expected, arch
                    inside += expected
    assert inside == space.num_archs == 2 * 2**2 * (4 + 4**2 + 4**3)


def test_what_is_not_an_arch_is_not_in_a_space() -> None:
    space = SearchSpace.load("mini")
    assert space.largest().to_dict() not in space
    assert None not in space


def test_released_layers() -> None:
    """Dropped layers of 12 as in the original's code, 0-based."""
    small = SearchSpace.load("small")
    space = dataclasses.replace(small, num_layers=tuple(range(6, 13)))
    dropped = {n: set(range(12)) - set(space.layers(n)) for n in range(6, 13)}
    assert dropped == {
        12: set(),
        11: {11},
        10: {7, 11},
        9: {3, 7, 11},
        8: {3, 7, 10, 11},
        7: {3, 6, 7, 10, 11},
        6: {2, 3, 6, 7, 10, 11},
    }


@pytest.mark.parametrize("parent_layers", range(1, 25))
def test_spread_layers(parent_layers: int) -> None:
    parent = HubertConfig(num_heads=(12,) * parent_layers, ffn_dim=(3072,) * parent_layers)
    space = SearchSpace(parent, (768,), tuple(range(1, parent_layers + 1)), (12,), (4.0,), (512,))
    for n in space.num_layers:
        layers = space.layers(n)
        assert len(layers) == n
        assert layers == tuple(sorted(set(layers)))
        assert layers[-1] == parent_layers - 1
        if n > 1:
            steps = {b - a for a, b in itertools.pairwise(layers)}
            assert layers[0] == 0
            assert max(steps) - min(steps) <= 1


@pytest.mark.parametrize(
    ("embed", "ffn"), [(384, 1344), (512, 1792), (256, 1024), (512, 1536), (768, 3072), (256, 768)]
)
def test_strided_ffn_units(embed: int, ffn: int) -> None:
    """From each of 4 blocks of 768 the first `embed` units, as many whole blocks as fit, the rest from the next one."""
    expected: list[int] = []
    for block in range(4):
        expected += range(768 * block, 768 * block + min(embed, ffn - len(expected)))
    space = dataclasses.replace(SearchSpace.load("small"), embed_dim=(256, 384, 512, 768), num_heads=(4,))
    arch = space.arch({"num_layers": 10, "embed_dim": embed, "num_heads": 4, "ffn_dim": ffn})
    assert [*space.subnet(arch).units[Axis("ffn", 8)]] == expected


def test_prefix_ffn_units_and_the_rest_of_a_subnet() -> None:
    space = SearchSpace.load("small_conv")
    convs = [128, 256, 384, 512, 128, 256, 384]
    arch = space.arch({"num_layers": 10, "embed_dim": 384, "num_heads": 6, "ffn_ratio": 3.5, "conv_channels": convs})
    subnet = space.subnet(arch)
    assert subnet.layers == (0, 1, 2, 3, 4, 5, 6, 8, 9, 10)
    assert subnet.units == {
        EMBED: range(384),
        **{Axis("conv", i): range(n) for i, n in enumerate(convs)},
        **{Axis("heads", i): range(6) for i in subnet.layers},
        **{Axis("ffn", i): range(1344) for i in subnet.layers},
    }
    config = space.config(arch)
    assert config.arch == arch
    assert (config.head_dim, config.pos_conv_groups, config.conv_strides) == (64, 16, space.parent.conv_strides)


@pytest.mark.parametrize("name", SHIPPED)
def test_json_and_back(name: str) -> None:
    space = SearchSpace.load(name)
    values = json.loads(json.dumps(space.to_dict()))
    again = SearchSpace.from_dict(values)
    assert again == space
    assert again.name == name
    assert values.keys() == {f.name for f in dataclasses.fields(SearchSpace)}
    for other in (copy.deepcopy(space), pickle.loads(pickle.dumps(space))):  # noqa: S301
        assert other == space
    assert hash(again) == hash(space)


@pytest.mark.parametrize("name", SHIPPED)
def test_a_space_from_a_file(name: str, tmp_path: Path) -> None:
    space = SearchSpace.load(name)
    values = {k: v for k, v in space.to_dict().items() if k != "name"}
    write_yaml(tmp_path / "mine.yaml", values)
    (tmp_path / "ours.json").write_text(json.dumps(values))
    for path in (tmp_path / "mine.yaml", str(tmp_path / "ours.json")):
        again = SearchSpace.load(path)
        assert again == space
        assert again.name == Path(path).stem


@pytest.mark.parametrize("name", SHIPPED)
def test_repr_is_short(name: str) -> None:
    space = SearchSpace.load(name)
    assert f"{space.num_archs:,} archs" in repr(space)
    assert name in repr(space)
    assert len(repr(space)) < 250
    for arch in (space.largest(), space.smallest()):
        assert len(repr(arch)) < 250
        assert len(repr(space.subnet(arch))) < 250


def test_the_space_of_a_net_alone() -> None:
    """Layers that all differ, one of them without heads: the net itself and nothing else."""
    config = dataclasses.replace(SearchSpace.load("mini").parent, num_heads=(1, 0, 3), ffn_dim=(7, 0, 96))
    space = OneArch.of(dataclasses.replace(config, layers=(0, 2, 5)))
    arch = space.largest()
    assert space.parent == config
    assert arch == space.smallest() == space.sample(random.Random(0)) == space.arch(arch)
    assert (arch.num_heads, arch.ffn_dim, arch.layers) == ((1, 0, 3), (7, 0, 96), (0, 1, 2))
    assert space.config(arch) == dataclasses.replace(config, layers=(0, 1, 2))
    assert (arch in space, space.num_archs) == (True, 1)
    other = dataclasses.replace(arch, embed_dim=96)
    assert other not in space
    with pytest.raises(ValueError, match=r"^not the one arch of the space alone: Arch\(embed_dim=96, "):
        space.subnet(other)
    with pytest.raises(ValueError, match=r"^OneArch\(.*: a single net; there is nothing to search$"):
        lh.find(Supernet(space), {"macs": 1e9}, lambda net: 0.0)
