"""Sizes: published ones, JSON, how positional groups follow the width, and everything that is refused."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from lighthubert.models import Arch, HubertConfig

OTHER = HubertConfig(
    conv_channels=(4, 5),
    conv_kernels=(10, 3),
    conv_strides=(5, 2),
    conv_bias=True,
    conv_norm="layer",
    conv_scale=True,
    embed_dim=48,
    head_dim=7,
    num_heads=(1, 2, 3),
    ffn_dim=(9, 8, 7),
    pos_conv_kernel=19,
    pos_conv_groups=3,
    pos_conv_depth=5,
    pos_conv_fixed="group_dim",
    norm_first=True,
    normalize_waveform=True,
    dropout=0.25,
    attention_dropout=0.5,
    ffn_dropout=0.125,
    layers=(0, 2, 7),
)


def test_published_sizes() -> None:
    base, large = HubertConfig.base(), HubertConfig.large()
    assert (base.num_layers, base.embed_dim, base.conv_norm, base.norm_first) == (12, 768, "group", False)
    assert (large.num_layers, large.embed_dim, large.conv_norm, large.norm_first) == (24, 1024, "layer", True)
    assert set(large.num_heads) == {16}
    assert set(large.ffn_dim) == {4096}
    assert base.arch is None


@pytest.mark.parametrize("config", [HubertConfig.base(), HubertConfig.large(), OTHER])
def test_json_and_back(config: HubertConfig) -> None:
    assert HubertConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    assert config.to_dict().keys() == {f.name for f in dataclasses.fields(HubertConfig)}
    assert hash(HubertConfig.from_dict(config.to_dict())) == hash(config)


def test_other_differs_from_the_default_in_every_key() -> None:
    """Otherwise the round trip above would not see a key that is lost."""
    default = HubertConfig().to_dict()
    assert not [key for key, value in OTHER.to_dict().items() if value == default[key]]


def test_missing_keys_are_the_defaults() -> None:
    assert HubertConfig.from_dict({}) == HubertConfig.base()
    assert HubertConfig.from_dict({"dropout": 0}).dropout == 0.0


def test_arch_of_a_subnet() -> None:
    assert OTHER.arch == Arch(48, (1, 2, 3), (9, 8, 7), (4, 5), (0, 2, 7))


def test_lists_are_tuples() -> None:
    """Compared, hashed and refused alike."""
    values = OTHER.to_dict()
    assert HubertConfig(**values) == OTHER
    assert hash(HubertConfig(**values)) == hash(OTHER)
    arch = Arch(48, [1, 2, 3], [9, 8, 7], [4, 5], [0, 2, 7])  # type: ignore[arg-type]
    assert arch == OTHER.arch
    assert hash(arch) == hash(OTHER.arch)
    with pytest.raises(ValueError, match=r"^HubertConfig: num_heads: needs an integer from 0 up for every layer"):
        HubertConfig(num_heads=[])  # type: ignore[arg-type]


def test_repr_shows_what_is_not_base() -> None:
    assert repr(HubertConfig.base()) == "HubertConfig()"
    config = HubertConfig(num_heads=(8,) * 12, conv_norm="layer", layers=tuple(range(12)))
    assert repr(config) == "HubertConfig(conv_norm='layer', num_heads=8x12, layers=0..11)"


@pytest.mark.parametrize(
    ("fixed", "groups", "widths"),
    [("groups", 4, {64: 4, 48: 4, 32: 4, 4: 4}), ("group_dim", 4, {64: 4, 48: 3, 32: 2, 16: 1, 8: 1})],
)
def test_resized_positional_groups(fixed: str, groups: int, widths: dict[int, int]) -> None:
    parent = HubertConfig(embed_dim=64, pos_conv_groups=groups, pos_conv_fixed=fixed)
    found = {width: parent.resized(width).pos_conv_groups for width in widths}
    assert found == widths
    small = parent.resized(32, num_heads=(1,), ffn_dim=(2,), layers=(3,))
    assert (small.embed_dim, small.num_heads, small.ffn_dim, small.layers) == (32, (1,), (2,), (3,))
    assert small.conv_channels == parent.conv_channels


WRONG: dict[str, tuple[dict[str, Any], list[str]]] = {
    "unknown key": ({"embed": 768}, ["embed: unknown key; known are conv_channels, conv_kernels,"]),
    "text for a number": ({"embed_dim": "768"}, ["embed_dim: expected an integer, got '768'"]),
    "a float for a whole number": ({"embed_dim": 768.0}, ["embed_dim: expected an integer, got 768.0"]),
    "a truth value for a number": ({"embed_dim": True}, ["embed_dim: expected an integer, got True"]),
    "a number for a truth value": ({"conv_bias": 1}, ["conv_bias: expected true or false, got 1"]),
    "one number for a list": ({"num_heads": 12}, ["num_heads: expected a list, got 12"]),
    "text in a list": ({"num_heads": [12] * 11 + ["12"]}, ["num_heads[11]: expected an integer, got '12'"]),
    "another norm": ({"conv_norm": "batch"}, ["conv_norm: must be one of group, layer, got 'batch'"]),
    "another rule": ({"pos_conv_fixed": "both"}, ["pos_conv_fixed: must be one of groups, group_dim, got 'both'"]),
    "convolutions do not match": (
        {"conv_kernels": [10, 3]},
        ["conv_channels, conv_kernels, conv_strides: need one value per convolution each, got [7, 2, 7] values"],
    ),
    "layers do not match": (
        {"num_heads": [12] * 11},
        ["num_heads, ffn_dim: need one value per layer each, got 11 and 12 values"],
    ),
    "no layers": (
        {"num_heads": [], "ffn_dim": []},
        ["num_heads: needs an integer from 0 up for every layer, got ()", "ffn_dim: needs"],
    ),
    "fewer heads than none": (
        {"num_heads": [-1] + [12] * 11},
        ["num_heads: needs an integer from 0 up for every layer, got (-1, 12"],
    ),
    "a convolution without channels": (
        {"conv_channels": [0] + [512] * 6},
        ["conv_channels: needs one positive integer or more, got (0, 512"],
    ),
    "not a multiple": ({"embed_dim": 760}, ["embed_dim: must be a multiple of pos_conv_groups=16, got 760"]),
    "no groups": ({"pos_conv_groups": 0}, ["pos_conv_groups: must be positive, got 0"]),
    "dropout of all": ({"dropout": 1.0}, ["dropout: must be at least 0 and below 1, got 1.0"]),
    "dropout of nothing known": (
        {"attention_dropout": float("nan")},
        ["attention_dropout: must be at least 0 and below 1, got nan"],
    ),
    "too few indices": ({"layers": [0, 1]}, ["layers: needs one index per layer, got 2 for 12 layers"]),
    "indices not rising": (
        {"layers": [1, 0], "num_heads": [1, 1], "ffn_dim": [1, 1]},
        ["layers: must be rising indices from 0 up, got (1, 0)"],
    ),
    "negative index": (
        {"layers": [-1, 0], "num_heads": [1, 1], "ffn_dim": [1, 1]},
        ["layers: must be rising indices from 0 up, got (-1, 0)"],
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_configs(case: str) -> None:
    values, messages = WRONG[case]
    with pytest.raises(ValueError, match=r"^HubertConfig: ") as error:
        HubertConfig.from_dict(values)
    assert not [m for m in messages if m not in str(error.value)], error.value


def test_all_problems_are_listed_at_once() -> None:
    with pytest.raises(ValueError, match="HubertConfig") as error:
        HubertConfig.from_dict({"embed": 1, "embed_dim": "x", "conv_norm": 3})
    assert [p.split(":")[0] for p in str(error.value).removeprefix("HubertConfig: ").split("; ") if ":" in p] == [
        "embed",
        "embed_dim",
        "conv_norm",
    ]
    with pytest.raises(ValueError, match="HubertConfig") as error:
        HubertConfig(conv_norm="x", dropout=2.0, embed_dim=0)
    assert all(key in str(error.value) for key in ("conv_norm", "dropout", "embed_dim"))


def test_not_a_mapping() -> None:
    with pytest.raises(ValueError, match=r"HubertConfig: it: expected keys and values, got \[1\]"):
        HubertConfig.from_dict([1])  # type: ignore[arg-type]


def test_arch_needs_all_keys() -> None:
    with pytest.raises(ValueError, match=r"^Arch: ffn_dim: is missing; conv_channels: is missing; layers: is missing$"):
        Arch.from_dict({"embed_dim": 1, "num_heads": [1]})
