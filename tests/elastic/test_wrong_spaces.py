"""Which message a wrong space gets."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from lighthubert.config import ConfigError
from lighthubert.elastic import SearchSpace

MINI = SearchSpace.load("mini").to_dict()
JOINT = [32, 64, 128, 128, 128, 128, 128]
SIX = {"num_heads": [12] * 6, "ffn_dim": [3072] * 6}
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "unknown key": (
        {"depth": [4]},
        "depth: unknown key; known are parent, embed_dim, num_layers, num_heads, ffn_ratio, conv_channels, layer_rule, "
        "ffn_rule, name",
    ),
    "one number": ({"embed_dim": 96}, "embed_dim: expected a list of choices, one or more, got 96"),
    "no choice": ({"num_heads": []}, "num_heads: expected a list of choices, one or more, got []"),
    "text": ({"embed_dim": ["96"]}, "embed_dim: expected positive integers, got ['96']"),
    "a float": ({"embed_dim": [96.0]}, "embed_dim: expected positive integers, got [96.0]"),
    "zero layers": ({"num_layers": [0, 4]}, "num_layers: expected positive integers, got [0, 4]"),
    "a negative ratio": ({"ffn_ratio": [-1.0]}, "ffn_ratio: expected positive numbers, got [-1.0]"),
    "no number": ({"ffn_ratio": [math.nan, 2.0]}, "ffn_ratio: expected positive numbers, got [nan, 2.0]"),
    "infinite": ({"ffn_ratio": [math.inf]}, "ffn_ratio: expected positive numbers, got [inf]"),
    "the same twice": ({"embed_dim": [96, 96]}, "embed_dim: expected choices that differ, got [96, 96]"),
    "the same joint choice twice": ({"conv_channels": [JOINT, JOINT]}, "conv_channels: expected choices that differ"),
    "ratios too close": (
        {"ffn_ratio": [2.0, 2.001]},
        "ffn_ratio: must make sizes that differ, one unit or more; of 96 they are [192, 192]",
    ),
    "no unit": ({"ffn_ratio": [0.001]}, "ffn_ratio: must make sizes that differ, one unit or more; of 96 they are [0]"),
    "wider than the parent": ({"embed_dim": [96, 208]}, "embed_dim: the parent has 192, got [96, 208]"),
    "deeper than the parent": ({"num_layers": [6, 7]}, "num_layers: the parent has 6, got [6, 7]"),
    "more heads than the parent": ({"num_heads": [5]}, "num_heads: the parent has 4, got [5]"),
    "a larger FFN than the parent": ({"ffn_ratio": [5.0]}, "ffn_ratio: 5.0 x 192 is more than the parent's 768 units"),
    "blocks beyond the parent": (
        {
            "parent": {"ffn_dim": [1920] * 12},
            "embed_dim": [512],
            "ffn_ratio": [3.5],  # 1792 units, but the fourth block of 768 starts at 2304
            "conv_channels": [512],
            "ffn_rule": "strided",
        },
        "ffn_ratio: 3.5 x 512 is more than the parent's 1920 units",
    ),
    "half a group": (
        {"embed_dim": [100]},
        "embed_dim: must be a multiple of 16 (positional convolution, fixed group_dim), got 100",
    ),
    "not as many groups": (
        {"parent": "hubert_base", "embed_dim": [520], "conv_channels": [512]},
        "embed_dim: must be a multiple of 16 (positional convolution, fixed groups), got 520",
    ),
    "too few convolutions": ({"conv_channels": [[8, 16]]}, "conv_channels: needs 7 per joint choice, got [8, 16]"),
    "more channels than the parent": (
        {"conv_channels": [64]},
        f"conv_channels: the parent has {JOINT}, got {[64] * 7}",
    ),
    "single and joint choices": (
        {"conv_channels": [32, JOINT]},
        "conv_channels: expected positive integers, got [32, [",
    ),
    "another layer rule": ({"layer_rule": "first"}, "layer_rule: must be one of lighthubert, spread, got 'first'"),
    "another FFN rule": ({"ffn_rule": "random"}, "ffn_rule: must be one of strided, prefix, got 'random'"),
    "the released rule elsewhere": (
        {"layer_rule": "lighthubert"},
        "layer_rule: lighthubert knows 6 to 12 of 12 layers, got [4, 5, 6] of 6",
    ),
    "another parent": (
        {"parent": "hubert_huge"},
        "parent: must be one of hubert_base, hubert_large or a mapping of HubertConfig's keys, got 'hubert_huge'",
    ),
    "a list of parents": ({"parent": ["hubert_base"]}, "or a mapping of HubertConfig's keys, got ['hubert_base']"),
    "a wrong parent": (
        {"parent": {"embed_dim": 100, "conv_norm": "batch"}},
        "parent: HubertConfig: conv_norm: must be one of group, layer, got 'batch'; "
        "embed_dim: must be a multiple of pos_conv_groups=16, got 100",
    ),
    "units without end": ({"ffn_ratio": [1e9]}, "ffn_ratio: 1000000000.0 x 192 is more than the parent's 768 units"),
    "strided units without end": (
        {"ffn_ratio": [1e9], "ffn_rule": "strided"},
        "ffn_ratio: 1000000000.0 x 192 is more than the parent's 768 units",
    ),
    "a ratio beyond all sizes": ({"ffn_ratio": [1e308]}, "ffn_ratio: expected numbers below 2,147,483,648, got"),
    "a size beyond all sizes": ({"embed_dim": [10**400]}, "embed_dim: expected numbers below 2,147,483,648, got [1000"),
    "too many choices": ({"embed_dim": range(1, 10**6)}, "embed_dim: expected a list of choices"),
    "a list of too many choices": ({"embed_dim": list(range(1, 10**6))}, "embed_dim: expected 1,000 choices at most"),
    "a list for a rule": ({"ffn_rule": []}, "ffn_rule: must be one of strided, prefix, got []"),
    "a list for the other rule": ({"layer_rule": []}, "layer_rule: must be one of lighthubert, spread, got []"),
    "layers without end": (
        {"parent": {"num_heads": [12] * 10**5, "ffn_dim": [3072] * 10**5}},
        "parent: HubertConfig: num_heads: 100,000 are more than any net has (1000)",
    ),
    "positional convolutions without end": (
        {"parent": {"pos_conv_depth": 10**9}},
        "pos_conv_depth: 1,000,000,000 are more than any net has (1000)",
    ),
    "a number for a name": ({"name": 3}, "name: expected text, got 3"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_spaces(case: str) -> None:
    change, message = WRONG[case]
    with pytest.raises(ValueError, match=r"^search space \w+: ") as error:
        SearchSpace.from_dict({**MINI, **change})
    assert message in str(error.value)


def test_all_problems_at_once_in_the_order_of_the_keys() -> None:
    with pytest.raises(ValueError, match=r"^search space mini: ") as error:
        SearchSpace.from_dict({**MINI, "conv_channels": 1, "num_heads": 2, "embed_dim": 3, "depth": 4})
    problems = str(error.value).removeprefix("search space mini: ").split("; ")
    assert [p.split(":")[0] for p in problems if ":" in p] == ["depth", "embed_dim", "num_heads", "conv_channels"]
    with pytest.raises(ValueError, match=r"^search space mini: ") as error:
        SearchSpace.from_dict({**MINI, "embed_dim": [100, 208], "num_heads": [9], "layer_rule": "first"})
    assert [key for key in ("layer_rule", "embed_dim", "num_heads") if f"{key}: " not in str(error.value)] == []


def test_missing_keys() -> None:
    with pytest.raises(
        ValueError,
        match=r"^search space custom: embed_dim: is missing; num_layers: is missing; num_heads: is missing; "
        r"ffn_ratio: is missing; conv_channels: is missing$",
    ):
        SearchSpace.from_dict({"parent": "hubert_base"})


def test_not_a_mapping() -> None:
    with pytest.raises(ValueError, match=r"^search space: expected keys and values, got \[1\]$"):
        SearchSpace.from_dict([1])  # type: ignore[arg-type]


def test_unknown_names_and_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError,
        match=r"^tiny: no search space of this name \(there are base, base_conv, large, mini, small, small_conv\)",
    ):
        SearchSpace.load("tiny")
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("embed_dim: [1,\n")
    with pytest.raises(ConfigError, match=r"wrong.yaml: cannot be read as YAML: "):
        SearchSpace.load(wrong)
    for name in ("a" * 300, "a/" * 2500, "a\0b", "\ud800", "/dev/zero", "[" * 10**6):
        with pytest.raises(ConfigError, match="no search space of this name") as caught:
            SearchSpace.load(name)
        assert len(str(caught.value)) <= 1000
    wrong.write_text("[1, 2]")
    with pytest.raises(ConfigError, match=r"wrong.yaml: expected keys and values, got list"):
        SearchSpace.load(wrong)
    wrong.write_text(json.dumps({**MINI, "num_heads": [9]}))
    with pytest.raises(ValueError, match=r"wrong.yaml: search space mini: num_heads: the parent has 4, got \[9\]"):
        SearchSpace.load(wrong)
