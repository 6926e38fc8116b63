"""The beam search against all alignments, written out, and against greedy decoding where logits leave no doubt."""

import gzip
import itertools
import logging
import math
import re
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lighthubert.tasks.beam import beam_search
from lighthubert.tasks.config import TaskConfig
from lighthubert.tasks.decoding import greedy, path_text, path_words
from lighthubert.tasks.ngrams import read_arpa
from lighthubert.tasks.vocabulary import Vocabulary, build_vocabulary

CHARACTERS = Vocabulary(("<blank>", "a", "b", "▁"))
UNIGRAMS = {"<unk>": (-1.0, 0.0), "<s>": (-99.0, -0.3), "</s>": (-1.0, 0.0), "ab": (-0.6, -0.4), "ba": (-0.7, -0.2)}
BIGRAMS = {("<s>", "ab"): -0.1, ("ab", "ba"): -0.1, ("ba", "</s>"): -0.2}


def arpa_text(unigrams: dict[str, tuple[float, float]], bigrams: dict[tuple[str, str], float]) -> str:
    lines = ["\\data\\", f"ngram 1={len(unigrams)}", f"ngram 2={len(bigrams)}", "", "\\1-grams:"]
    lines += [f"{p}\t{word}\t{back_off}" for word, (p, back_off) in unigrams.items()]
    lines += ["", "\\2-grams:", *(f"{p}\t{' '.join(pair)}" for pair, p in bigrams.items()), "", "\\end\\", ""]
    return "\n".join(lines)


ARPA = arpa_text(UNIGRAMS, BIGRAMS)


@pytest.fixture
def lm(tmp_path: Path) -> Path:
    (tmp_path / "lm.arpa").write_text(ARPA)
    return tmp_path / "lm.arpa"


def log10_of(said: Sequence[str]) -> float:
    """The bigram model's, by hand."""
    total = 0.0
    for pair in itertools.pairwise(["<s>", *said, "</s>"]):
        total += BIGRAMS[pair] if pair in BIGRAMS else UNIGRAMS[pair[0]][1] + UNIGRAMS[pair[1]][0]
    return total


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("names", [("<blank>", "a", "b", "▁"), ("<blank>", "a", "b")])
def test_the_best_of_all_alignments(lm: Path, seed: int, names: tuple[str, ...]) -> None:
    """Without a token between words they follow each other: "abba" is two."""
    vocabulary, frames = Vocabulary(names), 6
    logits = 2 * torch.randn(1, frames, len(names), generator=torch.Generator().manual_seed(seed))
    scores, found = logits[0].log_softmax(-1), {}
    for alignment in itertools.product(range(len(names)), repeat=frames):
        text = vocabulary.text([c for c, _ in itertools.groupby(alignment) if c])
        said = text.split() if "▁" in names else re.findall("..", text)
        if all(word in ("ab", "ba") for word in said) and (len(text) % 2 == 0 or "▁" in names):
            score = float(scores[range(frames), alignment].sum())
            found[alignment] = score + 1.5 * log10_of(said) - 0.5 * len(said)
    best = max(found, key=lambda alignment: found[alignment])
    (path,) = beam_search(vocabulary, lm, 1.5, -0.5, beam=1000)(logits, torch.tensor([frames]))
    runs = [(token, len([*frames])) for token, frames in itertools.groupby(best)]
    ends = [*itertools.accumulate(n for _, n in runs)]
    expected = [(token, end - n, end) for (token, n), end in zip(runs, ends, strict=True) if token]
    assert [(token.id, token.start, token.end) for token in path] == expected


SCRIPTS = ["abcdefgh'é", "дежзи", "かきくけこ日本語", "กขคงจ", "कखगि"]


@st.composite
def sure_logits(draw: st.DrawFn) -> tuple[Vocabulary, list[str], torch.Tensor, int]:
    """A vocabulary, the words of a model, logits (1, T, V) that leave no doubt, and the width of a beam."""
    alphabet = draw(st.sampled_from(SCRIPTS))
    words = draw(st.lists(st.text(alphabet, min_size=1, max_size=5), min_size=1, max_size=8, unique=True))
    kind = draw(st.sampled_from(["characters", "subwords", "no spaces"]))
    said = draw(st.lists(st.sampled_from(words), min_size=1, max_size=5))
    text = ("" if kind == "no spaces" else " ").join(said)
    if kind == "subwords":
        letters = len(set("".join(words))) + 2  # blank and the space
        size = draw(st.integers(letters, letters + 6))
        try:
            vocabulary = build_vocabulary(words, TaskConfig(tokens="subwords", num_subwords=size))
        except ValueError as error:  # fewer pieces than that in these words
            size = int(re.findall(r"give (\d+)", str(error))[0])
            vocabulary = build_vocabulary(words, TaskConfig(tokens="subwords", num_subwords=size))
    else:
        vocabulary = build_vocabulary(["".join(words) if kind == "no spaces" else " ".join(words), text], TaskConfig())
    (ids,) = vocabulary.encode([text], "ctc")
    alignment = [0] * draw(st.integers(0, 3))
    for i in ids:
        alignment += [0] * max(draw(st.integers(0, 3)), int(alignment[-1:] == [i]))
        alignment += [i] * draw(st.integers(1, 8))
    alignment += [0] * draw(st.integers(0, 3))
    logits = torch.randn(1, len(alignment), len(vocabulary), generator=torch.Generator().manual_seed(len(ids)))
    logits[0, range(len(alignment)), alignment] += 60
    # Where words follow each other without a sign, other ways to cut them must be kept for a while.
    return vocabulary, words, logits, draw(st.integers(50 if kind == "no spaces" else 1, 60))


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(sure_logits(), st.floats(0, 3), st.floats(-2, 2))
def test_the_law_of_no_doubt(
    world: tuple[Vocabulary, list[str], torch.Tensor, int], lm_weight: float, word_score: float
) -> None:
    """With a model that knows the words a beam search says what greedy decoding says, at the same times."""
    vocabulary, words, logits, beam = world
    unigrams = {word: (-0.5 * (i % 5), -0.2) for i, word in enumerate(words)}
    unigrams |= {"<s>": (-99.0, -0.3), "</s>": (-1.0, 0.0)}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "lm.arpa")
        file.write_text(arpa_text(unigrams, {(words[0], words[-1]): -0.1}), encoding="utf-8")
        decode = beam_search(vocabulary, file, lm_weight, word_score, beam)
    frames = torch.tensor([logits.shape[1]])
    (sure,), (path,) = greedy(logits, frames), decode(logits, frames)
    assert path_text(path, vocabulary) == path_text(sure, vocabulary)
    assert path == sure


def logits_of(path: str, padding: int = 0) -> torch.Tensor:
    """(1, T, 4): each frame is sure of one of "_ab▁"; the padding says "b"."""
    ids = ["_ab▁".index(c) for c in path + padding * "b"]
    logits = torch.full((1, len(ids), 4), -5.0)
    logits[0, range(len(ids)), ids] = 5.0
    return logits


def test_a_language_model_finds_words(lm: Path) -> None:
    """ "abb" is none; the word that fits best takes its place, at its time."""
    said = "__aab_b__▁_b__a▁▁__"
    (path,) = beam_search(CHARACTERS, lm)(logits_of(said, padding=4), torch.tensor([len(said)]))
    assert path_text(path, CHARACTERS) == "ab ba"
    first, second = path_words(path, CHARACTERS, 0.02)
    assert [first.start, second.start, second.end] == pytest.approx([2 * 0.02, 11 * 0.02, 15 * 0.02])


@pytest.mark.parametrize("said", ["", "_", "a"])
def test_clips_without_a_whole_word(lm: Path, said: str) -> None:
    (path,) = beam_search(CHARACTERS, lm, beam=1)(logits_of(said, padding=1), torch.tensor([len(said)]))
    assert path_text(path, CHARACTERS) in ("", said)


def test_words_that_cannot_be_spelt(lm: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="lighthubert"):
        beam_search(Vocabulary(("<blank>", "a", "b", "▁")), lm)
    assert not caplog.records
    lm.write_text(ARPA.replace("ba", "BA"))
    with caplog.at_level(logging.WARNING, logger="lighthubert"):
        beam_search(CHARACTERS, lm)
    assert [r.message for r in caplog.records] == [
        f"{lm}: 1 of 2 words cannot be spelt with the vocabulary, such as 'BA'"
    ]
    lm.write_text(ARPA.replace("ba", "BA").replace("ab", "AB"))
    with pytest.raises(ValueError, match=r"lm\.arpa: none of its 2 words can be spelt with the vocabulary: 'AB'$"):
        beam_search(CHARACTERS, lm)


def test_two_forms_of_one_letter(tmp_path: Path) -> None:
    """A model that writes é as two characters knows the words of a vocabulary that has it as one."""
    vocabulary = build_vocabulary(["e\u0301a"], TaskConfig())
    assert vocabulary == build_vocabulary(["éa"], TaskConfig()) == Vocabulary(("<blank>", "a", "é"))
    (tmp_path / "lm.arpa").write_text(ARPA.replace("ab", "e\u0301a"), encoding="utf-8")
    assert read_arpa(tmp_path / "lm.arpa").words == ["éa", "ba"]


ENDS: dict[str, Callable[[str], bytes]] = {
    "gzip": lambda text: gzip.compress(text.encode()),
    "BOM": lambda text: b"\xef\xbb\xbf" + text.encode(),
    "CRLF": lambda text: text.replace("\n", "\r\n").encode(),
    "comments": lambda text: ("made by hand\n\n" + text).encode(),
}


@pytest.mark.parametrize("form", ENDS)
def test_forms_of_arpa(tmp_path: Path, form: str) -> None:
    (tmp_path / "lm.arpa.gz").write_bytes(ENDS[form](ARPA))
    model = read_arpa(tmp_path / "lm.arpa.gz")
    assert (model.order, model.words) == (2, ["ab", "ba"])
    for context, word in itertools.product([("<s>",), ("ab",), ("ba",), ()], ["ab", "ba", "</s>"]):
        known = BIGRAMS.get((*context, word)) if context else None
        back_off = UNIGRAMS[context[0]][1] if context else 0.0
        expected = UNIGRAMS[word][0] + back_off if known is None else known
        assert model.score(context, word)[0] == pytest.approx(expected)


NONE = r"not an n-gram model in ARPA format"
DAMAGED: dict[str, tuple[bytes, str]] = {
    "text": (b"no model, but some text\n", NONE),
    "binary": (bytes(range(256)), NONE),
    "no words": (b"\\1-grams:\n-1.0\t<unk>\n", NONE),
    "cut": (ARPA[:-40].encode(), r"damaged: holds 5 of 5 1-grams, 2 of 3 2-grams, no end|line \d+: expected log10"),
    "no end": (ARPA.replace("\\end\\", "").encode(), "damaged: holds 5 of 5 1-grams, 3 of 3 2-grams, no end"),
    "too few": (ARPA.replace("ngram 1=5", "ngram 1=7").encode(), "damaged: holds 5 of 7 1-grams, 3 of 3 2-grams$"),
    "no number": (ARPA.replace("-0.6", "x").encode(), "line 9: expected log10 of a probability, 1 words and a "),
    "nan": (ARPA.replace("-0.6", "nan").encode(), "line 9: expected log10"),
    "above 1": (ARPA.replace("-0.6", "0.6").encode(), "line 9: expected log10"),
    "too many words": (ARPA.replace("ab\t", "ab a b\t").encode(), "line 9: expected log10"),
    "gzip, cut": (gzip.compress(ARPA.encode())[:-20], NONE),
    "gzip, damaged": (gzip.compress(ARPA.encode())[:12] + b"\xff" * 40, NONE),
    "gzip of binary": (gzip.compress(bytes(range(256))), NONE),
    "one long line": (b"\\1-grams:\n" + b"a" * 200_000, "line 2: expected log10"),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_damaged_arpa(tmp_path: Path, kind: str) -> None:
    content, rule = DAMAGED[kind]
    (tmp_path / "lm").write_bytes(content)
    with pytest.raises(ValueError, match=rule) as caught:
        beam_search(CHARACTERS, tmp_path / "lm")
    assert str(caught.value).startswith(f"{tmp_path}/lm")
    assert len(str(caught.value)) < 1000
    assert "\n" not in str(caught.value)


def test_no_regular_file() -> None:
    with pytest.raises(ValueError, match="/dev/zero: not a regular file"):
        read_arpa("/dev/zero")


@pytest.mark.parametrize(
    ("values", "rule"),
    [((2.0, 0.0, 0), "beam: must be at least 1, got 0"), ((math.nan, 0.0, 5), "lm_weight, word_score: must be finite")],
)
def test_wrong_values(lm: Path, values: tuple[float, float, int], rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        beam_search(CHARACTERS, lm, *values)
