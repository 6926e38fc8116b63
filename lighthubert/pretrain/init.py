"""Where a supernet's weights start."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import torch
from torch import Tensor, nn

from lighthubert.checkpoint import load_teacher
from lighthubert.elastic import SearchSpace, Subnet, Supernet, select
from lighthubert.elastic.rules import kept_layers
from lighthubert.models import Hubert, HubertConfig
from lighthubert.objectives import TargetConfig

FREE = ("layers", "normalize_waveform", "dropout", "attention_dropout", "ffn_dropout")  # no weight depends on them


def build_supernet(space: SearchSpace, teacher: Hubert, init: str, target: TargetConfig, seed: int) -> Supernet:
    """A supernet with heads for the target, initialised at random, from the teacher's slices, or from a file.

    Raises ValueError if the sizes of file or teacher do not allow it.
    """
    torch.manual_seed(seed)
    supernet = Supernet(space)
    width = teacher.config.embed_dim
    supernet.head = nn.ModuleDict({key: nn.Linear(space.parent.embed_dim, width, bias=False) for key in target.keys})
    if init == "random":
        return supernet
    source = teacher if init == "teacher" else load_teacher(init)
    hubert = source.hubert if isinstance(source, Supernet) else source
    try:
        supernet.hubert.load_state_dict(slices(hubert, space.parent))
    except ValueError as error:
        raise ValueError(f"init {init!r}: {error}") from None
    if isinstance(source, Supernet):
        same = {key: head for key, head in source.head.items() if key in supernet.head}
        for key, head in same.items():
            if head.weight.shape == supernet.head[key].weight.shape:
                supernet.head[key].load_state_dict(head.state_dict())
    return supernet


def slices(source: Hubert, config: HubertConfig) -> dict[str, Tensor]:
    """The leading units and evenly spread layers of a net that fill one of these sizes.

    Raises ValueError that names every size that does not fit.
    """
    own = source.config
    if config.num_layers > own.num_layers:
        raise ValueError(f"it has {own.num_layers} layers, the supernet's parent {config.num_layers}")
    layers = kept_layers("spread", config.num_layers, own.num_layers)
    units = {"embed": range(config.embed_dim)} | {f"conv{i}": range(n) for i, n in enumerate(config.conv_channels)}
    for i, layer in enumerate(layers):
        units |= {f"heads{layer}": range(config.num_heads[i]), f"ffn{layer}": range(config.ffn_dim[i])}
    subnet = Subnet(layers, units)
    sliced = subnet.config(own)
    if rows := differing(sliced, config):
        raise ValueError("its slices are not the supernet's parent: " + "; ".join(rows))
    with torch.no_grad():
        return {k: v.clone() for k, v in select(dict(source.named_parameters()), subnet, own).items()}


def differing(found: HubertConfig, wanted: HubertConfig) -> list[str]:
    """A row for each size that is not the wanted one."""
    keys = [f.name for f in fields(wanted) if f.name not in FREE]
    pairs = ((key, getattr(found, key), getattr(wanted, key)) for key in keys)
    return [f"{key}: {a} instead of {b}" for key, a, b in pairs if a != b]


def require_sizes(name: str, found: HubertConfig, wanted: HubertConfig) -> None:
    """Raise ValueError that names every key in which a file differs from the recipe's model."""
    if rows := differing(found, wanted):
        raise ValueError(f"init {name!r}: not the sizes of model: " + "; ".join(rows))


def load_hubert(name: str | Path) -> Hubert:
    """A teacher; the net that holds the weights, where the file is a supernet."""
    source = load_teacher(name)
    return source.hubert if isinstance(source, Supernet) else source
