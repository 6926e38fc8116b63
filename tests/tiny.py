"""Small nets, spaces and worlds for all tests: `import tiny` works in every one (pythonpath in pyproject.toml).

A world is a folder with the files of a job in which a step takes hundredths of a second.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import nn

from lighthubert import Arch, Hubert, HubertConfig, SearchSpace, Supernet, save
from lighthubert.data import MINI, Batch, Manifest, write_manifest

if TYPE_CHECKING:
    from lighthubert.pretrain.distill import Distillation

Net = TypeVar("Net", bound=nn.Module)

# Nets. LARGE is what makes any of them one of HuBERT Large's kind: layer norms and biases in the front-end, pre-norm.
LARGE: dict[str, Any] = {"conv_norm": "layer", "conv_bias": True, "norm_first": True, "normalize_waveform": True}
STILL: dict[str, Any] = {"dropout": 0.0, "attention_dropout": 0.0}
HUBERT = HubertConfig()  # above all its frames: 400 samples long, 320 apart
NET = HubertConfig(conv_channels=(8,) * 7, embed_dim=32, head_dim=8, num_heads=(4, 2, 3), ffn_dim=(48, 40, 24),
                   pos_conv_kernel=16, pos_conv_groups=4)  # fmt: skip
WHOLE_GROUPS = HubertConfig(conv_channels=(8, 12, 12, 12, 12, 12, 16), embed_dim=48, head_dim=4, num_heads=(6,) * 4,
                            ffn_dim=(96,) * 4, pos_conv_kernel=8, pos_conv_groups=6,
                            pos_conv_fixed="group_dim")  # fmt: skip

# A teacher; a parent that is narrower and shallower than it, and wider than the space's largest subnet.
SIZES: dict[str, Any] = {"conv_channels": [8] * 7, "head_dim": 8, "pos_conv_kernel": 16, "pos_conv_fixed": "group_dim"}
TEACHER = {**SIZES, **STILL, "embed_dim": 48, "num_heads": [6] * 5, "ffn_dim": [96] * 5, "pos_conv_groups": 6}
PARENT = {**SIZES, **STILL, "embed_dim": 40, "num_heads": [4] * 4, "ffn_dim": [80] * 4, "pos_conv_groups": 5}
SPACE = {"parent": PARENT, "embed_dim": [16, 24, 32], "num_layers": [2, 3, 4], "num_heads": [2, 3, 4],
         "ffn_ratio": [1.0, 1.5, 2.0], "conv_channels": [[4] * 7, [8] * 7], "layer_rule": "spread",
         "ffn_rule": "prefix"}  # fmt: skip

# A space of 480 archs, few enough to try all of them; an arch in it.
FEW = SearchSpace.from_dict({
    "parent": {**SIZES, "embed_dim": 32, "num_heads": [4] * 3, "ffn_dim": [64] * 3, "pos_conv_groups": 4},
    "name": "few", "embed_dim": [16, 24, 32], "num_layers": [2, 3], "num_heads": [2, 4], "ffn_ratio": [1.0, 2.0],
    "conv_channels": [[4] * 7, [8] * 7],
})  # fmt: skip
ARCH = {"embed_dim": 16, "num_layers": 2, "num_heads": [2, 4], "ffn_ratio": 2.0, "conv_channels": 4}

# A space whose two convolutions are chosen one by one.
TWO_CONVS = {"parent": {"embed_dim": 32, "head_dim": 8, "num_heads": [3] * 3, "ffn_dim": [64] * 3,
                        "conv_channels": [6, 8], "conv_kernels": [10, 3], "conv_strides": [5, 2], "pos_conv_groups": 4},
             "embed_dim": [16, 24], "num_layers": [1, 2], "num_heads": [1, 3], "ffn_ratio": [1.5, 2.0],
             "conv_channels": [4, 6]}  # fmt: skip

# A space of every kind: how FFN units are cut, how convolutions are chosen, which groups, Base or Large.
DEEP = {"conv_channels": [16] * 7, "embed_dim": 48, "head_dim": 4, "num_heads": [6] * 12, "ffn_dim": [192] * 12,
        "pos_conv_kernel": 8, "pos_conv_groups": 4, **STILL}  # fmt: skip
STRIDED = {"parent": DEEP, "embed_dim": [16, 24, 32], "num_layers": [10, 11, 12], "num_heads": [2, 3, 4],
           "ffn_ratio": [3.0, 3.5, 4.0], "conv_channels": [16], "layer_rule": "lighthubert",
           "ffn_rule": "strided"}  # fmt: skip
SPACES: dict[str, dict[str, Any]] = {
    "strided": STRIDED,
    "prefix_conv": {**STRIDED, "conv_channels": [4, 8, 16], "ffn_rule": "prefix"},
    "whole_groups": {
        "parent": {**DEEP, "num_heads": [6] * 5, "ffn_dim": [192] * 5, "pos_conv_groups": 6,
                   "pos_conv_fixed": "group_dim"},
        "embed_dim": [16, 32, 48], "num_layers": [3, 4, 5], "num_heads": [2, 4, 6], "ffn_ratio": [2.0, 4.0],
        "conv_channels": [[4, 8, 8, 8, 8, 8, 8], [16] * 7],
    },
    "large": {
        "parent": {**DEEP, **LARGE, "num_heads": [6] * 3, "ffn_dim": [192] * 3, "pos_conv_depth": 2,
                   "pos_conv_kernel": 5},
        "embed_dim": [16, 48], "num_layers": [1, 3], "num_heads": [1, 6], "ffn_ratio": [0.5, 4.0],
        "conv_channels": [4, 16],
    },
}  # fmt: skip

# Parts of recipes.
DATA = {"max_seconds": 4.0, "max_clip_seconds": 1.5, "min_clip_seconds": 0.5, "window": 6, "threads": 0,
        "reader": "torch"}  # fmt: skip
SUBNETS = ["largest", "smallest", "random"]
FRAMES = {"mask_prob": 0.5, "mask_length": 4, "masked_weight": 1.0, "unmasked_weight": 0.25}
TRAIN = {"steps": 8, "lr": 5e-3, "warmup_steps": 2, "save_every": 3, "eval_every": 4, "log_every": 2}


@torch.no_grad()
def jittered(net: Net, gain: float = 1.0, amount: float = 0.2) -> Net:
    """Norms and biases random too, so that none is trivially 1 or 0; matrices times `gain`, as those of a new net are
    so small that attention and GELU are almost linear. In evaluation mode."""
    for parameter in net.parameters():
        if parameter.ndim == 1:
            parameter += amount * torch.randn_like(parameter)
        elif parameter.ndim == 2:
            parameter *= gain
    return net.eval()


def random_hubert(config: HubertConfig, seed: int = 0, gain: float = 1.0) -> Hubert:
    torch.manual_seed(seed)
    return jittered(Hubert(config), gain)


def random_supernet(space: SearchSpace, heads: tuple[str, ...] = (), width: int = 48, gain: float = 1.0) -> Supernet:
    """With these heads, which predict `width` numbers."""
    torch.manual_seed(0)
    supernet = jittered(Supernet(space), gain)
    supernet.head.update({key: nn.Linear(space.parent.embed_dim, width, bias=False) for key in heads})
    return supernet


def every_arch(space: SearchSpace) -> list[Arch]:
    """All of a small space whose convolutions are chosen together."""
    archs = []
    for n, embed, convs in itertools.product(space.num_layers, space.embed_dim, space.conv_channels):
        for heads in itertools.product(space.num_heads, repeat=n):
            for ffn in itertools.product(space.ffn_dims(embed), repeat=n):
                archs.append(Arch(embed, heads, ffn, convs, space.layers(n)))
    assert len(set(archs)) == space.num_archs
    return archs


def write_nets(folder: Path) -> None:
    """net.safetensors, supernet.safetensors, and arch.yaml, an arch of the latter."""
    save(random_hubert(NET), folder / "net.safetensors")
    save(random_supernet(FEW), folder / "supernet.safetensors")
    write_yaml(folder / "arch.yaml", ARCH)


def write_clips(path: Path, clips: Manifest, rows: list[int], columns: tuple[str, ...] = ()) -> None:
    """A manifest of some clips of another one."""
    files = [
        {"path": str(Path(clips.file_path(row)).resolve()), "samples": clips.samples[row]}
        | {name: clips.columns["transcript" if name == "text" else name][row] for name in columns}
        for row in rows
    ]
    names = ("path", "samples", *columns)
    write_manifest(path, names, [{name: file[name] for name in names} for file in files])


def write_world(folder: Path) -> Path:
    """teacher.safetensors; space.yaml; supernet.safetensors, of FEW, with a head; manifests of clips of 2 to 3 seconds:
    train.tsv (12), few.tsv (3 of them), valid.tsv (4), test.tsv (3 others)."""
    save(random_hubert(HubertConfig.from_dict(TEACHER)), folder / "teacher.safetensors")
    write_yaml(folder / "space.yaml", SPACE)
    supernet = random_supernet(FEW, heads=("last",))
    target = {"layers": 2, "tap": "ffn", "normalize": "layer", "pairs": []}
    supernet.predicts = {"teacher": str(folder / "teacher.safetensors"), **target}
    save(supernet, folder / "supernet.safetensors")
    for name, split, part in (("train", "train", slice(12)), ("few", "train", slice(3)),
                              ("valid", "valid", slice(4)), ("test", "valid", slice(4, 7))):  # fmt: skip
        clips = Manifest.read(MINI / f"{split}.tsv")
        chosen = [row for row in range(len(clips)) if 32000 < clips.samples[row] < 48000]
        write_clips(folder / f"{name}.tsv", clips, chosen[part])
    return folder


def write_labelled_world(folder: Path) -> Path:
    """net.safetensors; train.tsv and valid.tsv, six and four clips of 1.5 to 3 seconds with their text, half English,
    half Russian."""
    save(random_hubert(HubertConfig.from_dict(TEACHER)), folder / "net.safetensors")
    for name, each in (("train", 3), ("valid", 2)):
        clips = Manifest.read(MINI / f"{name}.tsv")
        short = [row for row in range(len(clips)) if 24000 < clips.samples[row] < 48000]
        chosen = [[r for r in short if clips.columns["language"][r] == lang][:each] for lang in ("en", "ru")]
        write_clips(folder / f"{name}.tsv", clips, [*chosen[0], *chosen[1]], ("text", "language"))
    return folder


def recipe_values(world: Path, **changes: Any) -> dict[str, Any]:
    """The keys of a distillation in a world; sections are merged."""
    nets = {"teacher": str(world / "teacher.safetensors"), "space": str(world / "space.yaml"), "subnets": ["parent"]}
    return merged({**nets, **manifests(world), "target": {"layers": 3}, "data": DATA, "train": TRAIN}, changes)


def unit_values(world: Path, **changes: Any) -> dict[str, Any]:
    """The keys of a run from nothing."""
    units = {"objective": "units", "model": PARENT, "units": {"num_units": 8, "fit_clips": 6}}
    return merged({**units, **manifests(world), "data": DATA, "train": TRAIN}, changes)


def task_values(world: Path, **changes: Any) -> dict[str, Any]:
    """The keys of a CTC run in a labelled world."""
    train = {"steps": 4, "lr": 1e-3, "schedule": "tri_stage", "eval_every": 4, "log_every": 2}
    values = {"init": str(world / "net.safetensors"), **manifests(world), "task": {"column": "text"}, "train": train}
    return merged({**values, "data": {**DATA, "max_clip_seconds": 3.0}}, changes)


def classes(world: Path, **changes: Any) -> dict[str, Any]:
    """The same, to tell languages."""
    task = {"kind": "classify", "column": "language", "layers": "weighted"}
    return merged(task_values(world, task=task), changes)


def manifests(world: Path) -> dict[str, str]:
    return {f"{split}_manifest": str(world / f"{split}.tsv") for split in ("train", "valid")}


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
    from lighthubert.pretrain.distill import Distillation
    from lighthubert.pretrain.recipe import Distill
    from lighthubert.schema import parse

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
    """Noise of these lengths, as clips of consecutive rows."""
    generator = torch.Generator().manual_seed(first_row)
    lengths = torch.tensor(samples)
    waveform = torch.randn(len(samples), max(samples), generator=generator)
    waveform *= torch.arange(max(samples)) < lengths[:, None]
    rows = tuple(range(first_row, first_row + len(samples)))
    return Batch(waveform, lengths, rows, (0,) * len(samples), epoch)


def table_rows(text: str, start: str) -> list[list[str]]:
    """The cells of a printed table's lines that start with this."""
    lines = [re.sub("[│┃|]", "|", line).strip().strip("|").split("|") for line in text.splitlines()]
    return [[cell.strip() for cell in line] for line in lines if line[0].strip() == start]
