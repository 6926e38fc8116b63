"""Units of frames: MFCC written anew in numpy, nearest centres and crops by brute force, logits as cosines."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from lighthubert import Hubert, HubertConfig
from lighthubert.data import Batch
from lighthubert.models import num_frames
from lighthubert.objectives import UnitHead, UnitLabels
from lighthubert.objectives.units import assign, fit_kmeans, layer_features, mfcc, save_centres


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
    expected = (expected - expected.mean(0))[::2]
    actual = mfcc(wave).numpy()
    assert actual.shape == expected.shape
    assert np.abs(actual - expected).max() < 2e-3 * max(np.abs(expected).max(), 1)


def test_a_frame_of_mfcc_for_every_frame_of_the_net() -> None:
    for samples in [*range(400, 2400, 37), 559, 560, 719, 720, 721, 1039, 1040, 16000, 16079, 16080, 48123]:
        assert mfcc(speech(samples)).shape == (num_frames(samples), 39), samples


def test_the_mean_of_a_clip_is_taken_off() -> None:
    """A louder copy and one through another channel (a fixed filter) have almost the features of the original."""
    wave = speech(32000)
    features = mfcc(wave)
    assert features.mean(0).abs().max() < 0.05 * features.std()  # not exactly 0: every other frame was dropped
    assert (mfcc(wave * 0.1) - features).abs().max() < 1e-2
    filtered = wave.clone()
    filtered[1:] += 0.5 * wave[:-1]
    other = mfcc(filtered)
    assert (other - features)[2:].abs().mean() < 0.1 * features.abs().mean()


@pytest.mark.parametrize("moved", [0, 1, 7, 30])
def test_a_burst_is_seen_in_its_frame(moved: int) -> None:
    """The frames that see samples 320 t to 320 t + 400 are the net's; a move by 320 is a move by one frame."""
    wave = speech(16000) * 0.01
    middle = 320 * (5 + moved) + 200
    wave[middle - 40 : middle + 40] += torch.from_numpy(np.random.default_rng(1).standard_normal(80)).float()
    loud = mfcc(wave)[:, 0]
    assert int(loud.argmax()) == 5 + moved
    net = Hubert(HubertConfig(conv_channels=(4,) * 7, conv_norm="layer", embed_dim=16, head_dim=4, num_heads=(1,),
                              ffn_dim=(8,), pos_conv_kernel=4, pos_conv_groups=4)).eval()  # fmt: skip
    other = wave.clone()
    other[middle] = 9
    with torch.no_grad():
        states = [net(x[None]).hidden_states[0][0] for x in (wave, other)]
    changed = (states[0] - states[1]).abs().amax(1).nonzero()[:, 0].tolist()
    assert changed == [5 + moved]


def test_layer_features_are_hidden_states() -> None:
    torch.manual_seed(0)
    net = Hubert(HubertConfig(conv_channels=(8,) * 7, embed_dim=32, head_dim=8, num_heads=(4, 4), ffn_dim=(48, 48),
                              pos_conv_kernel=16, pos_conv_groups=4)).eval()  # fmt: skip
    wave = speech(8000)
    states = net(wave[None]).hidden_states
    for layer in range(3):
        features = layer_features(net, wave, layer)
        assert torch.equal(features, states[layer][0])
        assert not features.requires_grad


@pytest.mark.parametrize(("frames", "units"), [(7, 3), (500, 100)])
def test_assign_finds_the_nearest_centre(rng: np.random.Generator, frames: int, units: int) -> None:
    """By float64 distances, up to ties of float32. Both of cdist's ways: up to 25 rows it takes no product."""
    points, centres = rng.standard_normal((frames, 39)) * 20 + 100, rng.standard_normal((units, 39)) * 20 + 100
    labels = assign(torch.from_numpy(points).float(), torch.from_numpy(centres).float())
    assert labels.dtype == np.uint16
    table = np.linalg.norm(points[:, None] - centres[None], axis=2)
    assert (table[np.arange(frames), labels] <= table.min(1) * (1 + 1e-4)).all()
    assert (labels == table.argmin(1)).mean() > 0.99


def test_clusters_are_found_again(rng: np.random.Generator) -> None:
    true = rng.standard_normal((5, 39)) * 10
    clips = [torch.from_numpy(true[rng.integers(5, size=80)] + rng.standard_normal((80, 39)) * 0.1).float()
             for _ in range(6)]  # fmt: skip
    centres = fit_kmeans(iter(clips), 5, seed=1)
    assert (centres.dtype, centres.shape) == (np.float32, (5, 39))
    assert np.linalg.norm(centres[:, None] - true[None], axis=2).min(0).max() < 0.2
    assert np.array_equal(centres, fit_kmeans(iter(clips), 5, seed=1))
    with pytest.raises(ValueError, match=r"units.num_units: 500 units need as many frames, the clips have 480"):
        fit_kmeans(clips, 500, seed=1)


def test_centres_say_what_they_are_of(tmp_path: Path) -> None:
    centres = np.ones((2, 3), dtype=np.float32)
    save_centres(tmp_path / "centres.npz", centres, {"source": "mfcc", "num_units": 2})
    with np.load(tmp_path / "centres.npz", allow_pickle=False) as file:
        assert np.array_equal(file["centres"], centres)
        assert str(file["about"]) == '{"source": "mfcc", "num_units": 2}'
    assert [path.name for path in tmp_path.iterdir()] == ["centres.npz"]


def test_labels_of_crops(tmp_path: Path, rng: np.random.Generator) -> None:
    """Frame t of a crop that starts at sample 320 s is frame s + t of the clip; a clip without labels gets -100."""
    samples = [16000, 5000, 400, 48000, 9000, 700]
    clips = [rng.integers(60000, size=(n - 400) // 320 + 1).astype(np.uint16) for n in samples]
    clips[4] = clips[4][:0]  # could not be read when the labels were made
    UnitLabels.write(tmp_path / "train.npz", iter(clips))
    assert [path.name for path in tmp_path.iterdir()] == ["train.npz"]
    labels = UnitLabels(tmp_path / "train.npz")
    cases = {3: (320 * 41, 16000), 0: (0, 16000), 2: (0, 400), 4: (640, 3000), 5: (0, 700), 1: (320 * 3, 4040)}
    lengths = torch.tensor([n for _, n in cases.values()])
    batch = Batch(torch.zeros(6, 16000), lengths, tuple(cases), tuple(s for s, _ in cases.values()), 1)
    table = labels.of(batch)
    assert (table.dtype, table.shape) == (torch.int64, (6, 49))
    for row, (clip, (start, length)) in zip(table.tolist(), cases.items(), strict=True):
        for t, unit in enumerate(row):
            valid = 320 * t + 400 <= length and len(clips[clip])
            assert unit == (int(clips[clip][start // 320 + t]) if valid else -100), (clip, t)


def test_perplexity(tmp_path: Path) -> None:
    UnitLabels.write(tmp_path / "x.npz", iter([np.array([3, 3, 9, 9], dtype=np.uint16), np.array([0] * 4, np.uint16)]))
    assert UnitLabels(tmp_path / "x.npz").perplexity() == pytest.approx(2**1.5)


def test_the_head_is_a_cosine_over_a_tenth() -> None:
    torch.manual_seed(0)
    head = UnitHead(16, 5, dim=8)
    state = torch.randn(2, 3, 16) * 50
    with torch.no_grad():
        logits = head(state)
    assert logits.shape == (2, 3, 5)
    for place in np.ndindex(2, 3):
        x = (head.proj.weight @ state[place] + head.proj.bias).detach()
        for k, unit in enumerate(head.units.detach()):
            assert logits[place][k].item() == pytest.approx(10 * float(x @ unit / (x.norm() * unit.norm())), abs=1e-4)
    assert logits.abs().max() <= 10


def test_the_head_counts_in_float32_under_autocast() -> None:
    """In bfloat16 logits near 10 are multiples of 1/16."""
    torch.manual_seed(0)
    head = UnitHead(16, 5)
    state = torch.randn(2, 3, 16)
    with torch.autocast("cpu", torch.bfloat16):
        logits, projected = head(state), head.proj(state)
    expected = 10 * torch.cosine_similarity(projected.float()[..., None, :], head.units, dim=-1)
    assert logits.dtype == torch.float32
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-4)
