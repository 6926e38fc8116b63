"""Phones of English speech, as pseudo-labels of hama, a small offline recogniser (pip install hama, Apache-2.0).

Each phone stands with the 20 ms frame in which it was recognised. These are no hand-made labels: borders are off by
some frames, and one phone in ten or more is wrong. Nets that are compared on the same labels can still be told apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lighthubert.data import SAMPLE_RATE, Manifest, load_audio
from lighthubert.prepare.report import PrepareError, each, write_clips
from lighthubert.tasks.labels import labelled_rows

COLUMNS = ["path", "samples", "source", "split", "phones"]
MIN_SECONDS, MAX_SECONDS = 0.8, 15.0
WORD_BREAK = "|"


def prepare_phones(corpus: Path, out: Path, sources: Sequence[str], max_clips: int) -> None:
    """Write a manifest of English clips with a column of phones, items FRAME:PHONE.

    corpus: what `prepare debian` made. max_clips: at most so many clips, drawn at random, of each source and split.
    """
    try:
        from hama import ASRModel
    except ImportError as error:
        raise PrepareError("phones are recognised by hama: pip install 'lighthubert[probe]'") from error
    model, rows = ASRModel(), list[dict[str, Any]]()
    chosen = []
    for split in ("train", "dev", "test"):
        manifest = Manifest.read(corpus / f"{split}.tsv")
        for source in sources:
            chosen += [(manifest, row, source, split) for row in draw(manifest, source, max_clips)]
    if not chosen:
        raise PrepareError(f"{corpus}: no English clip with a transcript of {', '.join(sources)}")
    for (manifest, row, source, split), phones in each(
        chosen, lambda c: recognise(model, c[0], c[1]), lambda c: c[0].files[c[1]], 1, "recognising phones"
    ):
        rows.append({"path": manifest.files[row], "samples": manifest.samples[row], "source": source, "split": split,
                     "phones": phones})  # fmt: skip
    write_clips(out, COLUMNS, rows, len(chosen))


def draw(manifest: Manifest, source: str, max_clips: int) -> list[int]:
    """Rows of English clips of a source that have a transcript and a fitting length."""
    rows = labelled_rows(manifest, "transcript", {"source": source, "language": "en"})
    rows = [row for row in rows if MIN_SECONDS <= manifest.samples[row] / SAMPLE_RATE <= MAX_SECONDS]
    order = np.random.default_rng(0).permutation(len(rows))[:max_clips]
    return [rows[i] for i in sorted(order)]


def recognise(model: Any, manifest: Manifest, row: int) -> str:
    """The phones of a clip with the frame in which each begins: "7:eɪ 15:d͡ʒ"."""
    result = model.transcribe_waveform(load_audio(manifest.file_path(row)).numpy(), SAMPLE_RATE)
    tokens = result.frame_token_ids
    blank = max(set(tokens) - set(result.token_ids), key=tokens.count)  # CTC: most frames are blank
    starts = [t for t, token in enumerate(tokens) if token != blank and (t == 0 or tokens[t - 1] != token)]
    names = result.word_phoneme_text.split()  # with the word breaks, as the tokens
    return " ".join(f"{t}:{name}" for t, name in zip(starts, names, strict=True) if name != WORD_BREAK)
