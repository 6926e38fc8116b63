"""Counts of frames against real convolutions; norms against torch's on unpadded input."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tiny import HUBERT, NET

from lighthubert.models import Hubert, HubertConfig, num_frames, receptive_field, valid_mask
from lighthubert.models.frontend import normalize_waveform


def frames_by_convolution(num_samples: int, config: HubertConfig, device: str = "meta") -> int:
    """The width that torch's convolutions give, without their numbers."""
    x = torch.zeros(1, 1, num_samples, device=device)
    for kernel, stride in zip(config.conv_kernels, config.conv_strides, strict=True):
        x = F.conv1d(x, torch.zeros(1, 1, kernel, device=device), stride=stride)
    return x.shape[2]


def test_num_frames_of_every_length() -> None:
    config = HubertConfig()
    lengths = range(400, 5001)
    expected = [frames_by_convolution(n, config) for n in lengths]
    assert [num_frames(n, HUBERT) for n in lengths] == expected == [(n - 400) // 320 + 1 for n in lengths]
    assert num_frames(torch.tensor(lengths), HUBERT).tolist() == expected
    assert num_frames(np.array(lengths), HUBERT).tolist() == expected
    assert isinstance(num_frames(16000, HUBERT), int)


@pytest.mark.parametrize(
    ("kernels", "strides"), [((10, 3, 2), (5, 2, 2)), ((4, 7), (3, 1)), ((3,), (2,)), ((5, 2, 9, 1), (4, 3, 2, 1))]
)
def test_num_frames_of_other_convolutions(kernels: tuple[int, ...], strides: tuple[int, ...]) -> None:
    config = HubertConfig(conv_channels=(4,) * len(kernels), conv_kernels=kernels, conv_strides=strides)
    shortest = receptive_field(config)
    assert num_frames(shortest, config) == 1
    assert num_frames(shortest - 1, config) < 1
    for n in range(shortest, shortest + 200):
        assert num_frames(n, config) == frames_by_convolution(n, config)


def test_the_receptive_field_of_hubert_is_400_samples() -> None:
    assert receptive_field(HUBERT) == 400
    assert frames_by_convolution(400, HUBERT, "cpu") == 1
    with pytest.raises(RuntimeError):  # torch 2.6 checks real tensors alone
        frames_by_convolution(399, HUBERT, "cpu")


@torch.no_grad()
def test_a_frame_sees_its_400_samples_and_no_other() -> None:
    torch.manual_seed(0)
    net = Hubert(dataclasses.replace(NET, conv_norm="layer")).eval()
    waveform = torch.randn(1, 2000)
    before = net(waveform).hidden_states[0]
    for sample in (0, 319, 320, 640, 959, 960, 1359, 1360, 1999):
        touched = waveform.clone()
        touched[0, sample] += 1
        changed = (net(touched).hidden_states[0] != before).any(-1)[0].nonzero().flatten().tolist()
        assert changed == [t for t in range(before.shape[1]) if 320 * t <= sample < 320 * t + 400]


def test_valid_mask() -> None:
    assert valid_mask(torch.tensor([0, 2, 3]), 3).tolist() == [[False] * 3, [True, True, False], [True] * 3]


@pytest.mark.parametrize("scale", [1e-3, 1.0, 100.0])
def test_normalize_waveform_over_valid_samples_only(scale: float) -> None:
    torch.manual_seed(0)
    waveform = scale * (torch.randn(3, 1000) + 2)
    lengths = torch.tensor([1000, 400, 777])
    found = normalize_waveform(waveform, lengths)
    for row, n in enumerate(lengths.tolist()):
        expected = F.layer_norm(waveform[row, :n], (n,))
        torch.testing.assert_close(found[row, :n], expected, rtol=1e-5, atol=2e-6)
        torch.testing.assert_close(
            normalize_waveform(waveform[row : row + 1, :n], None)[0], expected, rtol=1e-5, atol=2e-6
        )
        assert not found[row, n:].any()


def test_normalize_waveform_of_silence_is_silence() -> None:
    assert not normalize_waveform(torch.full((2, 500), 0.0), torch.tensor([500, 400])).any()
