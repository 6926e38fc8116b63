"""From logits to texts, classes and times: greedy, or a beam search with an n-gram model of words; and error rates."""

# B batch, T frames, V outputs

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from lighthubert.tasks.vocabulary import BLANK, SPACE, Vocabulary, words


@dataclass(frozen=True)
class Token:
    """A token of a CTC path: its id, the frame in which it begins and the one after its last."""

    id: int
    start: int
    end: int


TokenPath = list[Token]
Decode = Callable[[Tensor, Tensor], list[TokenPath]]  # logits (B, T, V), frames (B,) -> the path of each clip


@dataclass(frozen=True)
class Word:
    """A word and when it is said, in seconds from the clip's start, to a frame."""

    word: str
    start: float
    end: float


def greedy(logits: Tensor, frames: Tensor) -> list[TokenPath]:
    """The best token of each frame, repeats merged and blanks left out."""
    best = logits.argmax(-1).cpu()
    paths = []
    for row, n in zip(best, frames.tolist(), strict=True):
        ids, counts = row[:n].unique_consecutive(return_counts=True)
        ends = counts.cumsum(0).tolist()
        runs = zip(ids.tolist(), [0, *ends[:-1]], ends, strict=True)
        paths.append([Token(*run) for run in runs if run[0] != 0])
    return paths


def path_text(path: TokenPath, vocabulary: Vocabulary) -> str:
    return vocabulary.text([token.id for token in path])


def path_words(path: TokenPath, vocabulary: Vocabulary, frame_seconds: float) -> list[Word]:
    """The words of a path: from the first frame of their first token to the last one of their last."""
    spelt: list[tuple[str, int, int]] = []
    begins = True
    for token in path:
        name = vocabulary.names[token.id]
        begins |= name.startswith(SPACE)
        if letters := name.replace(SPACE, ""):
            before, start, _ = ("", token.start, 0) if begins else spelt.pop()
            spelt.append((before + letters, start, token.end))
            begins = False
    return [Word(word, start * frame_seconds, end * frame_seconds) for word, start, end in spelt]


def beam_search(vocabulary: Vocabulary, lm: str | Path, lm_weight: float = 2.0, word_score: float = 0.0,
                beam: int = 50) -> Decode:  # fmt: skip
    """A search for the words of an n-gram model in ARPA format, through torchaudio's decoder (flashlight, KenLM).

    A path's score is its log-probability + lm_weight * the model's (log10) + word_score * its words. Tokens end in the
    frame after the one in which the search puts them. Raises ValueError for a file without word unigrams.
    """
    try:
        from torchaudio.models.decoder import ctc_decoder
    except ImportError as error:
        raise ImportError(f"beam search needs flashlight-text: pip install 'lighthubert[finetune]' ({error})") from None
    lexicon = _lexicon(vocabulary, read_arpa_words(lm))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "lexicon.txt")
        file.write_text("".join(f"{word} {' '.join(names)}\n" for word, names in lexicon.items()), encoding="utf-8")
        search: Any = ctc_decoder(
            str(file), list(vocabulary.names), str(lm), beam_size=beam, lm_weight=lm_weight, word_score=word_score,
            blank_token=BLANK, sil_token=SPACE if SPACE in vocabulary.names else BLANK, unk_word="<unk>",
        )  # fmt: skip

    def decode(logits: Tensor, frames: Tensor) -> list[TokenPath]:
        clips = search(logits.float().log_softmax(-1).cpu(), frames.cpu())
        paths = []
        for n, hypotheses in zip(frames.tolist(), clips, strict=True):
            best = hypotheses[0]  # begins and ends with a silence outside of the clip; times count from 1
            pairs = zip(best.tokens.tolist(), best.timesteps.tolist(), strict=True)
            paths.append([Token(i, t - 1, t) for i, t in pairs if i != 0 and 0 < t <= n])
        return paths

    return decode


def _lexicon(vocabulary: Vocabulary, known: Sequence[str]) -> dict[str, list[str]]:
    """How words are spelt; those with a character that the vocabulary does not have cannot be found."""
    lexicon = {}
    for word, ids in zip(known, vocabulary.encode(known, "ctc"), strict=True):
        if vocabulary.text(ids) == word:
            after = [] if vocabulary.tokenizer else [SPACE] if SPACE in vocabulary.names else []
            lexicon[word] = [*(vocabulary.names[i] for i in ids), *after]
    return lexicon


def read_arpa_words(path: str | Path) -> list[str]:
    """The words of an n-gram model's unigrams. Raises ValueError for a file that is not ARPA text."""
    try:
        with Path(path).open(encoding="utf-8") as file:
            section = itertools.dropwhile(lambda line: line.strip() != "\\1-grams:", file)
            next(section, None)
            rows = [line.split() for line in itertools.takewhile(lambda line: not line.startswith("\\"), section)]
    except UnicodeDecodeError:
        rows = []
    unigrams = [row[1] for row in rows if len(row) > 1]
    known = [word for word in unigrams if not (word.startswith("<") and word.endswith(">"))]
    if not known:
        raise ValueError(f"{path}: no \\1-grams of words: not an n-gram model in ARPA format (text)")
    return known


def error_rates(hypotheses: Sequence[str], references: Sequence[str]) -> dict[str, tuple[float, float]]:
    """(errors, how many there are) of words, "wer", and of characters with spaces, "cer", by jiwer.

    Raises ValueError for an empty reference.
    """
    try:
        import jiwer
    except ImportError as error:
        raise ImportError(f"error rates need jiwer: pip install 'lighthubert[finetune]' ({error})") from None
    hypotheses, references = ([words(text) for text in texts] for texts in (hypotheses, references))
    counts = {}
    for name, process in (("wer", jiwer.process_words), ("cer", jiwer.process_characters)):
        edits = process(references, hypotheses)
        missed = edits.substitutions + edits.deletions
        counts[name] = (float(missed + edits.insertions), float(missed + edits.hits))
    return counts


def best_classes(logits: Tensor, vocabulary: Vocabulary) -> list[tuple[str, float]]:
    """(B, V) -> the most probable class of each clip and its probability."""
    probabilities, ids = logits.float().softmax(-1).max(-1)
    return [(vocabulary.names[i], p) for i, p in zip(ids.tolist(), probabilities.tolist(), strict=True)]


def measure(logits: Tensor, frames: Tensor, texts: Sequence[str], vocabulary: Vocabulary,
            decode: Decode = greedy) -> dict[str, tuple[float, float]]:  # fmt: skip
    """(sum, count) of each metric on a batch: "wer" and "cer" of CTC logits, "accuracy" of classes."""
    if logits.ndim == 2:
        right = [name == text for (name, _), text in zip(best_classes(logits, vocabulary), texts, strict=True)]
        return {"accuracy": (float(sum(right)), float(len(right)))}
    return error_rates([path_text(path, vocabulary) for path in decode(logits, frames)], texts)
