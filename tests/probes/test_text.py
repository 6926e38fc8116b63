"""Character CTC against brute force over all alignments, and frames that spell the text."""

import itertools

import numpy as np
import pytest
import torch
from tiny import HUBERT
from torch import Tensor

from lighthubert.data import MINI, Batch, Manifest
from lighthubert.models import num_frames
from lighthubert.probes import Probe, Represent, make_probe, run_probe
from lighthubert.probes.clips import LabelledClip
from lighthubert.probes.features import stack
from lighthubert.probes.transcribe import LinearCTC, Speech, learn

CLIPS = Manifest.read(MINI / "train.tsv")
SHORT = np.argsort(CLIPS.samples, kind="stable")[:24].tolist()
LETTERS = "abc "


def collapse(path: tuple[int, ...]) -> list[int]:
    return [c for c, _ in itertools.groupby(path) if c]


@pytest.mark.parametrize("target", [[1, 2], [2, 2], [1]])
def test_what_is_learnt_is_the_sum_over_all_alignments(target: list[int]) -> None:
    """Frames that can be told apart: all alignments of the target together come near probability 1."""
    speech = Speech(torch.eye(4)[None], [0], [0], [4])
    before = LinearCTC(torch.zeros(1), torch.zeros(3, 4), torch.zeros(3), 1)
    after = learn(speech, [torch.tensor(target)], np.array([0]), 3, 1, seed=1)
    probability = []
    for reader in (before, after):
        (scores,) = reader(speech, [0])
        paths = [path for path in itertools.product(range(3), repeat=4) if collapse(path) == target]
        probability.append(sum(float(scores[range(4), path].sum().exp()) for path in paths))
    assert probability[0] == pytest.approx(len(paths) / 81)
    assert probability[1] > max(0.6, probability[0] * 2)


def test_context_is_the_stack_of_neighbours() -> None:
    table = torch.randn(2, 9, 3, generator=torch.Generator().manual_seed(0))
    speech = Speech(table, [0, 1], [0, 5], [5, 4])
    weight = torch.randn(4, 15, generator=torch.Generator().manual_seed(1))
    read = LinearCTC(torch.tensor([1.0, -1.0]), weight, torch.arange(4.0), 5)(speech, [1, 0])
    shares = torch.tensor([1.0, -1.0]).softmax(0)
    for scores, part in zip(read, (slice(5, 9), slice(0, 5)), strict=True):
        mixed = shares[0] * table[0, part] + shares[1] * table[1, part]
        expected = (stack(mixed, 5) @ weight.T + torch.arange(4.0)).log_softmax(-1)
        assert torch.allclose(scores, expected, atol=1e-5)


def spelt(layers: int, told: int) -> tuple[Probe, Represent]:
    """Texts with a character in every fifth frame, a dimension for each; all but one layer are noise."""
    rng, clips, codes = np.random.default_rng(0), list[LabelledClip](), dict[int, Tensor]()
    for row, clip in enumerate(SHORT):
        frames = num_frames(int(CLIPS.samples[clip]), HUBERT)
        text = "".join(rng.choice(list(LETTERS), frames // 5 - 1)).strip() or "a"
        text = " ".join(text.split())
        codes[row] = torch.zeros(frames, 5)
        for place, letter in enumerate(text):
            codes[row][5 * place, LETTERS.index(letter)] = 1
            codes[row][5 * place + 1 : 5 * place + 5, 4] = 1
        clips.append(LabelledClip(CLIPS.file_path(clip), int(CLIPS.samples[clip]), text, row % 4 == 3))

    def represent(batch: Batch) -> list[list[Tensor]]:
        noise = torch.Generator().manual_seed(batch.rows[0])
        return [
            [codes[row] if layer == told else torch.randn(codes[row].shape, generator=noise) for row in batch.rows]
            for layer in range(layers)
        ]

    return Probe("spelt", CLIPS.path, clips, "text"), Represent(represent, HUBERT)


def test_spelt_texts_are_read_from_the_layer_that_spells_them() -> None:
    probe, represent = spelt(3, told=1)
    state = torch.get_rng_state()
    found = run_probe(probe, represent, seeds=(1, 1))
    assert found.metric == "cer"
    assert found.mean < 0.02
    assert (found.layer, found.num_train, found.num_test, found.penalty) == (1, 18, 6, None)
    assert sum(found.by_layer) == pytest.approx(1)
    assert found.values[0] == found.values[1]
    assert torch.equal(torch.get_rng_state(), state)
    assert found.goodness == pytest.approx(1 - found.values[0])
    noise = run_probe(probe, represent, seeds=(1,), layers=[2])
    assert (noise.layer, noise.mean > 0.5) == (2, True)


def test_letters_that_nothing_was_trained_on_are_errors() -> None:
    probe, represent = spelt(1, told=0)
    clips = [clip._replace(label=clip.label.replace("a", "z")) if clip.held_out else clip for clip in probe.clips]
    texts = "".join(clip.label for clip in clips if clip.held_out)
    found = run_probe(Probe("odd", probe.source, clips, "text"), represent, seeds=(1,))
    assert found.mean == pytest.approx(texts.count("z") / len(texts), abs=0.02)


def test_transcripts_of_the_embedded_corpus_are_texts() -> None:
    probe = make_probe("text", MINI / "train.tsv", MINI / "valid.tsv", column="transcript", kind="text",
                    where={"language": "en"})  # fmt: skip
    valid = Manifest.read(MINI / "valid.tsv")
    said = [t for t, language in zip(*(valid.columns[c] for c in ("transcript", "language")), strict=True)
            if language == "en"]  # fmt: skip
    assert sorted(clip.label for clip in probe.clips if clip.held_out) == sorted(said)
