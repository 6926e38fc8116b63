"""Units of frames: nearest centres and crops by brute force, logits as cosines."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import HUBERT, NET, random_hubert
from torch import Tensor

from lighthubert.data import Batch
from lighthubert.objectives import UnitHead, UnitLabels
from lighthubert.objectives.units import assign, fit_kmeans, layer_features, read_about, save_centres
from lighthubert.runtime.errors import StateError


def speech(samples: int, seed: int = 0) -> Tensor:
    """Noise whose loudness and pitch wander."""
    rng = np.random.default_rng(seed)
    time = np.arange(samples) / 16000
    wave = np.sin(2 * np.pi * (200 + 100 * np.sin(7 * time)) * time) * (0.3 + 0.2 * np.sin(23 * time))
    return torch.from_numpy((wave + 0.02 * rng.standard_normal(samples)).astype(np.float32))


def test_layer_features_are_hidden_states() -> None:
    net = random_hubert(NET)
    wave = speech(8000)
    states = net(wave[None]).hidden_states
    for layer in range(4):
        features = layer_features(net, wave, layer, net.config)
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
    labels = UnitLabels(tmp_path / "train.npz", HUBERT)
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
    assert UnitLabels(tmp_path / "x.npz", HUBERT).perplexity() == pytest.approx(2**1.5)


@pytest.mark.skipif(os.name != "posix", reason="pipes with names")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.npz")
    for read in (read_about, lambda path: UnitLabels(path, HUBERT)):
        with pytest.raises(StateError, match=r"x\.npz: not a regular file"):
            read(tmp_path / "x.npz")


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
