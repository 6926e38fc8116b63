"""How an arch may be written, and which message a wrong one gets."""

from __future__ import annotations

import copy
import json
import math
import pickle
import re
from pathlib import Path
from typing import Any

import pytest

from lighthubert.config import ConfigError, write_yaml
from lighthubert.elastic import Arch, SearchSpace

MINI = SearchSpace.load("mini")
SMALL = SearchSpace.load("small")
CONVS = [16, 32, 64, 64, 64, 64, 64]
ARCH = Arch(96, (2, 2, 2, 2, 2), (288,) * 5, tuple(CONVS), (0, 1, 2, 4, 5))
SHORT: dict[str, Any] = {"embed_dim": 96, "num_layers": 5, "num_heads": 2, "ffn_ratio": 3.0, "conv_channels": CONVS}


def without(*keys: str) -> dict[str, Any]:
    return {key: value for key, value in SHORT.items() if key not in keys}


@pytest.mark.parametrize(
    "written",
    [
        ARCH,
        ARCH.to_dict(),
        SHORT,
        {**SHORT, "ffn_ratio": 3},
        {**SHORT, "ffn_ratio": [3.0, 3, 3.0, 3.0, 3]},
        {**SHORT, "num_heads": [2] * 5},
        {**without("ffn_ratio"), "ffn_dim": 288},
        {**without("num_layers"), "layers": [0, 1, 2, 4, 5]},
        {**SHORT, "conv_channels": tuple(CONVS)},
    ],
)
def test_every_way_to_write_an_arch(written: Any, tmp_path: Path) -> None:
    before = copy.deepcopy(written)
    assert MINI.arch(written) == ARCH
    assert written == before
    if isinstance(written, dict):
        write_yaml(tmp_path / "arch.yaml", written)
        (tmp_path / "arch.json").write_text(json.dumps(written))
        assert MINI.arch(tmp_path / "arch.yaml") == ARCH
        assert MINI.arch(str(tmp_path / "arch.json")) == ARCH


def test_what_leaves_no_choice_may_be_left_out() -> None:
    """Small has one front-end, Base one depth as well."""
    assert SMALL.arch({"embed_dim": 256, "num_layers": 10, "num_heads": 4, "ffn_ratio": 3.0}) == SMALL.smallest()
    base = SearchSpace.load("base")
    assert base.arch({"embed_dim": 768, "num_heads": 12, "ffn_ratio": 4.0}) == base.largest()
    assert base.arch({"embed_dim": 768, "num_heads": 12, "ffn_dim": 3072, "layers": list(range(12))}) == base.largest()
    one = SearchSpace.from_dict({**base.to_dict(), "embed_dim": [512], "num_heads": [8], "ffn_ratio": [3.5]})
    assert one.num_archs == 1
    assert one.arch({}) == one.largest() == one.smallest()


def test_one_number_for_all_convolutions() -> None:
    space = SearchSpace.load("small_conv")
    arch = space.arch({"embed_dim": 256, "num_layers": 10, "num_heads": 4, "ffn_ratio": 3.0, "conv_channels": 128})
    assert arch == space.smallest()


def test_ratios_per_layer() -> None:
    ratios = [3.0, 3.5, 4.0] * 4
    arch = SMALL.arch({"embed_dim": 384, "num_layers": 12, "num_heads": [4, 6, 8] * 4, "ffn_ratio": ratios})
    assert arch.ffn_dim == (1152, 1344, 1536) * 4
    assert arch.num_heads == (4, 6, 8) * 4


def test_json_pickle_hash_and_repr() -> None:
    assert Arch.from_dict(json.loads(json.dumps(ARCH.to_dict()))) == ARCH
    assert {ARCH: 1}[Arch.from_dict(ARCH.to_dict())] == 1
    assert pickle.loads(pickle.dumps(ARCH)) == ARCH  # noqa: S301
    assert ARCH.num_layers == 5
    assert repr(ARCH) == (
        "Arch(embed_dim=96, num_heads=2x5, ffn_dim=288x5, conv_channels=(16, 32, 64, 64, 64, 64, 64), "
        "layers=(0, 1, 2, 4, 5))"
    )
    assert (
        repr(SMALL.largest())
        == "Arch(embed_dim=512, num_heads=8x12, ffn_dim=2048x12, conv_channels=512x7, layers=0..11)"
    )
    with pytest.raises(AttributeError):
        ARCH.embed_dim = 3  # type: ignore[misc]


JOINT = "[16, 32, 64, 64, 64, 64, 64], [24, 48, 96, 96, 96, 96, 96], [32, 64, 128, 128, 128, 128, 128]"
WRONG: dict[str, tuple[Any, str]] = {
    "a number": (5, "expected an Arch, a mapping or a path, got 5"),
    "a list": ([1], "expected an Arch, a mapping or a path, got [1]"),
    "nothing": (
        {},
        "Arch: " + "; ".join(f"{key}: is missing" for key in ARCH.to_dict()),
    ),
    "an unknown key": (
        {**SHORT, "depth": 5},
        "Arch: depth: unknown key; known are embed_dim, num_heads, ffn_dim, conv_channels, layers",
    ),
    "text": (
        {**without("ffn_ratio"), "ffn_dim": 288, "embed_dim": "96"},
        "Arch: embed_dim: expected an integer, got '96'",
    ),
    "a width outside": (
        {**without("ffn_ratio"), "ffn_dim": 288, "embed_dim": 100},
        "embed_dim: must be one of 96, 144, 192, got 100",
    ),
    "a depth outside": ({**SHORT, "num_layers": 3}, "num_layers: must be one of [4, 5, 6], got 3"),
    "a depth that is no whole number": ({**SHORT, "num_layers": 4.0}, "num_layers: must be one of [4, 5, 6], got 4.0"),
    "a depth for each of something": ({**SHORT, "num_layers": [5]}, "num_layers: must be one of [4, 5, 6], got [5]"),
    "depth and layers": ({**SHORT, "layers": [0, 1, 2, 4, 5]}, "num_layers, layers: give one of the two"),
    "ratio and size": ({**SHORT, "ffn_dim": 288}, "ffn_ratio, ffn_dim: give one of the two"),
    "too few layers": (
        {**without("num_layers"), "layers": [0, 3, 5]},
        "layers: must be one of 4, 5, 6 layers, got 3",
    ),
    "other layers than the rule's": (
        {**without("num_layers"), "layers": [0, 1, 2, 3, 4]},
        "layers: 5 layers must be [0, 1, 2, 4, 5] (spread rule), got [0, 1, 2, 3, 4]",
    ),
    "heads outside": (
        {**SHORT, "num_heads": [2, 2, 5, 2, 1]},
        "num_heads[2]: must be one of 2, 3, 4, got 5; num_heads[4]: must be one of 2, 3, 4, got 1",
    ),
    "heads of too few layers": (
        {**SHORT, "num_heads": [2, 2]},
        "num_heads: needs one value for each of 5 layers, got 2",
    ),
    "a ratio outside": (
        {**SHORT, "ffn_ratio": [3.0, 3.0, 3.0, 3.0, 2.5]},
        "ffn_dim[4]: must be one of 192, 288, 384 (one of 2.0, 3.0, 4.0 x embed_dim=96), got 240",
    ),
    "ratios of too few layers": (
        {**SHORT, "ffn_ratio": [3.0]},
        "ffn_dim: needs one value for each of 5 layers, got 1",
    ),
    "a ratio in words": ({**SHORT, "ffn_ratio": "3"}, "ffn_ratio: expected a number or a list of numbers, got '3'"),
    "a ratio that is no number": (
        {**SHORT, "ffn_ratio": math.nan},
        "ffn_ratio: expected a number or a list of numbers, got nan",
    ),
    "an infinite ratio": (
        {**SHORT, "ffn_ratio": [math.inf]},
        "ffn_ratio: expected a number or a list of numbers, got [inf]",
    ),
    "a true ratio": ({**SHORT, "ffn_ratio": True}, "ffn_ratio: expected a number or a list of numbers, got True"),
    "another joint choice": (
        {**SHORT, "conv_channels": [16, 32, 64, 64, 64, 64, 128]},
        f"conv_channels: must be one of {JOINT}, got [16, 32, 64, 64, 64, 64, 128]",
    ),
    "one number for a joint choice": (
        {**SHORT, "conv_channels": 16},
        f"conv_channels: must be one of {JOINT}, got [16, 16, 16, 16, 16, 16, 16]",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_archs(case: str) -> None:
    written, message = WRONG[case]
    with pytest.raises(ValueError, match=f"^{re.escape(f'not in the search space mini: {message}')}$"):
        MINI.arch(written)


def test_channels_that_each_convolution_chooses() -> None:
    space = SearchSpace.load("small_conv")
    given = {"embed_dim": 256, "num_layers": 10, "num_heads": 4, "ffn_ratio": 3.0}
    rule = "must be one of 128, 256, 384, 512, got"
    with pytest.raises(
        ValueError, match=re.escape(f"small_conv: conv_channels[1]: {rule} 64; conv_channels[6]: {rule} 500")
    ):
        space.arch({**given, "conv_channels": [128, 64, 128, 128, 128, 128, 500]})
    with pytest.raises(ValueError, match="conv_channels: needs one value for each of 7 convolutions, got 2"):
        space.arch({**given, "conv_channels": [128, 128]})


def test_every_wrong_value_is_listed() -> None:
    wrong = {"embed_dim": 97, "num_layers": 5, "num_heads": [9, 2, 2, 2, 2], "ffn_dim": 1, "conv_channels": 3}
    with pytest.raises(ValueError, match="not in the search space mini") as error:
        MINI.arch(wrong)
    assert [key for key in ("embed_dim", "num_heads[0]", "conv_channels") if f"{key}: " not in str(error.value)] == []


@pytest.mark.parametrize(
    "case", [case for case, (written, _) in WRONG.items() if isinstance(written, dict) and "nan" not in str(written)]
)
def test_wrong_files_are_named(case: str, tmp_path: Path) -> None:
    written, message = WRONG[case]
    path = tmp_path / "arch.yaml"
    write_yaml(path, written)
    with pytest.raises(ValueError, match="^" + re.escape(f"{path}: not in the search space mini: {message}") + "$"):
        MINI.arch(path)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent.yaml: No such file or directory$"):
        MINI.arch(tmp_path / "absent.yaml")


@pytest.mark.parametrize("method", ["subnet", "config"])
def test_an_arch_of_another_space_is_refused(method: str) -> None:
    with pytest.raises(
        ValueError, match="not in the search space small: layers: must be one of 10, 11, 12 layers, got 5"
    ):
        getattr(SMALL, method)(ARCH)
    with pytest.raises(ValueError, match="not in the search space small: "):
        SMALL.mutate(ARCH, None, 0.5)  # type: ignore[arg-type]
