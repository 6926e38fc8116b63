"""What the outputs of a task's head stand for: characters or subwords of transcripts, or classes of clips."""

from __future__ import annotations

import json
import logging
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lighthubert.runtime import ranks
from lighthubert.runtime.errors import UserError
from lighthubert.tasks.config import TaskConfig

BLANK, SPACE = "<blank>", "▁"  # the first token of CTC; what begins, or stands between, words

logger = logging.getLogger("lighthubert")


@dataclass(frozen=True)
class Vocabulary:
    """The names of a head's outputs. CTC: blank first; SPACE begins or separates words. Plain values: JSON-able.

    tokenizer: for subwords, the trained tokenizer as the JSON of the `tokenizers` library.
    """

    names: tuple[str, ...]
    tokenizer: dict[str, Any] | None = None

    def __len__(self) -> int:
        return len(self.names)

    def encode(self, texts: Sequence[str], kind: str) -> list[list[int]]:
        """The token ids of each text, or the one of a class. What the vocabulary does not have is left out."""
        if kind == "ctc" and self.tokenizer is not None:
            tokenizer = _tokenizers().Tokenizer.from_str(json.dumps(self.tokenizer))
            return [[i for i in row.ids if i] for row in tokenizer.encode_batch([words(text) for text in texts])]
        ids = {name: i for i, name in enumerate(self.names)}
        if kind == "ctc":
            return [[ids[c] for c in words(text).replace(" ", SPACE) if c in ids] for text in texts]
        return [[ids[text]] if text in ids else [] for text in texts]

    def text(self, ids: Sequence[int]) -> str:
        """Ids of CTC tokens without blanks -> words with single spaces."""
        return words("".join(self.names[i] for i in ids).replace(SPACE, " "))


def words(text: str) -> str:
    """A text with single spaces between its words, and one form of each letter (NFC)."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def tell_unspelt(source: str | Path, what: str, texts: Sequence[str], read: Sequence[str]) -> None:
    """Warn of texts that do not come back from their ids; read: what does. Raises UserError if nothing does."""
    unspelt = [text for text, came_back in zip(texts, read, strict=True) if text != came_back]
    if not any(read):
        raise UserError(f"{source}: none of its {len(texts)} {what} can be spelt with the vocabulary: {unspelt[0]!r}")
    if unspelt and ranks.rank() == 0:
        logger.warning("%s: %d of %d %s cannot be spelt with the vocabulary, such as %r",
                       source, len(unspelt), len(texts), what, unspelt[0])  # fmt: skip


def build_vocabulary(texts: Sequence[str], config: TaskConfig) -> Vocabulary:
    """The vocabulary of training labels: sorted characters or classes, or trained subwords. The same for the same
    texts. ValueError where they do not make one."""
    if config.kind == "classify":
        if len(classes := sorted({words(text) for text in texts})) < 2:
            raise ValueError(f"task.column: {config.column} has a single class, {classes[0]!r}, in the training clips")
        return Vocabulary(tuple(classes))
    if config.tokens == "subwords":
        return _train_subwords(texts, config.num_subwords)
    characters = sorted(set("".join(words(text).replace(" ", SPACE) for text in texts)))
    return Vocabulary((BLANK, *characters))


def _train_subwords(texts: Sequence[str], size: int) -> Vocabulary:
    library = _tokenizers()
    tokenizer = library.Tokenizer(library.models.BPE())
    tokenizer.pre_tokenizer = library.pre_tokenizers.Metaspace(SPACE, prepend_scheme="always")
    trainer = library.trainers.BpeTrainer(vocab_size=size, special_tokens=[BLANK], show_progress=False)
    tokenizer.train_from_iterator((words(text) for text in texts), trainer)
    names = tuple(tokenizer.id_to_token(i) for i in range(tokenizer.get_vocab_size()))
    if len(names) != size:
        raise ValueError(f"task.num_subwords: the training texts give {len(names)} subwords, got {size}")
    return Vocabulary(names, json.loads(tokenizer.to_str()))


def _tokenizers() -> Any:
    """The only door to the tokenizers library."""
    try:
        import tokenizers
    except ImportError as error:
        raise ImportError(f"subwords need tokenizers: pip install 'lighthubert[finetune]' ({error})") from None
    return tokenizers
