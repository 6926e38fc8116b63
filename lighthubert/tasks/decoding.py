"""From logits to texts, classes and times, the greedy way (beam.py searches with a language model); and error rates."""

# B batch, T frames, V outputs

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from lighthubert.tasks.vocabulary import SPACE, Vocabulary, words


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
    return [Word(words(word), start * frame_seconds, end * frame_seconds) for word, start, end in spelt]


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
