"""The net itself: masking, dropout, activation checkpointing, dtypes, parameters."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from typing import Any

import pytest
import torch
from tiny import LARGE, NET, STILL
from torch import Tensor, nn

from lighthubert.models import Hubert, HubertConfig, recompute_layers

SMALL = dataclasses.replace(NET, **STILL, num_heads=(2, 3), ffn_dim=(32, 48), pos_conv_kernel=8, pos_conv_groups=2)
KINDS: dict[str, dict[str, Any]] = {
    "base": {},
    "large": LARGE,
    "data2vec": {"conv_norm": "layer", "pos_conv_depth": 5, "pos_conv_kernel": 5},
}


def make(seed: int = 0, **sizes: Any) -> Hubert:
    torch.manual_seed(seed)
    return Hubert(dataclasses.replace(SMALL, **sizes)).eval()


def clip(samples: int = 3000, rows: int = 2) -> Tensor:
    torch.manual_seed(1)
    return torch.randn(rows, samples)


def test_output_of_the_published_sizes() -> None:
    with torch.device("meta"):
        base, large = Hubert(HubertConfig.base()), Hubert(HubertConfig.large())
        out = base(torch.empty(1, 1000))
    assert [s.shape for s in out.hidden_states] == [(1, 2, 768)] * 13
    assert [s.shape for s in out.ffn_outputs] == [(1, 2, 768)] * 12
    assert out.last_hidden_state is out.hidden_states[-1]
    # transformers' HubertModel of the same sizes, its weight norm's 128 lengths left out
    assert sum(p.numel() for p in base.parameters()) == 94_371_712 - 128
    assert sum(p.numel() for p in large.parameters()) == 315_438_720 - 128


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_but_plain_parameters(kind: str) -> None:
    net = make(**KINDS[kind])
    assert not list(net.buffers())
    assert all(type(p) is nn.Parameter and p.requires_grad for p in net.parameters())
    assert net.state_dict().keys() == dict(net.named_parameters()).keys()
    assert not any("parametriz" in name or name.endswith(("_g", "_v")) for name in net.state_dict())


@torch.no_grad()
def test_ffn_outputs_come_before_the_residual_add() -> None:
    net = make(norm_first=True)
    out, waveform = net(clip()), clip()
    final = out.hidden_states[1] + _attention(net, out.hidden_states[1]) + out.ffn_outputs[1]
    torch.testing.assert_close(net.encoder.norm(final), out.last_hidden_state)
    post = make()
    out = post(waveform)
    x = out.hidden_states[1]
    x = post.encoder.layers[1].attention_norm(x + post.encoder.layers[1].attention(x, None))
    torch.testing.assert_close(post.encoder.layers[1].ffn_norm(x + out.ffn_outputs[1]), out.hidden_states[2])


def _attention(net: Hubert, x: Tensor) -> Tensor:
    layer: Any = net.encoder.layers[1]
    return layer.attention(layer.attention_norm(x), None)


@torch.no_grad()
def test_attention_by_hand() -> None:
    """Against loops over heads: the scale is that of the head's width, the first rows are the first head's."""
    attention: Any = make().encoder.layers[1].attention
    torch.manual_seed(2)
    x, keep = torch.randn(1, 9, 32), 7
    heads = []
    for h in range(3):
        q, k, v = (
            x[0] @ proj.weight[8 * h : 8 * h + 8].T + proj.bias[8 * h : 8 * h + 8]
            for proj in (attention.q_proj, attention.k_proj, attention.v_proj)
        )
        heads.append((q @ k[:keep].T / 8**0.5).softmax(-1) @ v[:keep])
    expected = torch.cat(heads, 1) @ attention.out_proj.weight.T + attention.out_proj.bias
    valid = (torch.arange(9) < keep)[None, None, None]
    torch.testing.assert_close(attention(x, valid)[0], expected)


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_masked_frames_are_replaced(kind: str) -> None:
    net = make(**KINDS[kind])
    waveform = clip()
    mask = torch.zeros(2, 9, dtype=torch.bool)
    mask[0, 2:5] = mask[1, 8] = True
    clean, masked = net(waveform), net(waveform, None, mask)
    state = masked.hidden_states[0]
    assert torch.equal(state[mask], net.mask_embed.expand(4, -1))
    assert torch.equal(state[~mask], clean.hidden_states[0][~mask])
    # The layers see nothing of what was masked: other audio there, same outputs.
    if net.config.conv_norm == "layer" and not net.config.normalize_waveform:
        waveform[0, 2 * 320 + 80 : 5 * 320] = 0  # within the fields of frames 2 to 4 alone
        again = net(waveform, None, mask)
        for a, b in zip(masked.hidden_states, again.hidden_states, strict=True):
            torch.testing.assert_close(a, b)


def test_the_mask_embedding_learns_only_from_masks() -> None:
    net = make()
    net(clip()).last_hidden_state.square().sum().backward()
    assert net.mask_embed.grad is None
    mask = torch.zeros(2, 9, dtype=torch.bool)
    mask[0, 3] = True
    (net(clip(), None, mask).last_hidden_state * torch.randn(2, 9, 32)).sum().backward()
    assert net.mask_embed.grad is not None
    assert net.mask_embed.grad.abs().min() > 0


@pytest.mark.parametrize("key", ["dropout", "attention_dropout", "ffn_dropout"])
@torch.no_grad()
def test_dropout_in_training_only(key: str) -> None:
    net = make(**{key: 0.5})
    waveform = clip()
    assert torch.equal(net(waveform).last_hidden_state, net(waveform).last_hidden_state)
    net.train()
    torch.manual_seed(0)
    first = net(waveform)
    second = net(waveform)
    assert torch.equal(first.hidden_states[0], second.hidden_states[0])  # none before the positional convolution
    assert not torch.equal(first.hidden_states[1], second.hidden_states[1])
    torch.manual_seed(0)
    assert torch.equal(net(waveform).last_hidden_state, first.last_hidden_state)
    other = make().train()
    assert torch.equal(other(waveform).last_hidden_state, other(waveform).last_hidden_state)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("autocast", [False, True])
def test_activation_checkpointing_changes_nothing(kind: str, autocast: bool) -> None:
    """The same gradients to the bit, dropout included: the second pass draws the same numbers."""
    waveform, lengths = clip(), torch.tensor([3000, 1500])
    mask = torch.zeros(2, 9, dtype=torch.bool)
    mask[:, 1] = True
    found = []
    for switch in (False, True):
        net = make(**KINDS[kind], dropout=0.2, attention_dropout=0.1, ffn_dropout=0.1).train()
        recompute_layers(net, switch)
        calls: list[int] = []
        for layer in net.encoder.layers:
            layer.attention.register_forward_hook(lambda *_, calls=calls: calls.append(1))  # type: ignore[union-attr]
        torch.manual_seed(3)
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            out = net(waveform, lengths, mask)
            loss = (out.last_hidden_state[0] * torch.linspace(-1, 1, 32)).sum() + out.ffn_outputs[0].square().mean()
        loss.backward()
        assert len(calls) == (4 if switch else 2)  # 2 layers, run again or not
        found.append({name: p.grad for name, p in net.named_parameters()})
    for name, gradient in found[0].items():
        assert gradient is not None, name
        assert torch.equal(gradient, found[1][name]), name


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-5), (torch.bfloat16, 0.1)])
@torch.no_grad()
def test_other_dtypes(kind: str, dtype: torch.dtype, tolerance: float) -> None:
    net = make(**KINDS[kind])
    waveform, lengths = clip(), torch.tensor([3000, 1500])
    expected = net(waveform, lengths).last_hidden_state
    net.to(dtype)
    for out in (net(waveform.to(dtype), lengths), net(waveform[:1].to(dtype))):
        assert {s.dtype for s in out.hidden_states} == {dtype}
        for row, frames in enumerate(out.lengths.tolist()):
            error = (out.last_hidden_state[row, :frames].float() - expected[row, :frames]).square().mean().sqrt()
            assert error < tolerance * expected.std(), row


@torch.no_grad()
def test_float64_is_float64_throughout() -> None:
    """A step to float32 and back on the way would leave errors of 1e-7."""
    net = make(**KINDS["data2vec"]).double()
    waveform = clip().double()
    nudged = waveform + 1e-11
    difference = (net(waveform).last_hidden_state - net(nudged).last_hidden_state).abs().max()
    assert 0 < difference < 1e-9


@torch.no_grad()
def test_an_empty_batch_has_empty_outputs() -> None:
    """A batch may lose all its clips to unreadable files."""
    for kind in KINDS.values():
        out = make(**kind)(torch.zeros(0, 1000), torch.zeros(0, dtype=torch.long), torch.zeros(0, 2, dtype=torch.bool))
        assert out.last_hidden_state.shape == (0, 2, 32)
        assert out.lengths.shape == (0,)


@torch.no_grad()
def test_deepcopy_and_pickle() -> None:
    net = make()
    for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):  # noqa: S301
        assert other.config == net.config
        assert torch.equal(other(clip()).last_hidden_state, net(clip()).last_hidden_state)
        next(other.parameters()).add_(1)
        assert not torch.equal(next(other.parameters()), next(net.parameters()))


def test_repr_is_one_short_line() -> None:
    with torch.device("meta"):
        text = repr(Hubert(HubertConfig.large()))
    assert text == (
        "Hubert(315.44M parameters, 24 layers, embed_dim=1024, num_heads=16x24, ffn_dim=4096x24, conv_channels=512x7)"
    )
    net = make(layers=(0, 4))
    assert repr(net).endswith(
        "2 layers, embed_dim=32, num_heads=(2, 3), ffn_dim=(32, 48), conv_channels=8x7, layers=(0, 4))"
    )
