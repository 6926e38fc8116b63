"""The rules of a search space: which layers and FFN units an arch takes, how choices are written."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from typing import Any

from lighthubert.elastic.subnet import Units
from lighthubert.models import HubertConfig

MOST_CHOICES, LARGEST = 1000, 2**31  # more than a space needs, and few enough to be looked at one by one
PARENTS = {"hubert_base": HubertConfig.base, "hubert_large": HubertConfig.large}
# Layers that the released LightHuBERT leaves out of 12, 0-based, by depth.
DROPPED: dict[int, tuple[int, ...]] = {
    12: (),
    11: (11,),
    10: (7, 11),
    9: (3, 7, 11),
    8: (3, 7, 10, 11),
    7: (3, 6, 7, 10, 11),
    6: (2, 3, 6, 7, 10, 11),
}


def kept_layers(rule: str, num_layers: int, parent_layers: int) -> tuple[int, ...]:
    """The parent's layers that a subnet of `num_layers` keeps.

    "lighthubert": the released table for 12 layers; "spread": evenly spread, the first and the last among them.
    """
    if rule == "lighthubert":
        return tuple(i for i in range(12) if i not in DROPPED[num_layers])
    last = parent_layers - 1
    return tuple(round(i * last / (num_layers - 1)) for i in range(num_layers)) if num_layers > 1 else (last,)


@functools.lru_cache(maxsize=1024)
def ffn_units(rule: str, ffn_dim: int, embed_dim: int, parent_embed_dim: int) -> Units:
    """The parent's FFN units that a subnet keeps.

    "prefix": the first ones; "strided": the released LightHuBERT's, where the parent's units are blocks of its
    embed_dim and a subnet takes the first `embed_dim` units of each block until it has enough.
    """
    if rule == "prefix" or embed_dim == parent_embed_dim:
        return range(ffn_dim)
    return tuple(ffn_unit(rule, i, embed_dim, parent_embed_dim) for i in range(ffn_dim))


def ffn_unit(rule: str, i: int, embed_dim: int, parent_embed_dim: int) -> int:
    """The parent's FFN unit that is a subnet's i-th."""
    return i if rule == "prefix" else i // embed_dim * parent_embed_dim + i % embed_dim


def parse_parent(value: Any) -> HubertConfig:
    if isinstance(value, Mapping):
        return HubertConfig.from_dict(value)
    if not isinstance(value, str) or value not in PARENTS:
        raise ValueError(f"must be one of {', '.join(PARENTS)} or a mapping of HubertConfig's keys, got {value!r}")
    return PARENTS[value]()


def parse_choices(value: Any, kind: type, nested: bool = False, choices: bool = True) -> tuple[Any, ...]:
    """A list of choices as a tuple; `nested` allows lists of integers as choices. Raises TypeError."""
    if not isinstance(value, (list, tuple)) or not value:
        raise TypeError("expected a list of choices, one or more")
    if len(value) > MOST_CHOICES:
        raise TypeError(f"expected {MOST_CHOICES:,} choices at most")
    lists = [isinstance(v, (list, tuple)) for v in value]
    if nested and all(lists):
        joint = tuple(parse_choices(v, kind, choices=False) for v in value)
        if len(set(joint)) < len(joint):
            raise TypeError("expected choices that differ")
        return joint
    allowed = (int, float) if kind is float else (int,)
    if any(type(v) not in allowed or not 0 < v < math.inf for v in value):
        raise TypeError(f"expected positive {'numbers' if kind is float else 'integers'}")
    if max(value) >= LARGEST:
        raise TypeError(f"expected numbers below {LARGEST:,}")
    if choices and len(set(value)) < len(value):
        raise TypeError("expected choices that differ")
    return tuple(kind(v) for v in value)
