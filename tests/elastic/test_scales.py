"""Scales of units and layers without any, against a plain net whose activations are multiplied by hooks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import tiny
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lighthubert import cost
from lighthubert.checkpoint import load, save
from lighthubert.elastic import EMBED, Axis, Subnet, axis_sizes, conv, extract, ffn, heads, reorder, run_subnet, select
from lighthubert.models import Hubert, HubertConfig
from lighthubert.superb.upstream import Upstream

CONVS = (10, 12, 8, 8, 8, 8, 12)
# Two groups: with four, their eight channels fall into the trap of tests/elastic/test_bf16.py.
BASE = replace(tiny.NET, **tiny.STILL, conv_channels=CONVS, num_heads=(4,) * 4, ffn_dim=(48,) * 4, pos_conv_groups=2)
NETS = {"base": BASE, "large": replace(BASE, **tiny.LARGE)}
EMPTY = (heads(1), ffn(2), heads(3), ffn(3))


@pytest.fixture(params=NETS)
def net(request: pytest.FixtureRequest) -> Hubert:
    return tiny.random_hubert(NETS[request.param], gain=5)


def gates_of(config: HubertConfig, seed: int = 3) -> dict[Axis, Tensor]:
    """A gate in [0, 1] of every unit, about a third of them exactly 0, some layers without any; 0 or 1 behind the
    last convolution, whose output a norm follows."""
    generator = torch.Generator().manual_seed(seed)
    gates = {}
    for axis, size in axis_sizes(config).items():
        if axis != EMBED:
            z = torch.rand(size, generator=generator).mul(1.5).sub(0.5).clamp(0, 1)
            z[0] = 0.7 if axis.kind == "conv" else z[0]
            gates[axis] = torch.zeros(size) if axis in EMPTY else z
    last = conv(len(config.conv_channels) - 1)
    return gates | {last: (gates[last] > 0).float()}


def subnet_of(gates: dict[Axis, Tensor], config: HubertConfig) -> Subnet:
    units = {axis: tuple(torch.nonzero(z).flatten().tolist()) for axis, z in gates.items()}
    scales = {axis: z[z > 0] for axis, z in gates.items()}
    return Subnet(tuple(range(config.num_layers)), units, scales)


def masked_norm(x: Tensor, open_: Tensor, norm: nn.LayerNorm) -> Tensor:
    """Layer norm of (..., C) over the open channels; the others become 0."""
    mean = (x * open_).sum(-1, keepdim=True) / open_.sum()
    variance = ((x - mean).square() * open_).sum(-1, keepdim=True) / open_.sum()
    return ((x - mean) / (variance + norm.eps).sqrt() * norm.weight + norm.bias) * open_


@contextmanager
def multiplied(net: Hubert, gates: dict[Axis, Tensor]) -> Iterator[None]:
    """A plain net whose units are multiplied by their gates where they are consumed, its norms over channels masked."""
    open_ = {axis: (z > 0).to(z.dtype) for axis, z in gates.items()}
    last, handles = len(net.frontend.convs) - 1, []

    def before(module: nn.Module, z: Tensor, dim: int = -1) -> None:
        """Multiply the input of a module."""
        shape = [-1, 1] if dim == -2 else [-1]
        handles.append(module.register_forward_pre_hook(lambda _, args: (args[0] * z.reshape(shape), *args[1:])))

    for i in range(1, last + 1):
        before(net.frontend.convs[i], gates[conv(i - 1)], dim=-2)
    for i, layer in enumerate(net.encoder.layers):
        before(layer.attention.out_proj, gates[heads(i)].repeat_interleave(net.config.head_dim))
        before(layer.fc2, gates[ffn(i)])

    def norm_hook(axis: Axis, channels_last: bool) -> object:
        def hook(module: nn.LayerNorm, args: tuple[Tensor, ...], _: Tensor) -> Tensor:
            x = args[0] if channels_last else args[0].transpose(1, 2)
            y = masked_norm(x, open_[axis], module)
            return y if channels_last else y.transpose(1, 2)

        return hook

    handles.append(net.frontend.norm.register_forward_hook(norm_hook(conv(last), True)))
    if net.config.conv_norm == "layer":
        for i, norm in enumerate(net.frontend.norms):
            handles.append(norm.register_forward_hook(norm_hook(conv(i), False)))
    yield
    for handle in handles:
        handle.remove()


def test_equals_activations_times_gates(net: Hubert) -> None:
    """The subnet, the net extracted from it, and a plain net with hooks, for clips of two lengths."""
    gates = gates_of(net.config)
    subnet = subnet_of(gates, net.config)
    waveform, lengths = torch.randn(2, 6000), torch.tensor([6000, 4100])
    with torch.no_grad():
        with multiplied(net, gates):
            expected = net(waveform, lengths)
        selected = run_subnet(net, subnet, waveform, lengths)
        extracted = extract(net, subnet)(waveform, lengths)
    assert len(expected.hidden_states) == 5
    for a, b, c in zip(expected.hidden_states, selected.hidden_states, extracted.hidden_states, strict=True):
        assert a.abs().max() > 0.1
        torch.testing.assert_close(b, a, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(c, b, atol=1e-5, rtol=1e-5)


def test_scales_get_the_gradient_of_the_activations(net: Hubert) -> None:
    """Of gates that are open; behind the last convolution the two differ, as the norm's statistics have no gate."""
    net = net.double()
    gates = {axis: z.double().requires_grad_() for axis, z in gates_of(net.config).items()}
    subnet = subnet_of(gates, net.config)
    waveform = torch.randn(2, 5000).double()
    with multiplied(net, gates):
        net(waveform).last_hidden_state.square().mean().backward()
    expected = {axis: z.grad.clone() for axis, z in gates.items() if z.grad is not None}
    for z in gates.values():
        z.grad = None
    run_subnet(net, subnet, waveform).last_hidden_state.square().mean().backward()
    for axis, z in gates.items():
        if axis != conv(6) and (z > 0).any():
            where = z > 0
            assert expected[axis][where].abs().max() > 0
            torch.testing.assert_close(z.grad[where], expected[axis][where], atol=1e-12, rtol=1e-7)


def test_empty_sublayers_keep_their_bias_only(net: Hubert) -> None:
    """A layer without heads adds the bias of out_proj: zero biases make its attention nothing at all."""
    subnet = Subnet(tuple(range(4)), {heads(1): (), ffn(1): range(0)})
    small = extract(net, subnet)
    layer, x = small.encoder.layers[1], torch.randn(2, 5, 32)
    torch.testing.assert_close(layer.attention(x, None), net.encoder.layers[1].attention.out_proj.bias.expand(2, 5, 32))
    torch.testing.assert_close(layer.ffn(x), net.encoder.layers[1].fc2.bias.expand(2, 5, 32))


def test_a_pruned_net_is_an_ordinary_net(net: Hubert, tmp_path: Path) -> None:
    """Counted, saved, loaded, reordered, pruned again, trained, and heard by SUPERB."""
    small = extract(net, subnet_of(gates_of(net.config), net.config))
    assert small.config.num_heads[1] == small.config.ffn_dim[2] == 0
    assert cost.num_params(small.config) == sum(p.numel() for p in small.parameters())
    assert cost.macs(small.config) < cost.macs(net.config)
    save(small, tmp_path / "small.safetensors")
    again = load(tmp_path / "small.safetensors")
    assert isinstance(again, Hubert)
    assert again.config == small.config
    waveform = torch.randn(1, 4000)
    states = small(waveform).hidden_states
    torch.testing.assert_close(again(waveform).hidden_states, states, atol=0, rtol=0)
    assert len(Upstream(again)([waveform[0]])["hidden_states"]) == 5
    reversed_ = {axis: tuple(reversed(range(n))) for axis, n in axis_sizes(small.config).items() if axis != EMBED}
    torch.testing.assert_close(reorder(small, reversed_)(waveform).hidden_states, states, atol=1e-5, rtol=1e-5)
    subset = Subnet((0, 1, 2, 3), {conv(0): (0, 2), heads(0): (), heads(1): (), ffn(0): (1,)})
    assert extract(small, subset)(waveform).last_hidden_state.shape == states[-1].shape
    again.train()(waveform).last_hidden_state.sum().backward()
    assert again.encoder.layers[1].attention.out_proj.bias.grad.abs().sum() > 0


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_under_autocast(net: Hubert, dtype: torch.dtype) -> None:
    """Layers without units, and scales near 0, in half precision."""
    subnet, waveform = subnet_of(gates_of(net.config), net.config), torch.randn(1, 4000)
    with torch.autocast("cpu", dtype):
        half = run_subnet(net, subnet, waveform)
    full = run_subnet(net, subnet, waveform)
    for a, b in zip(half.hidden_states, full.hidden_states, strict=True):
        assert F.cosine_similarity(a.float().flatten(), b.flatten(), 0) > 0.99
    half.last_hidden_state.float().sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in net.parameters())


def test_without_scales_nothing_is_copied(net: Hubert) -> None:
    params = dict(net.named_parameters())
    selected = select(params, Subnet.full(net.config), net.config)
    assert all(selected[name] is p for name, p in params.items())
