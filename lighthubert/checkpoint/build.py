"""From translated tensors to a net: sizes read from shapes, then every tensor in its place or one error for all."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from lighthubert.checkpoint.errors import CheckpointError
from lighthubert.checkpoint.keys import Weights
from lighthubert.elastic import SearchSpace, Supernet, shapes, skeleton
from lighthubert.models import Hubert, HubertConfig

WIDE = ("frontend.proj.weight:0", "frontend.proj.bias:0", "encoder.norm.weight:0", "mask_embed:0")  # as the Transformer
Net = TypeVar("Net", Hubert, Supernet)


def infer_config(weights: Weights, *, num_layers: int | None = None, width: int | None = None,
                 sizes: Mapping[str, tuple[str, Any]] | None = None, **known: Any) -> HubertConfig:  # fmt: skip
    """The sizes of the net that these tensors are.

    num_layers, width: what the file's settings say, if it has any; a whole layer may be missing. sizes: the others that
    they say, as (our name, size). known: what no tensor tells (conv_strides, head_dim, norm_first, dropouts), if it is
    not HuBERT Base's, and what need not be inferred.
    A size is what most of the tensors that share it say, and any where there is none: what is missing is reported when
    the net is built. Raises CheckpointError for sizes that no net has.
    """
    head_dim, depth = known.get("head_dim", HubertConfig.head_dim), _count(weights, "encoder.layers")
    num_convs = len(known.get("conv_strides", HubertConfig.conv_strides))
    embed_dim = _size(weights, 1, *WIDE)
    for said, there, what in ((num_layers, depth, "layers"), (width, embed_dim, "wide")):
        if said not in (None, there):
            weights.problems.append(f"{said} {what} by the settings, but tensors of {there}")
    groups, rest = divmod(embed_dim, _size(weights, embed_dim, "encoder.pos_convs.0.weight:1"))
    try:
        inferred: dict[str, Any] = dict(  # noqa: C408  as arguments
            conv_channels=tuple(_channels(weights, i, num_convs) for i in range(num_convs)),
            conv_kernels=tuple(_size(weights, 1, f"frontend.convs.{i}.weight:2") for i in range(num_convs)),
            conv_scale="frontend.scale" in weights.tensors,
            conv_bias=any(f"frontend.convs.{i}.bias" in weights.tensors for i in range(num_convs)),
            conv_norm="layer" if weights.layer_norms else "group",
            embed_dim=embed_dim,
            num_heads=tuple(_heads(weights, i, head_dim) for i in range(depth)),
            ffn_dim=tuple(_ffn_units(weights, i, 4 * embed_dim) for i in range(depth)),
            pos_conv_kernel=_size(weights, 1, "encoder.pos_convs.0.weight:2"),
            pos_conv_groups=1 if rest else groups,
            pos_conv_depth=_count(weights, "encoder.pos_convs"),
        )
        config = HubertConfig(**inferred | known)
    except ValueError as error:
        raise CheckpointError(f"{weights.path}: {error}") from None
    if not weights.problems:  # else sizes may be those of what is missing
        weights.problems += _contradictions(config, sizes or {})
    return config


def _contradictions(config: HubertConfig, sizes: Mapping[str, tuple[str, Any]]) -> Iterator[str]:
    for key, (name, said) in sizes.items():
        there = config.to_dict()[name]
        if there != ([said] * len(there) if isinstance(there, list) and isinstance(said, int) else said):
            yield f"{key}: {said} by the settings, but tensors of {there}"


def _count(weights: Weights, modules: str) -> int:
    """How many modules are numbered below this name; one that is missing among them counts too."""
    matches = (re.match(re.escape(modules) + r"\.(\d+)\.", name) for name in weights.tensors)
    numbers = {int(match[1]) for match in matches if match}
    count = max(numbers, default=-1) + 1
    if not numbers or count > 2 * len(numbers):
        numbered = f"{modules}: expected numbers from 0 up, got {sorted(numbers) or 'none'}"
        raise _misfit(weights, [*weights.problems, numbered])
    return count


def _size(weights: Weights, default: int, *places: str) -> int:
    """The size that most of these "tensor:dimension" have, `default` if there is none."""
    sizes = Counter[int]()
    for place in places:
        name, dim = place.split(":")
        tensor = weights.tensors.get(name)
        if tensor is not None and tensor.ndim > int(dim) and tensor.shape[int(dim)]:
            sizes[tensor.shape[int(dim)]] += 1
    return sizes.most_common(1)[0][0] if sizes else default


def _channels(weights: Weights, conv: int, num_convs: int) -> int:
    following = f"frontend.convs.{conv + 1}.weight:1" if conv + 1 < num_convs else "frontend.norm.weight:0"
    return _size(weights, 1, f"frontend.convs.{conv}.weight:0", f"frontend.norms.{conv}.weight:0", following)


def _heads(weights: Weights, layer: int, head_dim: int) -> int:
    leaves = [f"encoder.layers.{layer}.attention.{x}_proj.{leaf}:0" for leaf in ("weight", "bias") for x in "qkv"]
    rows = _size(weights, head_dim, *leaves)
    if rows % head_dim:
        raise ValueError(f"attention with {rows} rows is no whole number of heads of {head_dim}")
    return rows // head_dim


def _ffn_units(weights: Weights, layer: int, default: int) -> int:
    fc1, fc2 = f"encoder.layers.{layer}.fc1", f"encoder.layers.{layer}.fc2"
    return _size(weights, default, f"{fc1}.weight:0", f"{fc1}.bias:0", f"{fc2}.weight:1")


def _misfit(weights: Weights, problems: list[str]) -> CheckpointError:
    return CheckpointError(f"{weights.path}: not a whole net in {weights.layout.name} layout: {'; '.join(problems)}")


def build_hubert(weights: Weights, config: HubertConfig) -> Hubert:
    """A net of these tensors in fp32, for evaluation. Raises CheckpointError that lists every key that does not fit."""
    _check(weights, shapes(config))
    return _fill(skeleton(config), weights)


def build_supernet(weights: Weights, space: SearchSpace, predicts: dict[str, Any] | None) -> Supernet:
    """A supernet of these tensors and its heads; errors as in `build_hubert`."""
    heads = {name: t for name, t in weights.tensors.items() if name.startswith("head.")}
    widths = {name.split(".")[1]: tensor.shape[0] if tensor.ndim else 1 for name, tensor in heads.items()}
    expected = {f"head.{name}.weight": (width, space.parent.embed_dim) for name, width in widths.items()}
    _check(weights, shapes(space.parent) | expected)
    with torch.device("meta"):
        net = Supernet(space)
        for name, width in widths.items():
            net.head[name] = nn.Linear(space.parent.embed_dim, width, bias=False)
    net.predicts = predicts
    return _fill(net, weights)


def _check(weights: Weights, expected: Mapping[str, tuple[int, ...]]) -> None:
    """Raises CheckpointError that lists every key that does not fit. No net is built before: its sizes are those of
    the file, not those that the file says."""
    original, problems = weights.layout.original, [*weights.problems]
    problems += [f"{original(name)}: missing" for name in expected if name not in weights.tensors]
    for name, tensor in weights.tensors.items():
        if name not in expected:
            problems.append(f"{weights.sources[name]}: unexpected")
        elif tensor.shape != expected[name]:
            problems.append(f"{weights.sources[name]}: shape {tuple(tensor.shape)}, expected {expected[name]}")
    if problems:
        raise _misfit(weights, problems)


@torch.no_grad()
def _fill(net: Net, weights: Weights) -> Net:
    """Put every tensor in its place, as fp32 with its own storage; the net, for evaluation."""
    holders = Counter(tensor.untyped_storage().data_ptr() for tensor in weights.tensors.values())

    def own(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        alone = holders[storage.data_ptr()] == 1 and storage.nbytes() == tensor.numel() * tensor.element_size()
        return tensor.detach().to(torch.float32, copy=not alone, memory_format=torch.contiguous_format)

    state = {name: own(weights.tensors[name.removeprefix("hubert.")]) for name, _ in net.named_parameters()}
    net.load_state_dict(state, assign=True)
    return net.eval()
