"""Small nets for the tests of files."""

import pytest
import tiny
import torch
from torch import Tensor

from lighthubert import Hubert, Supernet


@pytest.fixture
def hubert() -> Hubert:
    return tiny.random_hubert(tiny.NET)


@pytest.fixture
def supernet() -> Supernet:
    """With a head of each kind."""
    net = tiny.random_supernet(tiny.FEW, heads=("last", "2"))
    net.predicts = {"teacher": "x", "layers": 8, "tap": "ffn", "normalize": "layer", "pairs": []}
    return net


@pytest.fixture
def wave() -> Tensor:
    """(1, 8000), 24 frames."""
    return torch.randn(1, 8000, generator=torch.Generator().manual_seed(3))
