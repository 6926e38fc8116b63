"""Small nets for the tests of files; makes `import oracle` and `import foreign_nets` work."""

import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from lighthubert import Hubert, HubertConfig, SearchSpace, Supernet

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "oracle")]


@pytest.fixture
def config() -> HubertConfig:
    """A net of 20 thousand parameters."""
    return HubertConfig(
        conv_channels=(8,) * 7,
        embed_dim=32,
        head_dim=8,
        num_heads=(4, 2),
        ffn_dim=(48, 40),
        pos_conv_kernel=16,
        pos_conv_groups=4,
    )


@pytest.fixture
def hubert(config: HubertConfig) -> Hubert:
    torch.manual_seed(0)
    return Hubert(config).eval()


@pytest.fixture
def supernet(config: HubertConfig) -> Supernet:
    """With a head of each kind."""
    torch.manual_seed(0)
    parent = config.resized(32, num_heads=(4, 4), ffn_dim=(64, 64))
    space = SearchSpace.from_dict(
        {
            "name": "tiny",
            "parent": parent.to_dict(),
            "embed_dim": [16, 32],
            "num_layers": [1, 2],
            "num_heads": [2, 4],
            "ffn_ratio": [1.5, 2.0],
            "conv_channels": [[4] * 7, [8] * 7],
        }
    )
    net = Supernet(space).eval()
    net.head["last"] = torch.nn.Linear(32, 24, bias=False)
    net.head["2"] = torch.nn.Linear(32, 24, bias=False)
    net.predicts = {"teacher": "x", "layers": 8, "tap": "ffn", "normalize": "layer", "pairs": []}
    return net


@pytest.fixture
def wave() -> Tensor:
    """(1, 8000), 24 frames."""
    return torch.randn(1, 8000, generator=torch.Generator().manual_seed(3))
