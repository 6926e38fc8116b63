"""Subnets out of a supernet: how they are asked for, copies, threads, heads, what is printed."""

from __future__ import annotations

import copy
import io
import json
import pickle
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from lighthubert.config import write_yaml
from lighthubert.elastic import Arch, SearchSpace, Supernet
from lighthubert.models import Hubert, HubertConfig


def test_a_sampled_net_is_on_its_own(supernet: Supernet) -> None:
    arch, waveform = supernet.space.largest(), torch.randn(1, 4000)
    net = supernet.sample(arch)
    with torch.no_grad():
        before = supernet(waveform, None, arch).last_hidden_state
        for parameter in net.parameters():
            parameter.zero_()
        assert torch.equal(before, supernet(waveform, None, arch).last_hidden_state)
        for parameter in supernet.parameters():
            parameter.zero_()
    assert not any(p.any() for p in net.parameters())
    assert net.config.arch == arch
    assert net.config == supernet.space.config(arch)


@torch.no_grad()
def test_deepcopy_pickle_and_torch_save(supernet: Supernet) -> None:
    supernet.head["last"] = nn.Linear(48, 5, bias=False)
    supernet.predicts = {"teacher": "somebody"}
    arch, waveform = supernet.space.smallest(), torch.randn(1, 4000)
    supernet(waveform, None, arch)
    file = io.BytesIO()
    torch.save(supernet, file)
    file.seek(0)
    copies = [copy.deepcopy(supernet), pickle.loads(pickle.dumps(supernet)), torch.load(file, weights_only=False)]  # noqa: S301
    expected = supernet(waveform, None, arch).last_hidden_state
    for other in copies:
        assert other.space == supernet.space
        assert other.predicts == supernet.predicts
        assert torch.equal(other(waveform, None, arch).last_hidden_state, expected)
        other.hubert.encoder.norm.bias += 1
        assert not torch.equal(other(waveform, None, arch).last_hidden_state, expected)
    assert torch.equal(supernet(waveform, None, arch).last_hidden_state, expected)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-4), (torch.float16, 0.02)])
@torch.no_grad()
def test_other_dtypes(supernet: Supernet, dtype: torch.dtype, tolerance: float) -> None:
    """Not bf16: these spaces' positional convolutions fall into the trap of tests/elastic/test_bf16.py."""
    arch, waveform = supernet.space.smallest(), torch.randn(2, 8000)
    expected = supernet(waveform, None, arch).last_hidden_state
    supernet.to(dtype)
    out = supernet(waveform.to(dtype), None, arch).last_hidden_state
    assert out.dtype == dtype
    assert (out.float() - expected).square().mean().sqrt() < tolerance * expected.std()
    net = supernet.sample(arch)
    assert {p.dtype for p in net.parameters()} == {dtype}
    assert torch.equal(net(waveform.to(dtype)).last_hidden_state, out)


def test_threads_share_one_supernet(build: Callable[[SearchSpace], Supernet]) -> None:
    """Sampling, forward and backward of different subnets at the same time, as one after another."""
    supernet = build(SearchSpace.load("mini"))
    rng = random.Random(0)
    # One arch in all threads at a time: nets without storage are kept for reuse, and must not be shared.
    chosen = [arch for arch in [supernet.space.sample(rng) for _ in range(3)] for _ in range(4)]
    waveform = torch.randn(2, 3200)

    def work(arch: Arch) -> tuple[Tensor, Tensor, Tensor]:
        inside = supernet(waveform, None, arch).last_hidden_state
        (gradient,) = torch.autograd.grad(inside.square().mean(), [supernet.hubert.frontend.convs[0].weight])  # type: ignore[list-item]
        return inside.detach(), supernet.sample(arch)(waveform).last_hidden_state.detach(), gradient

    one_by_one = [work(arch) for arch in chosen]
    with ThreadPoolExecutor(4) as pool:
        at_once = list(pool.map(work, chosen))
    for expected, found in zip(one_by_one, at_once, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(expected, found, strict=True))


MINI = {
    "embed_dim": 96,
    "num_layers": 4,
    "num_heads": [2, 3, 4, 2],
    "ffn_ratio": 3.0,
    "conv_channels": [16, 32, *[64] * 5],
}


def test_ways_to_ask_for_a_subnet(tmp_path: Path, build: Callable[[SearchSpace], Supernet]) -> None:
    supernet = build(SearchSpace.load("mini"))
    expected = Arch(96, (2, 3, 4, 2), (288,) * 4, (16, 32, *[64] * 5), (0, 2, 3, 5))
    write_yaml(tmp_path / "arch.yaml", MINI)
    (tmp_path / "arch.json").write_text(json.dumps(MINI))
    for config in (expected, MINI, expected.to_dict(), tmp_path / "arch.yaml", str(tmp_path / "arch.json")):
        net = supernet.sample(config)
        assert isinstance(net, Hubert)
        assert net.config.arch == expected
    net = supernet.sample(rng=random.Random(7))
    assert net.config.arch == supernet.space.sample(random.Random(7))
    random.seed(0)
    state = random.getstate()
    drawn = {supernet.sample().config.arch for _ in range(4)}
    assert len(drawn) > 1
    assert all(arch in supernet.space for arch in drawn)
    assert random.getstate() == state


def test_subnets_outside_the_space_are_refused(build: Callable[[SearchSpace], Supernet]) -> None:
    supernet = build(SearchSpace.load("mini"))
    wrong = {**MINI, "num_heads": 5}
    with pytest.raises(
        ValueError, match=r"not in the search space mini: num_heads\[0\]: must be one of 2, 3, 4, got 5; num_heads\[1\]"
    ):
        supernet.sample(wrong)
    arch = SearchSpace.load("small").smallest()
    with pytest.raises(ValueError, match="not in the search space mini: layers: must be one of 4, 5, 6 layers, got 10"):
        supernet(torch.zeros(1, 1000), None, arch)
    with pytest.raises(ValueError, match="not in the search space mini"):
        supernet.sample(arch)


@torch.no_grad()
def test_the_head_is_sliced_at_its_input(build: Callable[[SearchSpace], Supernet]) -> None:
    supernet = build(SearchSpace.load("mini"))
    supernet.head["last"] = nn.Linear(192, 7, bias=False)
    subnet = supernet.space.subnet(supernet.space.smallest())
    state = torch.randn(2, 5, 96)
    found = supernet.predict(state, subnet)
    torch.testing.assert_close(found, state @ supernet.head["last"].weight[:, :96].T)


def test_the_heads_gradient_stays_within_the_slice(build: Callable[[SearchSpace], Supernet]) -> None:
    supernet = build(SearchSpace.load("mini"))
    supernet.head["3"] = nn.Linear(192, 7, bias=False)
    subnet = supernet.space.subnet(supernet.space.smallest())
    supernet.predict(torch.ones(1, 1, 96), subnet, "3").sum().backward()
    gradient = supernet.head["3"].weight.grad
    assert gradient is not None
    assert gradient[:, :96].all()
    assert not gradient[:, 96:].any()


def test_repr_is_short(build: Callable[[SearchSpace], Supernet]) -> None:
    supernet = build(SearchSpace.load("mini"))
    supernet.head["last"] = nn.Linear(192, 7, bias=False)
    assert len(repr(supernet)) < 500
    for part in ("5,373,459 archs", "3.09M parameters", "head=['last']"):
        assert part in repr(supernet)
    assert len(repr(supernet.sample(supernet.space.smallest()))) < 300


def test_the_state_dict_is_the_parents_and_the_heads(supernet: Supernet) -> None:
    supernet.head["last"] = nn.Linear(48, 5, bias=False)
    with torch.device("meta"):
        names = dict(Hubert(HubertConfig.from_dict(supernet.space.parent.to_dict())).named_parameters())
    assert supernet.state_dict().keys() == {f"hubert.{name}" for name in names} | {"head.last.weight"}
