"""Importance: order the units of every axis so that prefixes, which smaller subnets take, are the best ones."""

from __future__ import annotations

import torch
from torch import Tensor

from lighthubert.elastic.axes import EMBED, Axis, axes, axis_sizes, rows_per_unit
from lighthubert.elastic.subnet import Subnet, copied
from lighthubert.models import Hubert


@torch.no_grad()
def importance(hubert: Hubert) -> dict[Axis, Tensor]:
    """A score of every unit of every axis: the L1 norm of the weights that consume it (Once-for-all, Cai et al. 2020).

    Axis -> (units,) float.
    """
    config = hubert.config
    scores = {axis: torch.zeros(size) for axis, size in axis_sizes(config).items()}
    for name, weight in hubert.named_parameters():
        named = axes(name, len(config.conv_channels))
        if len(named) > 1 and named[1] in scores:
            consumed = weight.abs().float().transpose(0, 1).flatten(1).sum(1).cpu()
            scores[named[1]] += consumed.reshape(-1, rows_per_unit(named[1], config)).sum(1)
    return scores


def ranking(hubert: Hubert, scores: dict[Axis, Tensor]) -> dict[Axis, tuple[int, ...]]:
    """Units by falling score, as `reorder` takes them.

    "embed" moves in whole groups of the positional convolution, and all groups share one order of their channels.
    """
    order = {axis: tuple(score.argsort(descending=True, stable=True).tolist()) for axis, score in scores.items()}
    table = scores[EMBED].reshape(hubert.config.pos_conv_groups, -1)
    groups = table.sum(1).argsort(descending=True, stable=True)
    channels = table.sum(0).argsort(descending=True, stable=True)
    return order | {EMBED: tuple((groups[:, None] * table.shape[1] + channels).flatten().tolist())}


def reorder(hubert: Hubert, order: dict[Axis, tuple[int, ...]]) -> Hubert:
    """The same function with the units of its axes in another order.

    order: axis -> permutation of its units; axes that are not named stay. Raises ValueError for anything else.
    """
    sizes = axis_sizes(hubert.config)
    if others := [axis for axis, units in order.items() if sorted(units) != list(range(sizes.get(axis, 0)))]:
        raise ValueError(f"reorder: {', '.join(map(str, others))}: not a permutation of an axis of this net")
    subnet = Subnet(tuple(range(hubert.config.num_layers)), order)
    subnet.config(hubert.config)  # for its errors
    return copied(hubert, subnet, hubert.config)
