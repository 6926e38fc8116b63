"""Small spaces of every kind, and supernets of them with weights in which no two numbers are alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from lighthubert.elastic import SearchSpace, Supernet

PARENT: dict[str, Any] = {
    "conv_channels": [16] * 7,
    "embed_dim": 48,
    "head_dim": 4,
    "num_heads": [6] * 12,
    "ffn_dim": [192] * 12,
    "pos_conv_kernel": 8,
    "pos_conv_groups": 4,
    "dropout": 0.0,
    "attention_dropout": 0.0,
}
RELEASED: dict[str, Any] = {
    "parent": PARENT,
    "embed_dim": [16, 24, 32],
    "num_layers": [10, 11, 12],
    "num_heads": [2, 3, 4],
    "ffn_ratio": [3.0, 3.5, 4.0],
    "conv_channels": [16],
    "layer_rule": "lighthubert",
    "ffn_rule": "strided",
}
SMALL_SPACES: dict[str, dict[str, Any]] = {
    "strided": RELEASED,
    "prefix_conv": {**RELEASED, "conv_channels": [4, 8, 16], "ffn_rule": "prefix"},
    "whole_groups": {
        "parent": {
            **PARENT,
            "num_heads": [6] * 5,
            "ffn_dim": [192] * 5,
            "pos_conv_groups": 6,
            "pos_conv_fixed": "group_dim",
        },
        "embed_dim": [16, 32, 48],
        "num_layers": [3, 4, 5],
        "num_heads": [2, 4, 6],
        "ffn_ratio": [2.0, 4.0],
        "conv_channels": [[4, 8, 8, 8, 8, 8, 8], [16] * 7],
    },
    "large": {  # layer norms and biases in the front-end, pre-norm, two positional convolutions, normalised audio
        "parent": {
            **PARENT,
            "num_heads": [6] * 3,
            "ffn_dim": [192] * 3,
            "conv_norm": "layer",
            "conv_bias": True,
            "norm_first": True,
            "normalize_waveform": True,
            "pos_conv_depth": 2,
            "pos_conv_kernel": 5,
        },
        "embed_dim": [16, 48],
        "num_layers": [1, 3],
        "num_heads": [1, 6],
        "ffn_ratio": [0.5, 4.0],
        "conv_channels": [4, 16],
    },
}


@pytest.fixture(scope="session")
def small_spaces() -> dict[str, SearchSpace]:
    return {name: SearchSpace.from_dict({**values, "name": name}) for name, values in SMALL_SPACES.items()}


@pytest.fixture(params=SMALL_SPACES)
def space(request: pytest.FixtureRequest, small_spaces: dict[str, SearchSpace]) -> SearchSpace:
    """Every small space in turn."""
    return small_spaces[request.param]


@pytest.fixture(scope="session")
def build() -> Callable[[SearchSpace], Supernet]:
    """A supernet in evaluation mode; biases and norms are jittered, or a wrong slice of them would not show."""

    def build(space: SearchSpace) -> Supernet:
        torch.manual_seed(0)
        supernet = Supernet(space).eval()
        with torch.no_grad():
            for parameter in supernet.parameters():
                if parameter.ndim == 1:
                    parameter += 0.1 * torch.randn_like(parameter)
                elif parameter.ndim == 2:
                    parameter *= 5  # .02 would leave attention and GELU almost linear
        return supernet

    return build


@pytest.fixture
def supernet(space: SearchSpace, build: Callable[[SearchSpace], Supernet]) -> Supernet:
    return build(space)
