"""Importance scores by loops, and reordering that changes no output."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import tiny
import torch
from tiny import WHOLE_GROUPS, random_hubert
from torch import Tensor

from lighthubert.elastic import EMBED, Axis, Subnet, axis_sizes, conv, extract, ffn, heads, importance, ranking, reorder
from lighthubert.models import Hubert, HubertConfig

BASE = dataclasses.replace(WHOLE_GROUPS, num_heads=(6, 5, 4), ffn_dim=(96, 80, 64))
LARGE = dataclasses.replace(BASE, **tiny.LARGE, pos_conv_depth=3)
KINDS = {"base": BASE, "large": LARGE}
TOLERANCE = 5e-6  # of the largest value


def outputs(net: Hubert) -> tuple[Tensor, ...]:
    torch.manual_seed(1)
    with torch.no_grad():
        return net(torch.randn(2, 6400), torch.tensor([6400, 3000])).hidden_states


def permutations(config: HubertConfig, seed: int) -> dict[Axis, tuple[int, ...]]:
    """A random order of every axis; of the embedding: groups, and channels within all of them alike."""
    rng = torch.Generator().manual_seed(seed)
    order = {axis: tuple(torch.randperm(size, generator=rng).tolist()) for axis, size in axis_sizes(config).items()}
    width = config.embed_dim // config.pos_conv_groups
    groups, channels = torch.randperm(config.pos_conv_groups, generator=rng), torch.randperm(width, generator=rng)
    return order | {EMBED: tuple((groups[:, None] * width + channels).flatten().tolist())}


@pytest.mark.parametrize("kind", KINDS)
def test_scores_are_what_consumes_a_unit(kind: str) -> None:
    net = random_hubert(KINDS[kind])
    scores = importance(net)
    assert {axis: len(score) for axis, score in scores.items()} == axis_sizes(net.config)
    weights: dict[str, Any] = {name: p.detach().abs() for name, p in net.named_parameters()}
    for i in range(6):
        for c in range(net.config.conv_channels[i]):
            expected = sum(float(w) for w in weights[f"frontend.convs.{i + 1}.weight"][:, c].flatten())
            assert float(scores[conv(i)][c]) == pytest.approx(expected, rel=1e-5)
    for c in range(16):
        assert float(scores[conv(6)][c]) == pytest.approx(float(weights["frontend.proj.weight"][:, c].sum()), rel=1e-5)
    for i in range(3):
        layer = f"encoder.layers.{i}."
        for h in range(net.config.num_heads[i]):
            expected = weights[layer + "attention.out_proj.weight"][:, 4 * h : 4 * h + 4].sum()
            assert float(scores[heads(i)][h]) == pytest.approx(float(expected), rel=1e-5)
        for f in range(net.config.ffn_dim[i]):
            assert float(scores[ffn(i)][f]) == pytest.approx(float(weights[layer + "fc2.weight"][:, f].sum()), rel=1e-5)
    readers = [
        f"encoder.layers.{i}.{m}.weight"
        for i in range(3)
        for m in ("attention.q_proj", "attention.k_proj", "attention.v_proj", "fc1")
    ]
    for e in range(48):
        assert float(scores[EMBED][e]) == pytest.approx(sum(float(weights[r][:, e].sum()) for r in readers), rel=1e-5)


def test_ranking_by_falling_score() -> None:
    net = random_hubert(BASE)
    scores = importance(net)
    order = ranking(net, scores)
    for axis, score in scores.items():
        assert sorted(order[axis]) == list(range(len(score)))
        if axis != EMBED:
            assert list(order[axis]) == sorted(range(len(score)), key=lambda unit: (-float(score[unit]), unit))
    table = scores[EMBED].reshape(6, 8)
    groups = sorted(range(6), key=lambda g: -float(table[g].sum()))
    channels = sorted(range(8), key=lambda c: -float(table[:, c].sum()))
    assert order[EMBED] == tuple(8 * g + c for g in groups for c in channels)


def test_equal_scores_keep_their_order() -> None:
    net = random_hubert(BASE)
    order = ranking(net, {axis: torch.ones(size) for axis, size in axis_sizes(BASE).items()})
    assert order == {axis: tuple(range(size)) for axis, size in axis_sizes(BASE).items()}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(3))
def test_a_new_order_is_the_same_function(kind: str, seed: int) -> None:
    """All axes at once; state 0 and the layers' states are in the new order of the embedding."""
    net = random_hubert(KINDS[kind])
    order = permutations(net.config, seed)
    other = reorder(net, order)
    assert other.config == net.config
    moved = 0
    for a, b in zip(outputs(other), outputs(net), strict=True):
        assert (a - b[..., list(order[EMBED])]).abs().max() < TOLERANCE * b.abs().max()
        moved += int(not torch.allclose(a, b))
    assert moved == 4
    for name, parameter in other.named_parameters():
        assert not torch.equal(parameter, net.get_parameter(name)), name  # everything moved


@pytest.mark.parametrize("kind", KINDS)
def test_each_axis_alone(kind: str) -> None:
    net = random_hubert(KINDS[kind])
    expected = outputs(net)
    for axis, units in permutations(net.config, 4).items():
        states = [b[..., list(units)] for b in expected] if axis == EMBED else expected
        for a, b in zip(outputs(reorder(net, {axis: units})), states, strict=True):
            assert (a - b).abs().max() < TOLERANCE * b.abs().max(), axis


def test_reordering_by_importance_puts_the_best_units_first() -> None:
    net = random_hubert(BASE)
    again = importance(reorder(net, ranking(net, importance(net))))
    for axis, score in again.items():
        if axis != EMBED:
            assert (score.diff() <= 1e-4).all(), axis
    assert (again[EMBED].reshape(6, 8).sum(1).diff() <= 1e-3).all()
    kept = Subnet((0, 1, 2), {heads(0): range(2), ffn(1): range(10)})
    before, after = extract(net, kept), extract(reorder(net, ranking(net, importance(net))), kept)

    def norm(n: Hubert) -> float:
        return float(n.get_parameter("encoder.layers.1.fc2.weight").detach().abs().sum())

    assert norm(after) > norm(before)


def test_back_again_is_the_same_net() -> None:
    net = random_hubert(LARGE)
    order = permutations(LARGE, 9)
    back = {axis: tuple(torch.tensor(units).argsort().tolist()) for axis, units in order.items()}
    again = reorder(reorder(net, order), back)
    for name, parameter in net.named_parameters():
        assert torch.equal(parameter, again.get_parameter(name)), name


def test_a_reordered_net_is_on_its_own() -> None:
    net = random_hubert(BASE)
    before = {name: p.clone() for name, p in net.named_parameters()}
    for parameter in reorder(net, {}).parameters():
        assert parameter.requires_grad
        parameter.data.zero_()
    for name, parameter in net.named_parameters():
        assert torch.equal(parameter, before[name])


WRONG: dict[str, tuple[dict[Axis, tuple[int, ...]], str]] = {
    "too few": ({heads(0): (0, 1)}, "reorder: heads0: not a permutation of an axis of this net"),
    "one twice": ({heads(0): (0, 1, 2, 3, 4, 4)}, "reorder: heads0: not a permutation of an axis of this net"),
    "unknown axes": (
        {heads(7): (0,), Axis("width"): (0, 1)},
        "reorder: heads7, width: not a permutation of an axis of this net",
    ),
    "channels between groups": (
        {EMBED: (1, 0, *range(2, 48))},
        "embed: other units than the first ones must be whole groups of the positional convolution",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_orders(case: str) -> None:
    order, message = WRONG[case]
    with pytest.raises(ValueError, match=f"^{message}"):
        reorder(random_hubert(BASE), order)
