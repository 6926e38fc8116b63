"""What the outputs of a task's head stand for: characters or subwords of transcripts, or classes of clips."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import torch
from torch import Tensor

from lighthubert.data import Batch, Manifest, ManifestError
from lighthubert.schema import Checked, at_least, parse

BLANK, SPACE = "<blank>", "▁"  # the first token of CTC; what begins, or stands between, words
PAD = -1  # of label tables

logger = logging.getLogger("lighthubert")


@dataclass(frozen=True)
class TaskConfig(Checked):
    """What a net learns from labelled clips. Clips without a label are left out."""

    kind: Literal["ctc", "classify"] = "ctc"
    """The text of a clip (ctc), or its class (classify)."""
    column: str = "transcript"
    """Of the manifests, where texts or classes are."""
    where: dict[str, str] = field(default_factory=dict)
    """Only clips whose other columns say this, such as {language: en}."""
    tokens: Literal["characters", "subwords"] = "characters"
    """What CTC spells texts with; subwords are byte-pair pieces, trained on the texts."""
    num_subwords: Annotated[int, at_least(2)] = 1000
    """So many of them."""
    layers: Literal["last", "weighted"] = "last"
    """The head sees the last hidden state, or a weighted sum of all, whose weights it learns."""


@dataclass(frozen=True)
class Vocabulary:
    """The names of a head's outputs. CTC: blank first; SPACE begins or separates words. Plain values: JSON-able.

    tokenizer: for subwords, the trained tokenizer as the JSON of the `tokenizers` library.
    """

    names: tuple[str, ...]
    tokenizer: dict[str, Any] | None = None

    def __len__(self) -> int:
        return len(self.names)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Vocabulary:
        return parse(cls, values)

    def to_dict(self) -> dict[str, Any]:
        return {"names": list(self.names), "tokenizer": self.tokenizer}

    def encode(self, texts: Sequence[str], kind: str) -> list[list[int]]:
        """The token ids of each text, or the one of a class. What the vocabulary does not have is left out."""
        if kind == "ctc" and self.tokenizer is not None:
            tokenizer = _tokenizers().Tokenizer.from_str(json.dumps(self.tokenizer))
            return [encoding.ids for encoding in tokenizer.encode_batch([words(text) for text in texts])]
        ids = {name: i for i, name in enumerate(self.names)}
        if kind == "ctc":
            return [[ids[c] for c in words(text).replace(" ", SPACE) if c in ids] for text in texts]
        return [[ids[text]] if text in ids else [] for text in texts]

    def text(self, ids: Sequence[int]) -> str:
        """Ids of CTC tokens without blanks -> words with single spaces."""
        return words("".join(self.names[i] for i in ids).replace(SPACE, " "))


def words(text: str) -> str:
    """A text with single spaces between its words."""
    return " ".join(text.split())


def labelled(manifest: Manifest, config: TaskConfig, max_samples: int | None = None) -> Manifest:
    """The clips that have a label and fit `where`; for CTC also none longer than max_samples, for a text is of a whole
    clip. Raises ManifestError for a missing column, or if nothing is left."""
    if missing := [key for key in (config.column, *config.where) if key not in manifest.columns]:
        there = ", ".join(manifest.columns) or "none beside path and samples"
        raise ManifestError(f"{manifest.path}: no column {', '.join(missing)} (there are {there})")
    rows = [
        row
        for row, label in enumerate(manifest.columns[config.column])
        if words(label) and all(manifest.columns[key][row] == value for key, value in config.where.items())
    ]
    if not rows:
        told = "".join(f", {key} {value}" for key, value in config.where.items())
        raise ManifestError(f"{manifest.path}: no clip with a {config.column}{told}")
    if config.kind == "ctc" and max_samples is not None:
        short = [row for row in rows if manifest.samples[row] <= max_samples]
        if len(short) < len(rows):
            left = len(rows) - len(short)
            logger.info("%s: %d of %d clips are longer than data.max_clip_seconds and left out",
                        manifest.path, left, len(rows))  # fmt: skip
        if not short:
            raise ManifestError(f"{manifest.path}: every clip is longer than data.max_clip_seconds")
        rows = short
    return manifest.take(rows)


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
    found = tokenizer.get_vocab_size()
    if found != size:
        raise ValueError(f"task.num_subwords: the training texts give {found} subwords, got {size}")
    names = tuple(tokenizer.id_to_token(i) for i in range(found))
    return Vocabulary(names, json.loads(tokenizer.to_str()))


def _tokenizers() -> Any:
    """The only door to the tokenizers library."""
    try:
        import tokenizers
        import tokenizers.models
        import tokenizers.pre_tokenizers
        import tokenizers.trainers
    except ImportError as error:
        raise ImportError(f"subwords need tokenizers: pip install 'lighthubert[finetune]' ({error})") from None
    return tokenizers


class Labels:
    """The labels of a manifest that `labelled` made, row by row: as texts, and as token ids."""

    def __init__(self, manifest: Manifest, config: TaskConfig, vocabulary: Vocabulary) -> None:
        self.kind, self.vocabulary = config.kind, vocabulary
        self.texts = [words(text) for text in manifest.columns[config.column]]
        self.ids = vocabulary.encode(self.texts, config.kind)

    def of(self, batch: Batch) -> Tensor:
        """(B, L) int64, on the host: ids of the clips, PAD behind them. Classes: L = 1, PAD for an unknown one."""
        rows = [self.ids[row] for row in batch.rows]
        table = torch.full((len(rows), max(map(len, rows), default=0) or 1), PAD)
        for i, ids in enumerate(rows):
            table[i, : len(ids)] = torch.tensor(ids, dtype=torch.int64)
        return table

    def texts_of(self, batch: Batch) -> list[str]:
        return [self.texts[row] for row in batch.rows]

    @property
    def digest(self) -> str:
        """Hash of all texts: what a run depends on beside the clips."""
        return hashlib.sha256("\n".join(self.texts).encode()).hexdigest()[:16]
