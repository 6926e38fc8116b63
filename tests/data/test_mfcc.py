"""MFCC against a version written anew in numpy, and against the frames of the net."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny import HUBERT, NET
from torch import Tensor

from lighthubert import Hubert
from lighthubert.data import mfcc
from lighthubert.models import num_frames


def speech(samples: int, seed: int = 0) -> Tensor:
    """Noise whose loudness and pitch wander."""
    rng = np.random.default_rng(seed)
    time = np.arange(samples) / 16000
    wave = np.sin(2 * np.pi * (200 + 100 * np.sin(7 * time)) * time) * (0.3 + 0.2 * np.sin(23 * time))
    return torch.from_numpy((wave + 0.02 * rng.standard_normal(samples)).astype(np.float32))


def kaldi_mfcc(wave: np.ndarray) -> np.ndarray:
    """(S,) -> (10 ms frames, 13), after the description of Kaldi's compute-mfcc-feats with --use-energy=false."""

    def mel(hz: np.ndarray | float) -> np.ndarray:
        return 1127.0 * np.log(1.0 + np.asarray(hz) / 700.0)

    edges = np.linspace(mel(20.0), mel(8000.0), 25)
    place = mel(np.arange(256) * 16000 / 512)
    rising = (place - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - place) / (edges[2:] - edges[1:-1])[:, None]
    filters = np.maximum(0, np.minimum(rising, falling))  # (23, 256)
    window = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 399)) ** 0.85
    n, k = np.arange(23), np.arange(13)[:, None]
    dct = np.sqrt(2 / 23) * np.cos(np.pi / 23 * (n + 0.5) * k)
    dct[0] = np.sqrt(1 / 23)
    lifter = 1 + 11 * np.sin(np.pi * np.arange(13) / 22)
    rows = []
    for start in range(0, len(wave) - 399, 160):
        frame = wave[start : start + 400].astype(np.float64) * 2**15
        frame = frame - frame.mean()
        frame = frame - 0.97 * np.concatenate([frame[:1], frame[:-1]])
        power = np.abs(np.fft.rfft(frame * window, 512))[:256] ** 2
        rows.append(dct @ np.log(np.maximum(filters @ power, 1.19e-7)) * lifter)
    return np.stack(rows)


def deltas(frames: np.ndarray) -> np.ndarray:
    """The regression over two frames to either side, ends repeated."""
    padded = np.concatenate([frames[:1]] * 2 + [frames] + [frames[-1:]] * 2)
    at = {k: padded[2 + k : len(padded) - 2 + k] for k in (-2, -1, 1, 2)}
    return (2 * (at[2] - at[-2]) + (at[1] - at[-1])) / 10


@pytest.mark.parametrize("samples", [16000, 12345, 720, 400])
def test_mfcc_is_kaldi_s(samples: int) -> None:
    wave = speech(samples)
    static = kaldi_mfcc(wave.numpy())
    expected = np.concatenate([static, deltas(static), deltas(deltas(static))], axis=1)
    close = 2e-3 * np.abs(expected).max()
    assert np.abs(mfcc(wave, HUBERT, subtract_mean=False).numpy() - expected[::2]).max() < close
    centred = (expected - expected.mean(0))[::2]
    assert mfcc(wave, HUBERT).shape == centred.shape
    assert np.abs(mfcc(wave, HUBERT).numpy() - centred).max() < 2e-3 * max(np.abs(centred).max(), 1)


def test_a_frame_of_mfcc_for_every_frame_of_the_net() -> None:
    for samples in [*range(400, 2400, 37), 559, 560, 719, 720, 721, 1039, 1040, 16000, 16079, 16080, 48123]:
        assert mfcc(speech(samples), HUBERT).shape == (num_frames(samples, HUBERT), 39), samples


def test_the_mean_of_a_clip_is_taken_off() -> None:
    """A louder copy and one through another channel (a fixed filter) have almost the features of the original."""
    wave = speech(32000)
    features = mfcc(wave, HUBERT)
    assert features.mean(0).abs().max() < 0.05 * features.std()  # not exactly 0: every other frame was dropped
    assert (mfcc(wave * 0.1, HUBERT) - features).abs().max() < 1e-2
    filtered = wave.clone()
    filtered[1:] += 0.5 * wave[:-1]
    other = mfcc(filtered, HUBERT)
    assert (other - features)[2:].abs().mean() < 0.1 * features.abs().mean()


@pytest.mark.parametrize("moved", [0, 1, 7, 30])
def test_a_burst_is_seen_in_its_frame(moved: int) -> None:
    """The frames that see samples 320 t to 320 t + 400 are the net's; a move by 320 is a move by one frame."""
    wave = speech(16000) * 0.01
    middle = 320 * (5 + moved) + 200
    wave[middle - 40 : middle + 40] += torch.from_numpy(np.random.default_rng(1).standard_normal(80)).float()
    loud = mfcc(wave, HUBERT)[:, 0]
    assert int(loud.argmax()) == 5 + moved
    net = Hubert(replace(NET, conv_norm="layer")).eval()
    other = wave.clone()
    other[middle] = 9
    with torch.no_grad():
        states = [net(x[None]).hidden_states[0][0] for x in (wave, other)]
    changed = (states[0] - states[1]).abs().amax(1).nonzero()[:, 0].tolist()
    assert changed == [5 + moved]
