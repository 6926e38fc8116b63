"""A world in which a step takes hundredths of a second: a tiny teacher, a tiny space, a few clips of real speech."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lighthubert import Hubert, HubertConfig, SearchSpace, Supernet, save
from lighthubert.data import MINI, Batch, Manifest, write_manifest
from lighthubert.pretrain.distill import Distillation
from lighthubert.pretrain.recipe import Distill
from lighthubert.schema import parse

CONVS = {"conv_channels": [8] * 7, "dropout": 0.0, "attention_dropout": 0.0}
POSITIONS = {"pos_conv_kernel": 16, "pos_conv_fixed": "group_dim"}
TEACHER = {**CONVS, **POSITIONS, "embed_dim": 48, "head_dim": 8, "num_heads": [6] * 5, "ffn_dim": [96] * 5,
           "pos_conv_groups": 6}  # fmt: skip
# Narrower and shallower than the teacher; wider than its own largest subnet.
PARENT = {**CONVS, **POSITIONS, "embed_dim": 40, "head_dim": 8, "num_heads": [4] * 4, "ffn_dim": [80] * 4,
          "pos_conv_groups": 5}  # fmt: skip
SPACE = {"parent": PARENT, "embed_dim": [16, 24, 32], "num_layers": [2, 3, 4], "num_heads": [2, 3, 4],
         "ffn_ratio": [1.0, 1.5, 2.0], "conv_channels": [[4] * 7, [8] * 7], "layer_rule": "spread",
         "ffn_rule": "prefix"}  # fmt: skip
DATA = {"max_seconds": 4.0, "max_clip_seconds": 1.5, "min_clip_seconds": 0.5, "window": 6, "threads": 0,
        "reader": "torch"}  # fmt: skip
SUBNETS = ["largest", "smallest", "random"]
FRAMES = {"mask_prob": 0.5, "mask_length": 4, "masked_weight": 1.0, "unmasked_weight": 0.25}
TRAIN = {"steps": 8, "lr": 5e-3, "warmup_steps": 2, "save_every": 3, "eval_every": 4, "log_every": 2}


def random_hubert(config: HubertConfig, seed: int = 0) -> Hubert:
    """Norms and biases random too, so that none is trivially 1 or 0."""
    torch.manual_seed(seed)
    net = Hubert(config)
    with torch.no_grad():
        for parameter in net.parameters():
            if parameter.ndim == 1:
                parameter += 0.2 * torch.randn_like(parameter)
    return net.eval()


def write_world(folder: Path) -> Path:
    """teacher.safetensors, space.yaml, and manifests of a dozen clips, of four and of three, each of 2 to 3 seconds."""
    save(random_hubert(HubertConfig.from_dict(TEACHER)), folder / "teacher.safetensors")
    write_yaml(folder / "space.yaml", SPACE)
    for name, split, count in (("train", "train", 12), ("valid", "valid", 4), ("few", "train", 3)):
        clips = Manifest.read(MINI / f"{split}.tsv")
        chosen = [row for row in range(len(clips)) if 32000 < clips.samples[row] < 48000][:count]
        rows = [{"path": str(Path(clips.file_path(row)).resolve()), "samples": clips.samples[row]} for row in chosen]
        write_manifest(folder / f"{name}.tsv", ("path", "samples"), rows)
    return folder


def recipe_values(world: Path, **changes: Any) -> dict[str, Any]:
    """The keys of a distillation in this world; sections are merged."""
    values: dict[str, Any] = {
        "teacher": str(world / "teacher.safetensors"),
        "space": str(world / "space.yaml"),
        "train_manifest": str(world / "train.tsv"),
        "valid_manifest": str(world / "valid.tsv"),
        "subnets": ["parent"],
        "target": {"layers": 3},
        "data": DATA,
        "train": TRAIN,
    }
    return merged(values, changes)


def unit_values(world: Path, **changes: Any) -> dict[str, Any]:
    """The keys of a run from nothing."""
    values: dict[str, Any] = {
        "objective": "units",
        "train_manifest": str(world / "train.tsv"),
        "valid_manifest": str(world / "valid.tsv"),
        "model": PARENT,
        "units": {"num_units": 8, "fit_clips": 6},
        "data": DATA,
        "train": TRAIN,
    }
    return merged(values, changes)


def merged(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Changes to nested values; the lowest level of a mapping wins."""
    result = dict(values)
    for key, value in changes.items():
        nested = isinstance(value, Mapping) and isinstance(result.get(key), Mapping)
        result[key] = merged(result[key], value) if nested else value
    return result


def write_yaml(path: Path, values: Mapping[str, Any]) -> Path:
    """JSON, which YAML includes."""
    path.write_text(json.dumps(values))
    return path


def distillation(world: Path, parent: dict[str, Any] | None = None, **changes: Any) -> Distillation:
    """An objective with a teacher of 48 units and a parent of 40; the heads as wide as the teacher."""
    values = {"run_dir": "unused", "subnets": SUBNETS, "frames": FRAMES, **changes}
    recipe = parse(Distill, recipe_values(world, **values))
    space = SearchSpace.from_dict({**SPACE, "parent": {**PARENT, **(parent or {})}})
    supernet = Supernet(space)
    supernet.hubert = random_hubert(space.parent, seed=1)
    supernet.head = nn.ModuleDict({key: nn.Linear(40, 48, bias=False) for key in recipe.target.keys})
    teacher = random_hubert(HubertConfig.from_dict(TEACHER))
    supernet.train()
    return Distillation(supernet, teacher, recipe, Manifest.read(recipe.valid_manifest))


def batch_of(*samples: int, first_row: int = 0, epoch: int = 1) -> Batch:
    generator = torch.Generator().manual_seed(first_row)
    lengths = torch.tensor(samples)
    waveform = torch.randn(len(samples), max(samples), generator=generator)
    waveform *= torch.arange(max(samples)) < lengths[:, None]
    rows = tuple(range(first_row, first_row + len(samples)))
    return Batch(waveform, lengths, rows, (0,) * len(samples), epoch)


def table_rows(text: str, start: str) -> list[list[str]]:
    """The cells of the table's lines that start with this."""
    lines = [re.sub("[│┃|]", "|", line).strip().strip("|").split("|") for line in text.splitlines()]
    return [[cell.strip() for cell in line] for line in lines if line[0].strip() == start]
