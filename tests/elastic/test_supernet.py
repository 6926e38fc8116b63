"""Supernet against extracted nets: outputs, gradients, activation checkpointing."""

from __future__ import annotations

import copy
import dataclasses
import random
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from lighthubert.elastic import Arch, SearchSpace, Supernet
from lighthubert.models import HubertOutput, recompute_layers

FRAMES = (1, 2, 5, 8, 15, 16, 20)


def samples(frames: int) -> int:
    return 320 * frames + 80


def archs(space: SearchSpace, count: int = 2) -> list[Arch]:
    rng = random.Random(0)
    return [space.largest(), space.smallest(), *(space.sample(rng) for _ in range(count))]


def worst(inside: HubertOutput, outside: HubertOutput) -> float:
    """The largest difference of any output, relative to its largest value; 0.0 only if all are equal to the bit."""
    pairs = [*zip(inside.hidden_states, outside.hidden_states, strict=True)]
    pairs += [*zip(inside.ffn_outputs, outside.ffn_outputs, strict=True)]
    return max(0.0 if torch.equal(a, b) else float((a - b).abs().max() / b.abs().max()) for a, b in pairs)


@torch.no_grad()
def assert_extracted_equal(supernet: Supernet, arch: Arch, frames: tuple[int, ...] = FRAMES) -> None:
    """Clips of few frames, one to three in a batch; three are padded."""
    torch.manual_seed(1)
    net = supernet.sample(arch)
    for t in frames:
        for rows in (1, 2, 3):
            waveform = torch.randn(rows, samples(t))
            lengths = torch.tensor([samples(t), samples((t + 1) // 2), samples(1)]) if rows == 3 else None
            error = worst(supernet(waveform, lengths, arch), net(waveform, lengths))
            assert error == 0 if rows * t >= 16 else error < 1e-6, (arch, rows, t, error)


def test_extracted_nets_give_the_supernets_numbers(supernet: Supernet) -> None:
    for arch in archs(supernet.space, 1):
        assert_extracted_equal(supernet, arch)


def shallow(name: str) -> SearchSpace:
    """A shipped space at its own widths, with three layers of which two or three are kept."""
    space = SearchSpace.load(name)
    parent = dataclasses.replace(space.parent, num_heads=space.parent.num_heads[:3], ffn_dim=space.parent.ffn_dim[:3])
    return dataclasses.replace(space, parent=parent, num_layers=(2, 3), layer_rule="spread")


@pytest.mark.parametrize("name", ["mini", "small", "small_conv"])
def test_at_the_widths_of_the_shipped_spaces(name: str, build: Callable[[SearchSpace], Supernet]) -> None:
    supernet = build(shallow(name))
    for arch in archs(supernet.space, 1)[1:]:
        assert_extracted_equal(supernet, arch, (1, 5, 8))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mini", "small", "small_conv", "base", "base_conv", "large"])
def test_at_full_size(name: str, build: Callable[[SearchSpace], Supernet]) -> None:
    supernet = build(SearchSpace.load(name))
    for arch in archs(supernet.space, 2):
        assert_extracted_equal(supernet, arch, (1, 8, 16) if name == "large" else tuple(range(1, 21)))


def loss(out: HubertOutput) -> Tensor:
    """Something that every parameter of the net has a part in, the mask embedding included."""
    torch.manual_seed(2)
    states = [*out.hidden_states[1:], *out.ffn_outputs]
    return torch.stack([(state * torch.randn_like(state)).mean() for state in states]).sum()


def inputs() -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(3)
    mask = torch.zeros(2, 20, dtype=torch.bool)
    mask[:, 2:5] = True
    return torch.randn(2, samples(20)), torch.tensor([samples(20), samples(9)]), mask


def numbered(supernet: Supernet) -> Supernet:
    """A copy whose weights are numbers in a row: an extracted net then tells which entries it was made of."""
    twin, start = copy.deepcopy(supernet).double(), 0
    for parameter in twin.hubert.parameters():
        parameter.data = torch.arange(start, start + parameter.numel(), dtype=torch.float64).reshape(parameter.shape)
        start += parameter.numel()
    return twin


def test_gradients_reach_the_selected_entries_and_no_others(supernet: Supernet) -> None:
    waveform, lengths, mask = inputs()
    twin = numbered(supernet)
    size = sum(p.numel() for p in supernet.hubert.parameters())
    for arch in archs(supernet.space, 1):
        supernet.zero_grad()
        loss(supernet(waveform, lengths, arch, mask)).backward()
        found = torch.cat(
            [(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in supernet.hubert.parameters()]
        )

        net = supernet.sample(arch)
        loss(net(waveform, lengths, mask)).backward()
        entries = torch.cat([p.detach().flatten() for p in twin.sample(arch).parameters()]).long()
        assert len(entries) == len(entries.unique())
        expected = torch.zeros(size)
        expected[entries] = torch.cat([p.grad.flatten() for p in net.parameters()])  # type: ignore[union-attr]
        selected = torch.zeros(size, dtype=torch.bool)
        selected[entries] = True
        assert not found[~selected].any()
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6 * float(expected.abs().max()))
        assert (found[selected] != 0).double().mean() > 0.99
        dropped = set(range(supernet.config.num_layers)) - set(arch.layers)
        for i, layer in enumerate(supernet.hubert.encoder.layers):
            assert all((p.grad is None) == (i in dropped) for p in layer.parameters())


def test_two_subnets_of_one_step_add_their_gradients(supernet: Supernet) -> None:
    waveform, lengths, mask = inputs()
    first, second = supernet.space.largest(), supernet.space.smallest()
    total = None
    for arch in (first, second):
        supernet.zero_grad()
        loss(supernet(waveform, lengths, arch, mask)).backward()
        found = [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in supernet.parameters()]
        total = found if total is None else [a + b for a, b in zip(total, found, strict=True)]
    supernet.zero_grad()
    (loss(supernet(waveform, lengths, first, mask)) + loss(supernet(waveform, lengths, second, mask))).backward()
    assert total is not None
    for parameter, expected in zip(supernet.parameters(), total, strict=True):
        given = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        torch.testing.assert_close(given, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_activation_checkpointing_inside_the_supernet(
    space: SearchSpace, dropout: float, build: Callable[[SearchSpace], Supernet]
) -> None:
    """The same gradients, of two subnets in one step too; the layers are run again with the subnet's own slices."""
    parent = dataclasses.replace(space.parent, dropout=dropout, attention_dropout=dropout, ffn_dropout=dropout)
    found = []
    for switch in (False, True):
        supernet = build(dataclasses.replace(space, parent=parent)).train()
        recompute_layers(supernet, switch)
        torch.manual_seed(5)
        outs = [supernet(*inputs()[:2], arch, inputs()[2]) for arch in archs(space, 1)]
        torch.stack([loss(out) for out in outs]).sum().backward()
        found.append([p.grad for p in supernet.parameters()])
        assert supernet.hubert.encoder.recompute is switch
    for plain, again in zip(*found, strict=True):
        assert (plain is None) == (again is None)
        assert plain is None or torch.equal(plain, again)


def test_checkpointing_saves_activations(build: Callable[[SearchSpace], Supernet]) -> None:
    supernet = build(SearchSpace.load("mini")).train()
    sizes = []
    for switch in (False, True):
        recompute_layers(supernet, switch)
        saved: list[int] = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t, s=saved: s.append(t.numel()) or t, lambda t: t):
            supernet(torch.randn(1, 16000), None, supernet.space.largest())
        sizes.append(sum(saved))
    assert sizes[1] < 0.6 * sizes[0]


def test_training_mode_reaches_subnets(build: Callable[[SearchSpace], Supernet]) -> None:
    space = SearchSpace.load("mini")
    supernet = build(dataclasses.replace(space, parent=dataclasses.replace(space.parent, dropout=0.5)))
    waveform, arch = torch.randn(1, 4000), space.smallest()
    with torch.no_grad():
        still = [supernet(waveform, None, arch).last_hidden_state for _ in range(2)]
        supernet.train()
        moving = [supernet(waveform, None, arch).last_hidden_state for _ in range(2)]
        supernet.eval()
        after = supernet(waveform, None, arch).last_hidden_state
    assert torch.equal(*still)
    assert not torch.equal(*moving)
    assert torch.equal(still[0], after)
    assert supernet.train().sample(arch).training


def test_an_update_of_the_weights_shows_at_once(supernet: Supernet) -> None:
    """No slice is cached."""
    arch, waveform = supernet.space.smallest(), torch.randn(1, 4000)
    with torch.no_grad():
        before = supernet(waveform, None, arch).last_hidden_state
        for parameter in supernet.parameters():
            parameter *= 1.1
        after = supernet(waveform, None, arch).last_hidden_state
        assert not torch.allclose(before, after)
        assert torch.equal(after, supernet.sample(arch)(waveform).last_hidden_state)


def test_a_failed_call_leaves_nothing_behind(supernet: Supernet) -> None:
    arch, waveform = supernet.space.smallest(), torch.randn(1, 4000)
    with torch.no_grad():
        before = supernet(waveform, None, arch).last_hidden_state
        with pytest.raises(ValueError, match=r"mask: expected bool of shape \(1, 12\)"):
            supernet(waveform, None, arch, torch.zeros(1, 3, dtype=torch.bool))
        with pytest.raises(ValueError, match="waveform: needs 400 samples"):
            supernet(waveform[:, :300], None, arch)
        assert torch.equal(before, supernet(waveform, None, arch).last_hidden_state)
