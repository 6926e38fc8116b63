"""Decoding against hand-made logits, and error rates against an edit distance written out."""

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor

from lighthubert.tasks.decoding import error_rates, greedy, path_text, path_words
from lighthubert.tasks.vocabulary import Vocabulary

CHARACTERS = Vocabulary(("<blank>", "a", "b", "▁"))

def logits_of(path: str, padding: int = 0) -> Tensor:
    """(1, T, 4): each frame is sure of one of "_ab▁"; the padding says "b"."""
    ids = ["_ab▁".index(c) for c in path + padding * "b"]
    logits = torch.full((1, len(ids), 4), -5.0)
    logits[0, range(len(ids)), ids] = 5.0
    return logits


def test_greedy_merges_repeats() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(5, 40, 4, generator=generator)
    frames = torch.tensor([40, 31, 1, 7, 22])
    for row, n, path in zip(logits, frames.tolist(), greedy(logits, frames), strict=True):
        best = row[:n].argmax(-1).tolist()
        assert [token.id for token in path] == [i for i, _ in itertools.groupby(best) if i]
        assert all(set(best[token.start : token.end]) == {token.id} for token in path)
        assert all(a.end <= b.start for a, b in itertools.pairwise(path))


@pytest.mark.parametrize("seed", range(5))
def test_greedy_reads_the_best_alignment_of_all(seed: int) -> None:
    scores = torch.randn(5, 3, generator=torch.Generator().manual_seed(seed)).log_softmax(-1)
    best = max(itertools.product(range(3), repeat=5), key=lambda path: sum(scores[t, c] for t, c in enumerate(path)))
    (path,) = greedy(scores[None], torch.tensor([5]))
    assert [token.id for token in path] == [c for c, _ in itertools.groupby(best) if c]


def test_words_have_the_times_of_their_frames() -> None:
    said = "__aab_b__▁_b__a▁▁__"
    (path,) = greedy(logits_of(said, padding=4), torch.tensor([len(said)]))
    assert path_text(path, CHARACTERS) == "abb ba"
    words = path_words(path, CHARACTERS, 0.02)
    assert [w.word for w in words] == ["abb", "ba"]
    times = [time for w in words for time in (w.start, w.end)]
    assert times == pytest.approx([2 * 0.02, 7 * 0.02, 11 * 0.02, 15 * 0.02])


def test_words_of_subwords() -> None:
    vocabulary = Vocabulary(("<blank>", "▁a", "b", "▁ba"))
    (path,) = greedy(logits_of("_ab_ba_▁b"), torch.tensor([9]))
    assert path_text(path, vocabulary) == "abb a bab"
    assert [word.word for word in path_words(path, vocabulary, 0.02)] == ["abb", "a", "bab"]
    assert path_words([], vocabulary, 0.02) == []


def edits(a: list[str], b: list[str]) -> int:
    """Levenshtein's distance, row by row."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        before, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (x != y))
    return row[-1]


def test_error_rates() -> None:
    hypotheses = ["the cat sat", "", "a  b c d", "hello world "]
    references = ["the bat sat on it", "two words", "a c", "hello world"]
    found = error_rates(hypotheses, references)
    pairs = [(h.split(), r.split()) for h, r in zip(hypotheses, references, strict=True)]
    assert found["wer"] == (sum(edits(h, r) for h, r in pairs), sum(len(r) for _, r in pairs))
    letters = [(list(" ".join(h)), list(" ".join(r))) for h, r in pairs]
    assert found["cer"] == (sum(edits(h, r) for h, r in letters), sum(len(r) for _, r in letters))


@pytest.mark.parametrize("seed", range(3))
def test_errors_are_the_edits_that_torchaudio_counts(seed: int) -> None:
    from torchaudio.functional import edit_distance

    rng = np.random.default_rng(seed)
    references, read = (["".join(rng.choice(list("abc"), n)) for n in rng.integers(low, 9, 6)] for low in (1, 0))
    edits = sum(edit_distance(a, b) for a, b in zip(references, read, strict=True))
    assert error_rates(read, references)["cer"] == (edits, sum(map(len, references)))
