"""Which message a wrong subnet gets."""

from __future__ import annotations

import dataclasses
import re

import pytest
import torch
from tiny import WHOLE_GROUPS as WHOLE

from lighthubert.elastic import EMBED, Axis, Subnet, conv, extract, ffn, heads, select
from lighthubert.models import Hubert, HubertConfig

FIXED = dataclasses.replace(WHOLE, pos_conv_fixed="groups")
GROUPS = (
    "embed: other units than the first ones must be whole groups of the positional convolution (8 each), "
    "with one order of channels in all of them"
)
DISTINCT = "distinct units within 0 and"
NO_GROUPS = "are not whole groups of the positional convolution (8 each)"
WRONG: dict[str, tuple[HubertConfig, Subnet, str]] = {
    "unknown axis": (
        WHOLE,
        Subnet((0,), {Axis("width"): range(3), heads(9): range(1)}),
        "Subnet: width: the parent has no such axis; heads9: ",
    ),
    "an axis as text": (WHOLE, Subnet((0,), {"heads0": range(1)}), "Subnet: 'heads0': the parent has no such axis"),  # type: ignore[dict-item]
    "unknown layer": (WHOLE, Subnet((0, 4)), "Subnet: layers: the parent has 4, got (0, 4)"),
    "no layers": (WHOLE, Subnet(()), "HubertConfig: num_heads: needs an integer from 0 up for every layer, got ()"),
    "layers in another order": (
        WHOLE,
        Subnet((1, 0)),
        "HubertConfig: layers: must be rising indices from 0 up, got (1, 0)",
    ),
    "a layer twice": (WHOLE, Subnet((1, 1)), "HubertConfig: layers: must be rising indices from 0 up, got (1, 1)"),
    "too many units": (WHOLE, Subnet((0,), {ffn(0): range(97)}), f"Subnet: ffn0: needs {DISTINCT} 95"),
    "a unit twice": (WHOLE, Subnet((0,), {heads(0): (1, 1)}), f"Subnet: heads0: needs {DISTINCT} 5"),
    "a negative unit": (WHOLE, Subnet((0,), {conv(0): (-1, 2)}), f"Subnet: conv0: needs {DISTINCT} 7, one or more"),
    "no units": (WHOLE, Subnet((0,), {conv(6): ()}), f"Subnet: conv6: needs {DISTINCT} 15, one or more"),
    "every other unit as a range": (
        WHOLE,
        Subnet((0,), {conv(6): range(0, 16, 2)}),
        f"Subnet: conv6: needs {DISTINCT} 15, one or more",
    ),
    "a scale of no axis": (WHOLE, Subnet((0,), {}, {heads(9): torch.ones(1)}), "Subnet: scales: heads9: is no axis"),
    "a scale of embed": (WHOLE, Subnet((0,), {}, {EMBED: torch.ones(48)}), "Subnet: scales: embed: is no axis"),
    "too many scales": (
        WHOLE,
        Subnet((0,), {heads(0): (1, 3)}, {heads(0): torch.ones(6)}),
        "Subnet: scales: heads0: needs a number for each kept unit, got shape (6,)",
    ),
    "half a group at the front": (WHOLE, Subnet((0,), {EMBED: range(12)}), f"embed: 12 {NO_GROUPS}"),
    "half a group at the end": (WHOLE, Subnet((0,), {EMBED: range(20)}), f"embed: 20 {NO_GROUPS}"),
    "half a group": (WHOLE, Subnet((0,), {EMBED: tuple(range(4, 12))}), GROUPS),
    "groups apart": (WHOLE, Subnet((0,), {EMBED: tuple(range(0, 48, 6))}), GROUPS),
    "orders that differ": (WHOLE, Subnet((0,), {EMBED: (*range(8), *reversed(range(8, 16)))}), GROUPS),
    "fewer groups where their number is fixed": (FIXED, Subnet((0,), {EMBED: tuple(range(24, 48))}), GROUPS),
    "a width that the groups do not divide": (
        FIXED,
        Subnet((0,), {EMBED: range(20)}),
        "HubertConfig: embed_dim: must be a multiple of pos_conv_groups=6, got 20",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_subnets(case: str) -> None:
    """Of a net and of bare parameters alike."""
    parent, subnet, message = WRONG[case]
    hubert = Hubert(parent)
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        extract(hubert, subnet)
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        select(dict(hubert.named_parameters()), subnet, parent)
