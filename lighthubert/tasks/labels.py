"""Which clips of a manifest have a label, and their labels as texts and as token ids."""

# B clips, L labels

from __future__ import annotations

import itertools
import logging
from collections.abc import Mapping

import torch
from torch import Tensor

from lighthubert.data import Batch, Manifest, ManifestError
from lighthubert.models import HubertConfig, num_frames
from lighthubert.runtime.files import digest
from lighthubert.tasks.config import TaskConfig
from lighthubert.tasks.vocabulary import Vocabulary, tell_unspelt, words

PAD = -1  # of label tables

logger = logging.getLogger("lighthubert")


def labelled_rows(manifest: Manifest, column: str, where: Mapping[str, str], *others: str,
                  empty: bool = False) -> list[int]:  # fmt: skip
    """The clips that have a label in this column, or one that may be empty, and whose other columns say `where`.

    Raises ManifestError for missing columns; others: further ones that must be there.
    """
    columns = manifest.columns
    if missing := [key for key in (column, *where, *others) if key not in columns]:
        known = ", ".join(columns) or "none beside path and samples"
        raise ManifestError(f"{manifest.path}: no column {', '.join(missing)} (there are {known})")
    return [
        row
        for row, label in enumerate(columns[column])
        if (empty or words(label)) and all(columns[key][row] == value for key, value in where.items())
    ]


def labelled(manifest: Manifest, config: TaskConfig, max_samples: int | None = None) -> Manifest:
    """The clips that have a label and fit `where`; for CTC also none longer than max_samples, for a text is of a whole
    clip. Raises ManifestError for a missing column, or if nothing is left."""
    rows = labelled_rows(manifest, config.column, config.where)
    if not rows:
        wanted = "".join(f", {key} {value}" for key, value in config.where.items())
        raise ManifestError(f"{manifest.path}: no clip with a {config.column}{wanted}")
    if config.kind == "ctc" and max_samples is not None:
        short = [row for row in rows if manifest.samples[row] <= max_samples]
        if not short:
            raise ManifestError(f"{manifest.path}: every clip is longer than data.max_clip_seconds")
        if left := len(rows) - len(short):
            logger.info("%s: %d of %d clips are longer than data.max_clip_seconds and left out",
                        manifest.path, left, len(rows))  # fmt: skip
        rows = short
    return manifest.take(rows)


class Labels:
    """The labels of clips that `labelled` chose, row by row: as texts, and as token ids."""

    def __init__(self, clips: Manifest, config: TaskConfig, vocabulary: Vocabulary) -> None:
        self.clips, self.kind, self.vocabulary = clips, config.kind, vocabulary
        self.texts = [words(text) for text in clips.columns[config.column]]
        self.ids = vocabulary.encode(self.texts, config.kind)
        tell_unspelt(clips.path, "labels", self.texts, [vocabulary.text(ids) for ids in self.ids])

    def of(self, batch: Batch) -> Tensor:
        """(B, L) int64, on the host: ids of the clips, PAD behind them. Classes: L = 1, PAD for an unknown one."""
        rows = [self.ids[row] for row in batch.rows]
        table = torch.full((len(rows), max(map(len, rows), default=0) or 1), PAD)
        for i, ids in enumerate(rows):
            table[i, : len(ids)] = torch.tensor(ids, dtype=torch.int64)
        return table

    def too_long(self, net: HubertConfig) -> int:
        """Of how many clips the text is longer than the frames allow, so that CTC has no loss of it."""
        needed = [len(ids) + sum(a == b for a, b in itertools.pairwise(ids)) for ids in self.ids]
        frames = num_frames(self.clips.samples, net).tolist()
        return sum(n > f for n, f in zip(needed, frames, strict=True)) if self.kind == "ctc" else 0

    @property
    def digest(self) -> str:
        """Hash of all texts: what a run depends on beside the clips."""
        return digest(["\n".join(self.texts).encode()])
