"""Subnets against slices written out by hand and against nets with zeros in place of what was cut."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from typing import Any

import pytest
import torch
from tiny import WHOLE_GROUPS as WHOLE
from torch import Tensor, nn

from lighthubert.elastic import EMBED, Axis, SearchSpace, Subnet, Supernet, conv, extract, ffn, heads, reorder, select
from lighthubert.models import Hubert, HubertConfig

FIXED = dataclasses.replace(WHOLE, pos_conv_fixed="groups")


def make(config: HubertConfig) -> Hubert:
    torch.manual_seed(0)
    net = Hubert(config).eval()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(0.3 * torch.randn_like(parameter))
    return net


def clips() -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    return torch.randn(2, 6400), torch.tensor([6400, 4000])


@torch.no_grad()
def assert_same_function(net: Hubert, other: Hubert, tolerance: float = 2e-5) -> None:
    for a, b in zip(net(*clips()).hidden_states[1:], other(*clips()).hidden_states[1:], strict=True):
        assert (a - b).abs().max() < tolerance * b.std()


@pytest.mark.parametrize("name", ["small", "mini"])
def test_prefixes_written_out(name: str) -> None:
    """The cuts of the released model, by hand: leading rows and columns, but for strided FFN units."""
    space = SearchSpace.load(name)
    torch.manual_seed(0)
    parent = {n: torch.rand_like(p, device="cpu") for n, p in Hubert(space.parent).named_parameters()}
    arch = space.smallest()
    found = select(parent, space.subnet(arch), space.parent)
    e, head_dim, width = arch.embed_dim, space.parent.head_dim, space.parent.embed_dim
    per_group = e // space.config(arch).pos_conv_groups
    expected = {"mask_embed": parent["mask_embed"][:e]}
    inputs = (1, *arch.conv_channels)
    for i, n in enumerate(arch.conv_channels):
        expected[f"frontend.convs.{i}.weight"] = parent[f"frontend.convs.{i}.weight"][:n, : inputs[i]]
    for leaf in ("weight", "bias"):
        expected[f"frontend.norms.0.{leaf}"] = parent[f"frontend.norms.0.{leaf}"][: inputs[1]]
        expected[f"frontend.norm.{leaf}"] = parent[f"frontend.norm.{leaf}"][: inputs[-1]]
        expected[f"encoder.norm.{leaf}"] = parent[f"encoder.norm.{leaf}"][:e]
    expected["frontend.proj.weight"] = parent["frontend.proj.weight"][:e, : inputs[-1]]
    expected["frontend.proj.bias"] = parent["frontend.proj.bias"][:e]
    expected["encoder.pos_convs.0.weight"] = parent["encoder.pos_convs.0.weight"][:e, :per_group]
    expected["encoder.pos_convs.0.bias"] = parent["encoder.pos_convs.0.bias"][:e]
    for new, old in enumerate(arch.layers):
        a, f = arch.num_heads[new] * head_dim, arch.ffn_dim[new]
        blocks = [parent_rows for start in range(0, 4 * width, width) for parent_rows in range(start, start + e)]
        units = torch.tensor(blocks[:f] if name == "small" else range(f))
        theirs, ours = f"encoder.layers.{old}.", f"encoder.layers.{new}."
        for x in "qkv":
            expected[f"{ours}attention.{x}_proj.weight"] = parent[f"{theirs}attention.{x}_proj.weight"][:a, :e]
            expected[f"{ours}attention.{x}_proj.bias"] = parent[f"{theirs}attention.{x}_proj.bias"][:a]
        expected[f"{ours}attention.out_proj.weight"] = parent[f"{theirs}attention.out_proj.weight"][:e, :a]
        expected[f"{ours}fc1.weight"] = parent[f"{theirs}fc1.weight"][units][:, :e]
        expected[f"{ours}fc1.bias"] = parent[f"{theirs}fc1.bias"][units]
        expected[f"{ours}fc2.weight"] = parent[f"{theirs}fc2.weight"][:e][:, units]
        for key in (
            "attention.out_proj.bias",
            "fc2.bias",
            *(f"{n}.{w}" for n in ("attention_norm", "ffn_norm") for w in ("weight", "bias")),
        ):
            expected[ours + key] = parent[theirs + key][:e]
    assert found.keys() == expected.keys()
    for key, tensor in expected.items():
        assert torch.equal(found[key], tensor), key


def test_slices_are_views_and_choices_are_copies() -> None:
    net = make(WHOLE)
    params = dict(net.named_parameters())
    subnet = Subnet((0, 2), {EMBED: range(32), heads(0): range(2, 4), ffn(0): (5, 3, 9), conv(3): (1, 3, 5)})
    found = select(params, subnet, WHOLE)

    def shares(name: str, source: str) -> bool:
        return found[name].untyped_storage().data_ptr() == params[source].untyped_storage().data_ptr()

    assert shares("mask_embed", "mask_embed")
    assert shares("encoder.layers.0.attention.q_proj.weight", "encoder.layers.0.attention.q_proj.weight")
    assert shares("encoder.layers.1.fc1.weight", "encoder.layers.2.fc1.weight")
    assert not shares("encoder.layers.0.fc1.weight", "encoder.layers.0.fc1.weight")
    assert not shares("frontend.convs.3.weight", "frontend.convs.3.weight")
    assert torch.equal(
        found["encoder.layers.0.attention.q_proj.weight"], params["encoder.layers.0.attention.q_proj.weight"][8:16, :32]
    )
    assert torch.equal(found["frontend.convs.4.weight"], params["frontend.convs.4.weight"][:, [1, 3, 5]])


def zero_heads(net: Hubert, layer: int, keep: tuple[int, ...]) -> None:
    attention: Any = net.encoder.layers[layer].attention
    for head in set(range(6)) - set(keep):
        attention.out_proj.weight[:, 4 * head : 4 * head + 4] = 0


def zero_ffn(net: Hubert, layer: int, keep: tuple[int, ...]) -> None:
    fc2: Any = net.encoder.layers[layer].fc2
    fc2.weight[:, [u for u in range(96) if u not in keep]] = 0


def zero_conv(net: Hubert, i: int, keep: tuple[int, ...]) -> None:
    following: Any = net.frontend.convs[i + 1]
    following.weight[:, [c for c in range(net.config.conv_channels[i]) if c not in keep]] = 0


@pytest.mark.parametrize("parent", [WHOLE, FIXED], ids=["whole groups", "fixed groups"])
@torch.no_grad()
def test_kept_units_against_zeros(parent: HubertConfig) -> None:
    """Heads, FFN units and channels cut anywhere, in any order, and layers left out."""
    net = make(parent)
    cuts: dict[Axis, tuple[int, ...]] = {
        heads(0): (5, 1),
        heads(3): (2,),
        ffn(0): (90, 3, 17, 64),
        ffn(2): tuple(range(1, 96, 5)),
        conv(0): (7, 2, 3),
        conv(2): (0, 11),
        conv(5): tuple(range(4, 12)),
    }
    pruned = extract(net, Subnet((0, 2, 3), cuts))
    masked = copy.deepcopy(net)
    zero_heads(masked, 0, cuts[heads(0)])
    zero_heads(masked, 3, cuts[heads(3)])
    zero_ffn(masked, 0, cuts[ffn(0)])
    zero_ffn(masked, 2, cuts[ffn(2)])
    for i in (0, 2, 5):
        zero_conv(masked, i, cuts[conv(i)])
    masked.encoder.layers = nn.ModuleList(masked.encoder.layers[i] for i in (0, 2, 3))
    assert_same_function(pruned, masked)
    config = pruned.config
    assert (config.num_heads, config.ffn_dim, config.layers) == ((2, 6, 1), (4, 19, 96), (0, 2, 3))
    assert config.conv_channels == (3, 12, 2, 12, 12, 8, 16)
    assert (config.embed_dim, config.pos_conv_groups) == (48, 6)


@torch.no_grad()
def test_whole_groups_of_the_embedding() -> None:
    """Kept groups, each with its channels in one order, against the same groups brought to the front and cut there."""
    net = make(WHOLE)
    groups, within = [4, 1, 5], [3, 0, 1, 2, 7, 6, 5, 4]
    kept = tuple(8 * g + c for g in groups for c in within)
    rest = tuple(8 * g + c for g in (0, 2, 3) for c in within)
    direct = extract(net, Subnet((0, 1), {EMBED: kept}))
    front = extract(reorder(net, {EMBED: kept + rest}), Subnet((0, 1), {EMBED: range(24)}))
    assert direct.config.pos_conv_groups == 3
    assert direct.state_dict().keys() == front.state_dict().keys()
    for name, tensor in direct.state_dict().items():
        assert torch.equal(tensor, front.state_dict()[name]), name
    weight = net.encoder.pos_convs[0].weight  # by hand: filter 33 = group 4, channel 1
    row = kept.index(33)
    assert torch.equal(direct.encoder.pos_convs[0].weight[row], weight[33][within])  # type: ignore[index]


@pytest.mark.parametrize("parent", [WHOLE, FIXED], ids=["whole groups", "fixed groups"])
@torch.no_grad()
def test_a_block_of_the_embedding_as_range_and_as_tuple(parent: HubertConfig) -> None:
    net = make(parent)
    subnets = [Subnet((0, 1), {EMBED: range(48)}), Subnet((0, 1), {EMBED: tuple(range(48))}), Subnet((0, 1))]
    first, *others = [extract(net, subnet).state_dict() for subnet in subnets]
    for other in others:
        assert all(torch.equal(first[name], tensor) for name, tensor in other.items())


@torch.no_grad()
def test_the_full_subnet_is_the_net() -> None:
    net = make(WHOLE)
    full = extract(net, Subnet.full(WHOLE))
    assert full.config == dataclasses.replace(WHOLE, layers=(0, 1, 2, 3))
    for a, b in zip(full(*clips()).hidden_states, net(*clips()).hidden_states, strict=True):
        assert torch.equal(a, b)


@torch.no_grad()
def test_a_subnet_of_a_subnet() -> None:
    space = SearchSpace.load("mini")
    net = make(space.parent)
    once = extract(net, space.subnet(space.smallest()))
    units = {EMBED: range(32), heads(1): range(1), ffn(0): range(5), conv(2): range(7)}
    twice = extract(once, Subnet((0, 1, 3), units))
    assert twice.config.layers == (0, 1, 3)
    assert twice(torch.randn(1, 1000)).last_hidden_state.shape == (1, 2, 32)


def test_extracted_nets_own_their_storage() -> None:
    net = make(WHOLE)
    owned = {p.untyped_storage().data_ptr() for p in net.parameters()}
    for subnet in (Subnet((0,), {EMBED: range(24), ffn(0): (3, 1)}), Subnet.full(WHOLE)):
        small = extract(net, subnet)
        assert not owned & {p.untyped_storage().data_ptr() for p in small.parameters()}
        for parameter in small.parameters():
            assert parameter.is_contiguous()
            assert parameter.untyped_storage().nbytes() == parameter.numel() * 4
            assert parameter.requires_grad
            assert parameter.is_leaf
            assert isinstance(parameter, nn.Parameter)


def test_extraction_keeps_mode_and_dtype() -> None:
    net = make(WHOLE)
    assert not extract(net, Subnet((0,))).training
    assert extract(net.train(), Subnet((0,))).training
    assert {p.dtype for p in extract(net.double(), Subnet((0,))).parameters()} == {torch.float64}


def test_a_supernet_takes_any_subnet_of_its_parent() -> None:
    torch.manual_seed(0)
    supernet = Supernet(SearchSpace.load("mini")).eval()
    subnet = Subnet((1, 4), {heads(1): (3, 0), ffn(4): (700, 2, 30), EMBED: (*range(32, 48), *range(160, 176))})
    with torch.no_grad():
        inside = supernet(torch.ones(1, 8000), None, subnet)
        outside = extract(supernet.hubert, subnet)(torch.ones(1, 8000))
    assert all(torch.equal(a, b) for a, b in zip(inside.hidden_states, outside.hidden_states, strict=True))


def test_pickle_and_repr() -> None:
    subnet = Subnet(
        (0, 2), {EMBED: range(24), heads(0): (2, 1), heads(2): range(3), ffn(0): range(8), conv(1): range(4)}
    )
    again = pickle.loads(pickle.dumps(subnet))  # noqa: S301
    assert (again.layers, again.units, again.scales) == (subnet.layers, subnet.units, {})
    assert repr(subnet) == "Subnet(layers=(0, 2), embed=24, conv=4, heads=(2, 3) (not the first ones), ffn=8)"
