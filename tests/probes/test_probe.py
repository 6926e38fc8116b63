"""Probes on representations whose answer is known: the layer that holds the label, none, and the clip's own number."""

import numpy as np
import pytest
import torch
from tiny import HUBERT, NET, random_hubert
from torch import Tensor

from lighthubert.data import MINI, Batch, Manifest, load_audio, mfcc
from lighthubert.models import num_frames
from lighthubert.probes import Probe, Represent, hidden_states, mfcc_frames, run_probe, score
from lighthubert.probes.clips import LabelledClip
from lighthubert.probes.features import pool, stack

CLIPS = Manifest.read(MINI / "train.tsv")
SHORT = np.argsort(CLIPS.samples, kind="stable")[:60].tolist()


def probe_of(labels: list[str], kind: str = "classes") -> Probe:
    """Sixty short clips of the embedded corpus; every fourth is held out."""
    rows = zip(SHORT, labels, strict=True)
    clips = [
        LabelledClip(CLIPS.file_path(row), int(CLIPS.samples[row]), label, i % 4 == 3)
        for i, (row, label) in enumerate(rows)
    ]
    return Probe("made", CLIPS.path, clips, kind)


def coded(codes: list[list[Tensor]]) -> Represent:
    """A representation that gives each clip a vector of its own in each layer, in all of its frames."""

    def represent(batch: Batch) -> list[list[Tensor]]:
        frames = num_frames(batch.lengths, HUBERT).tolist()
        return [[layer[row].expand(n, -1) for row, n in zip(batch.rows, frames, strict=True)] for layer in codes]

    return Represent(represent, HUBERT)


def noise(seed: int, dims: int) -> list[Tensor]:
    return list(torch.randn(60, dims, generator=torch.Generator().manual_seed(seed)))


LABELS = [("even", "odd")[int(bit)] for bit in np.random.default_rng(0).integers(0, 2, 60)]
TOLD = [torch.tensor([float(label == "odd")]) for label in LABELS]


def test_the_layer_that_holds_the_label_is_found() -> None:
    found = run_probe(probe_of(LABELS), coded([noise(0, 8), TOLD, noise(1, 8)]))
    assert found.layer == 1
    assert found.values == (1.0, 1.0, 1.0)
    assert found.by_layer[1] == 1.0
    assert max(found.by_layer[0], found.by_layer[2]) < 1.0
    assert (found.num_train, found.num_test) == (45, 15)


def test_a_layer_may_be_named() -> None:
    found = run_probe(probe_of(LABELS), coded([noise(0, 8), TOLD, TOLD]), layers=[2])
    assert (found.layer, found.mean, len(found.by_layer)) == (2, 1.0, 1)


def test_held_out_clips_teach_nothing() -> None:
    """A code for each clip lets a classifier remember all clips that it was shown, and guess those that it was not."""
    own = list(torch.eye(60))
    found = run_probe(probe_of(LABELS), coded([own]))
    train = [label for i, label in enumerate(LABELS) if i % 4 != 3]
    majority = max(set(train), key=train.count)
    expected = np.mean([label == majority for i, label in enumerate(LABELS) if i % 4 == 3])
    assert found.values == pytest.approx((expected,) * 3)


def test_seeds_train_on_other_clips() -> None:
    features = [torch.cat([a, b]) for a, b in zip(noise(2, 30), TOLD, strict=True)]
    scores = run_probe(probe_of(LABELS), coded([features]), seeds=(1, 2, 3, 4, 5, 1)).values
    assert scores[0] == scores[5]
    assert len(set(scores)) > 1


def test_a_score_for_search_is_the_probe_on_fewer_clips() -> None:
    unclear = [told + n for told, n in zip(TOLD, noise(4, 1), strict=True)]
    made, representation = probe_of(LABELS), coded([noise(3, 20), unclear])
    fewer = made.take(30, 12)
    assert [sum(clip.held_out == part for clip in fewer.clips) for part in (False, True)] == [30, 12]
    assert set(fewer.clips) < set(made.clips)
    assert made.take(99, 99).clips == made.clips
    assert score(representation, made, 30, 12) == run_probe(fewer, representation, seeds=(1,)).mean
    assert score(coded([TOLD]), made) == 1.0


def test_too_few_clips_are_refused() -> None:
    with pytest.raises(ValueError, match="probe made: 3 training and 0 held-out items are too few"):
        run_probe(probe_of(LABELS).take(3, 0), coded([TOLD]))


def test_frames_are_told_apart_by_what_is_in_them() -> None:
    """Labels that follow a feature of the frame; with context, ones that follow the frame before."""

    def represent(batch: Batch) -> list[list[Tensor]]:
        place = [torch.arange(n)[:, None] % 8 for n in num_frames(batch.lengths, HUBERT).tolist()]
        return [[(p == torch.arange(8)).float() for p in place]]

    representation = Represent(represent, HUBERT)

    def spikes(late: int) -> list[str]:
        frames = [num_frames(int(CLIPS.samples[r]), HUBERT) for r in SHORT]
        return [" ".join(f"{t}:p{(t - late) % 8 // 4}" for t in range(n)) for n in frames]

    assert run_probe(probe_of(spikes(0), kind="frames"), representation).mean == 1.0
    found = run_probe(probe_of(spikes(1), kind="frames"), representation, context=3)
    assert found.mean > 0.99
    assert found.num_test == sum(num_frames(int(CLIPS.samples[r]), HUBERT) for i, r in enumerate(SHORT) if i % 4 == 3)


def test_stack_and_pool() -> None:
    frames = torch.arange(12.0).reshape(6, 2)
    stacked = stack(frames, 5)
    for t in range(6):
        neighbours = [frames[min(max(t + d, 0), 5)] for d in (-2, -1, 0, 1, 2)]
        assert torch.equal(stacked[t], torch.cat(neighbours))
    assert torch.equal(stack(frames, 1), frames)
    table = frames.numpy()
    assert np.allclose(pool(frames).numpy(), [*table.mean(0), *table.std(0)])


def test_representations_are_those_of_single_clips() -> None:
    net = random_hubert(NET).train()
    made = probe_of([""] * 60)
    waves = [load_audio(made.clips[row].file) for row in (0, 40)]
    padded = torch.nn.utils.rnn.pad_sequence(waves, batch_first=True)
    batch = Batch(padded, torch.tensor([len(w) for w in waves]), (0, 40), (0, 0), 0)
    layers = hidden_states(net)(batch)
    (frames,) = mfcc_frames(batch)
    assert len(layers) == 4
    for i, wave in enumerate(waves):
        with torch.no_grad():
            alone = net(wave[None]).hidden_states
        for layer, state in zip(layers, alone, strict=True):
            assert (layer[i] - state[0]).abs().max() < 1e-5 * state.abs().max()
        assert torch.equal(frames[i], mfcc(wave, HUBERT, subtract_mean=False))
        assert frames[i].mean(0).abs().max() > 1
