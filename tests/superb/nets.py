"""Nets of a few thousand parameters, of each kind that computes in another way."""

from dataclasses import replace
from pathlib import Path

import oracle
import torch

from lighthubert import Hubert, HubertConfig, SearchSpace, Supernet, save
from lighthubert.config import write_yaml

SIZES = {"conv_channels": (8,) * 7, "head_dim": 8, "pos_conv_kernel": 16, "pos_conv_groups": 4}
BASE = HubertConfig(**SIZES, embed_dim=32, num_heads=(4, 2, 3), ffn_dim=(48, 40, 24))
LARGE = replace(BASE, conv_norm="layer", conv_bias=True, norm_first=True, normalize_waveform=True)
ARCH = {"embed_dim": 16, "num_layers": 2, "num_heads": [2, 4], "ffn_ratio": 2.0}
RELEASED_SMALL = {"embed_dim": 384, "num_layers": 12, "num_heads": 6, "ffn_ratio": 4.0}  # what s3prl runs of the files
RELEASED_BASE = RELEASED_SMALL | {"embed_dim": 640, "num_heads": 10}


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


def write_released(path: Path, name: str, mode: str, space: str = "small") -> None:
    """A file in the released layout, synthetic weights. name: student_hubert is stage 1, hubert_pruner stage 2; mode:
    the front-end's norms, "default" or "layer_norm"."""
    model = {"_name": name, "extractor_mode": mode, "pruner_supernet": f"{space}.yaml"}
    extras = {"label_embs_concat": torch.ones(504, 256), "final_proj.weight": torch.ones(256, 768)}
    state = oracle.state_dict(mode) | extras | {"final_proj.bias": torch.ones(256)}
    torch.save({"cfg": {"model": model, "task": {"normalize": True}}, "model": state}, path)
