"""A world in which a score takes milliseconds: a tiny supernet with a head, its teacher, a few clips of real speech."""

import itertools
from pathlib import Path

import torch
from torch import nn

from lighthubert import Arch, Hubert, HubertConfig, SearchSpace, Supernet, save
from lighthubert.data import MINI, Manifest, write_manifest

SIZES = {"conv_channels": [8] * 7, "pos_conv_kernel": 16, "pos_conv_fixed": "group_dim", "head_dim": 8,
         "dropout": 0.0, "attention_dropout": 0.0}  # fmt: skip
TEACHER = {**SIZES, "embed_dim": 48, "num_heads": [6] * 3, "ffn_dim": [96] * 3, "pos_conv_groups": 6}
PARENT = {**SIZES, "embed_dim": 32, "num_heads": [4] * 3, "ffn_dim": [64] * 3, "pos_conv_groups": 4}
SPACE = SearchSpace.from_dict({
    "parent": PARENT, "embed_dim": [16, 24, 32], "num_layers": [2, 3], "num_heads": [2, 4], "ffn_ratio": [1.0, 2.0],
    "conv_channels": [[4] * 7, [8] * 7],
})  # fmt: skip


def every_arch() -> list[Arch]:
    """All 480 of them."""
    archs = []
    for n, embed, convs in itertools.product(SPACE.num_layers, SPACE.embed_dim, SPACE.conv_channels):
        for heads in itertools.product(SPACE.num_heads, repeat=n):
            for ffn in itertools.product(SPACE.ffn_dims(embed), repeat=n):
                archs.append(Arch(embed, heads, ffn, convs, SPACE.layers(n)))
    assert len(set(archs)) == SPACE.num_archs
    return archs


def write_world(folder: Path) -> Path:
    """supernet.safetensors, teacher.safetensors, valid.tsv and test.tsv (4 and 3 clips of 2 to 3 seconds)."""
    torch.manual_seed(0)
    save(Hubert(HubertConfig.from_dict(TEACHER)), folder / "teacher.safetensors")
    supernet = Supernet(SPACE)
    supernet.head = nn.ModuleDict({"last": nn.Linear(32, 48, bias=False)})
    target = {"layers": 2, "tap": "ffn", "normalize": "layer", "pairs": []}
    supernet.predicts = {"teacher": str(folder / "teacher.safetensors"), **target}
    save(supernet, folder / "supernet.safetensors")
    clips = Manifest.read(MINI / "valid.tsv")
    chosen = [row for row in range(len(clips)) if 32000 < clips.samples[row] < 48000]
    for name, rows in {"valid": chosen[:4], "test": chosen[4:7]}.items():
        files = [{"path": str(Path(clips.file_path(row)).resolve()), "samples": clips.samples[row]} for row in rows]
        write_manifest(folder / f"{name}.tsv", ("path", "samples"), files)
    return folder
