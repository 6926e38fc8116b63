"""The words of an n-gram model that fit logits best: a beam search over the tree of their spellings."""

# B batch, T frames, V outputs

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from lighthubert.runtime.errors import UserError
from lighthubert.tasks.decoding import Decode, Token, TokenPath
from lighthubert.tasks.ngrams import NgramModel, Words, read_arpa
from lighthubert.tasks.vocabulary import SPACE, Vocabulary, tell_unspelt


@dataclass(eq=False)
class Node:
    """A place in the tree of spellings: the tokens that may follow, the word that ends here, and the log10
    probability (of unigrams) of the likeliest word from here on."""

    children: dict[int, Node] = field(default_factory=dict)
    word: str | None = None
    best: float = -math.inf


Key = tuple[Node, Words, int]  # where in a word, after which words, and the token of the last frame (0: blank)
# A score, and a path from its end: (what comes before, token, its first frame, the one after its last).
Kept = tuple[float, Any]
Step = tuple[int, Node, Words, float]


def beam_search(vocabulary: Vocabulary, lm: str | Path, lm_weight: float = 2.0, word_score: float = 0.0,
                beam: int = 50) -> Decode:  # fmt: skip
    """A search for the words of an n-gram model in ARPA format.

    A path's score is its log-probability + lm_weight * the model's (log10) + word_score * its words. So many paths are
    kept after each frame, and as many tokens of each frame are looked at. Raises UserError for a file that is no such
    model or has no word that the vocabulary can spell; a warning says how many it cannot.
    """
    if beam < 1:
        raise UserError(f"beam: must be at least 1, got {beam}")
    if not (math.isfinite(lm_weight) and math.isfinite(word_score)):
        raise UserError(f"lm_weight, word_score: must be finite, got {lm_weight}, {word_score}")
    model = read_arpa(lm)
    search = _Search(vocabulary, spelling_tree(vocabulary, model, lm), model, lm_weight, word_score, beam)

    def decode(logits: Tensor, frames: Tensor) -> list[TokenPath]:
        scores = logits.float().log_softmax(-1).cpu()
        return [search.best_path(clip[:n]) for clip, n in zip(scores, frames.tolist(), strict=True)]

    return decode


def spelling_tree(vocabulary: Vocabulary, model: NgramModel, path: str | Path) -> Node:
    """The root of all spellings; words with a character that the vocabulary does not have cannot be found."""
    root, known = Node(), model.words
    spelt = vocabulary.encode(known, "ctc")
    found = [word == vocabulary.text(ids) for word, ids in zip(known, spelt, strict=True)]
    tell_unspelt(path, "words", known, [word * is_found for word, is_found in zip(known, found, strict=True)])
    for word, ids in itertools.compress(zip(known, spelt, strict=True), found):
        node = root
        for i in ids:
            node = node.children.setdefault(i, Node())
            node.best = max(node.best, model.rows[word,][0])
        node.word = word
    return root


class _Search:
    def __init__(self, vocabulary: Vocabulary, root: Node, model: NgramModel, lm_weight: float, word_score: float,
                 beam: int) -> None:  # fmt: skip
        self.root, self.model, self.lm_weight, self.word_score, self.beam = root, model, lm_weight, word_score, beam
        # What stands between words; none where subwords begin them, or in scripts without spaces.
        separates = vocabulary.tokenizer is None and SPACE in vocabulary.names
        self.space = vocabulary.names.index(SPACE) if separates else None

    def best_path(self, scores: Tensor) -> TokenPath:
        """(T, V) log-probabilities -> the tokens of the best path."""
        kept: dict[Key, Kept] = {(self.root, self.model.score((), "<s>")[1], 0): (0.0, None)}
        blanks, (values, ids) = scores[:, 0].tolist(), scores.topk(min(self.beam, scores.shape[1]))
        for t, row in enumerate(zip(ids.tolist(), values.tolist(), strict=True)):
            grown = self.grow(kept, dict(zip(*row, strict=True)) | {0: blanks[t]}, t)
            kept = dict(heapq.nlargest(self.beam, grown.items(), key=self.promise))
        _, path = max((self.end(*item) for item in kept.items()), key=lambda end: end[0])
        tokens = []
        while path is not None:
            path, *token = path
            tokens.append(Token(*token))
        return tokens[::-1]

    def grow(self, kept: dict[Key, Kept], frame: dict[int, float], t: int) -> dict[Key, Kept]:
        """All paths that are one frame longer; of those that end in the same place the best."""
        grown: dict[Key, Kept] = {}
        for (node, context, last), (score, path) in kept.items():
            for token, to, after, gain in self.steps(node, context, last, frame):
                key, total = (to, after, token), score + gain + frame[token]
                if key not in grown or grown[key][0] < total:
                    lasts = (*path[:3], t + 1) if token and token == last else path
                    grown[key] = total, lasts if token in (0, last) else (path, token, t, t + 1)
        return grown

    def steps(self, node: Node, context: Words, last: int, frame: dict[int, float]) -> Iterator[Step]:
        """The next token: where it leads to, after which words, and what the model says to the word that it ends."""
        for token in {0, last} & frame.keys():
            yield token, node, context, 0.0
        begins = [(node, context, 0.0)]
        if node.word is not None:
            begins.append((self.root, *self.word(context, node.word)))
        if self.space is not None:
            begins, ended = begins[:1], begins[-1]
            if self.space in frame and self.space != last and ended[0] is self.root:
                yield self.space, *ended
        for at, after, gain in begins:
            for token in (at.children.keys() & frame.keys()) - {last}:
                yield token, at.children[token], after, gain

    def word(self, context: Words, word: str) -> tuple[Words, float]:
        """The context after a word, and what the model says to it."""
        log10, after = self.model.score(context, word)
        return after, self.lm_weight * log10 + self.word_score

    def promise(self, item: tuple[Key, Kept]) -> float:
        """What paths are chosen by: the score, with the likeliest word that a begun one may become."""
        (node, _, _), (score, _) = item
        return score if node is self.root else score + self.lm_weight * node.best

    def end(self, key: Key, kept: Kept) -> tuple[tuple[bool, float], Any]:
        """How good a path is at the clip's end, and the path. One with a piece of a word is worse than all others."""
        (node, context, _), (score, path) = key, kept
        if node.word is not None:
            context, gain = self.word(context, node.word)
            score += gain
        is_whole = node is self.root or node.word is not None
        return (is_whole, score + self.lm_weight * self.model.score(context, "</s>")[0]), path
