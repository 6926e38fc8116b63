"""A clip's outputs and gradients do not depend on the clips that it is batched with."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from tiny import HUBERT, LARGE, NET, STILL, random_hubert
from torch import Tensor, nn

from lighthubert.models import Hubert, HubertConfig, num_frames, span_mask

TOLERANCE = 2e-5  # of the state's deviation
SMALL = dataclasses.replace(NET, **STILL, conv_channels=(12,) * 6 + (20,), ffn_dim=(48, 64, 40))
VARIANTS = {
    "base": {},
    "large": LARGE,
    "data2vec": {"conv_norm": "layer", "pos_conv_depth": 5, "pos_conv_kernel": 19, "normalize_waveform": True},
    "layer front-end, audio as it is": {"conv_norm": "layer"},
    "group front-end, pre-norm": {"norm_first": True, "normalize_waveform": True},
    "group front-end, deep odd positions": {"pos_conv_depth": 5, "pos_conv_kernel": 7},
    "group front-end with biases": {"conv_bias": True, "pos_conv_kernel": 15},
}
LENGTHS = [16000, 400, 719, 720, 3200, 4001, 9999, 15999]  # 1, 1, 2, 9, 12, ... frames beside 49


def make(variant: str, **sizes: object) -> Hubert:
    config = dataclasses.replace(SMALL, **{**VARIANTS[variant], **sizes})
    return random_hubert(config, gain=9)  # of width 32: at .02 attention would hardly tell one frame from another


def clips(lengths: list[int]) -> tuple[Tensor, Tensor]:
    """(B, S) with an offset, so that zeros in the padding are not the mean, and (B,) lengths."""
    torch.manual_seed(1)
    waveform = 0.1 * torch.randn(len(lengths), max(lengths)) + 0.3
    for row, length in enumerate(lengths):
        waveform[row, length:] = 0
    return waveform, torch.tensor(lengths)


def assert_rows_equal_clips(net: Hubert, waveform: Tensor, lengths: Tensor) -> None:
    batch = net(waveform, lengths)
    assert batch.lengths.tolist() == [num_frames(n, HUBERT) for n in lengths.tolist()]
    for row, (samples, frames) in enumerate(zip(lengths.tolist(), batch.lengths.tolist(), strict=True)):
        single = net(waveform[row : row + 1, :samples])
        assert single.hidden_states[0].shape[1] == frames
        pairs = [*zip(batch.hidden_states, single.hidden_states, strict=True)]
        pairs += [*zip(batch.ffn_outputs, single.ffn_outputs, strict=True)]
        for i, (ours, alone) in enumerate(pairs):
            error = float((ours[row, :frames] - alone[0]).abs().max() / alone.std())
            assert error < TOLERANCE, f"clip of {samples} samples, output {i}: {error:.1e}"


@pytest.mark.parametrize("variant", VARIANTS)
@torch.no_grad()
def test_a_padded_batch_gives_what_each_clip_gives_alone(variant: str) -> None:
    assert_rows_equal_clips(make(variant), *clips(LENGTHS))


@torch.no_grad()
def test_at_the_sizes_of_hubert_base() -> None:
    torch.manual_seed(0)
    net = Hubert(HubertConfig(num_heads=(12,) * 2, ffn_dim=(3072,) * 2)).eval()
    assert_rows_equal_clips(net, *clips([8000, 400, 3333]))


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("rubbish", [100.0, float("nan")])
@torch.no_grad()
def test_what_stands_in_the_padding_is_ignored(variant: str, rubbish: float) -> None:
    net = make(variant)
    waveform, lengths = clips([3000, 1000])
    clean = net(waveform, lengths)
    waveform[1, 1000:] = rubbish
    dirty = net(waveform, lengths)
    for a, b in zip(clean.hidden_states, dirty.hidden_states, strict=True):
        torch.testing.assert_close(a[1, :2], b[1, :2], rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(a[0], b[0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("variant", VARIANTS)
@torch.no_grad()
def test_padded_frames_of_state_0_are_zero(variant: str) -> None:
    waveform, lengths = clips([3000, 1000])
    states = make(variant)(waveform, lengths).hidden_states
    assert not states[0][1, 2:].any()
    assert states[0][1, :2].all()
    assert all(s.isfinite().all() for s in states)


@pytest.mark.parametrize("variant", VARIANTS)
@torch.no_grad()
def test_full_lengths_equal_no_lengths(variant: str) -> None:
    net = make(variant)
    waveform, lengths = clips([4000, 4000])
    given, left_out = net(waveform, lengths), net(waveform)
    assert left_out.lengths.tolist() == given.lengths.tolist() == [12, 12]
    for a, b in zip(given.hidden_states, left_out.hidden_states, strict=True):
        assert (a - b).abs().max() / b.std() < TOLERANCE


def gradients(net: nn.Module, losses: list[Tensor]) -> dict[str, Tensor]:
    found = torch.autograd.grad(torch.stack(losses).sum(), list(net.parameters()), allow_unused=True)
    names = [name for name, _ in net.named_parameters()]
    return {name: g for name, g in zip(names, found, strict=True) if g is not None}


@pytest.mark.parametrize("variant", VARIANTS)
def test_gradients_of_a_batch_are_the_sum_of_those_of_its_clips(variant: str) -> None:
    net = make(variant)
    lengths = [3200, 1000, 2000]
    waveform, counts = clips(lengths)
    rngs = [torch.Generator().manual_seed(i) for i in range(3)]
    weights = [torch.randn(num_frames(n, HUBERT), 32, generator=rng) for n, rng in zip(lengths, rngs, strict=True)]
    masks = [torch.arange(len(w)) % 3 == 1 for w in weights]

    mask = nn.utils.rnn.pad_sequence(masks, batch_first=True)
    last = net(waveform, counts, mask).last_hidden_state
    together = gradients(net, [(last[i, : len(w)] * w).sum() for i, w in enumerate(weights)])
    states = [net(waveform[i : i + 1, :n], None, masks[i][None]).last_hidden_state[0] for i, n in enumerate(lengths)]
    apart = gradients(net, [(state * w).sum() for state, w in zip(states, weights, strict=True)])

    assert together.keys() == apart.keys() == dict(net.named_parameters()).keys()
    scale = max(float(g.abs().max()) for g in apart.values())
    for name, gradient in apart.items():
        if is_shift_removed_later(name, net.config):
            assert max(float(g[name].abs().max()) for g in (together, apart)) < 1e-5 * scale, name
            continue
        error = float((together[name] - gradient).abs().max() / gradient.abs().max())
        assert error < 1e-4, f"{name}: {error:.1e}"


def is_shift_removed_later(name: str, config: HubertConfig) -> bool:
    """Parameters whose gradient is 0 in exact arithmetic, so that only rounding is left of it: a key's bias adds the
    same to all scores of a query, which softmax ignores; a bias before the channel norm is taken off with the mean."""
    return name.endswith("k_proj.bias") or (name == "frontend.convs.0.bias" and config.conv_norm == "group")


@torch.no_grad()
def test_masks_follow_their_clip() -> None:
    net = make("base")
    waveform, lengths = clips([6400, 3000])
    frames = [num_frames(6400, HUBERT), num_frames(3000, HUBERT)]
    mask = span_mask(frames, 0.5, 3, [np.random.default_rng(i) for i in range(2)])
    batch = net(waveform, lengths, mask)
    alone = net(waveform[1:, :3000], None, mask[1:, : frames[1]])
    for a, b in zip(batch.hidden_states, alone.hidden_states, strict=True):
        assert (a[1, : frames[1]] - b[0]).abs().max() / b.std() < TOLERANCE
