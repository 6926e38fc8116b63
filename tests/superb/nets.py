"""Nets of a few thousand parameters, of each kind that computes in another way."""

from dataclasses import replace
from pathlib import Path

import torch

from lighthubert import Hubert, HubertConfig, SearchSpace, Supernet, save
from lighthubert.config import write_yaml

SIZES = {"conv_channels": (8,) * 7, "head_dim": 8, "pos_conv_kernel": 16, "pos_conv_groups": 4}
BASE = HubertConfig(**SIZES, embed_dim=32, num_heads=(4, 2, 3), ffn_dim=(48, 40, 24))
LARGE = replace(BASE, conv_norm="layer", conv_bias=True, norm_first=True, normalize_waveform=True)
ARCH = {"embed_dim": 16, "num_layers": 2, "num_heads": [2, 4], "ffn_ratio": 2.0}


def hubert(config: HubertConfig, seed: int = 0) -> Hubert:
    """Random weights, norms and biases too."""
    torch.manual_seed(seed)
    net = Hubert(config)
    with torch.no_grad():
        for parameter in net.parameters():
            if parameter.ndim == 1:
                parameter += 0.2 * torch.randn_like(parameter)
    return net.eval()


def supernet() -> Supernet:
    parent = BASE.resized(32, num_heads=(4,) * 3, ffn_dim=(64,) * 3)
    choices = {"embed_dim": [16, 32], "num_layers": [2, 3], "num_heads": [2, 4], "ffn_ratio": [1.5, 2.0]}
    choices["conv_channels"] = [8]
    net = Supernet(SearchSpace.from_dict({"parent": parent.to_dict(), **choices}))
    net.hubert.load_state_dict(hubert(parent).state_dict())
    return net.eval()


def write(folder: Path) -> None:
    """net.safetensors, supernet.safetensors, and arch.yaml."""
    save(hubert(BASE), folder / "net.safetensors")
    save(supernet(), folder / "supernet.safetensors")
    write_yaml(folder / "arch.yaml", ARCH)
