"""The embedded mini corpus: twelve minutes of the Debian corpus, the telephone prompts alone, small enough for git.

train.tsv takes its clips from the corpus' train split and valid.tsv from its test split, so a teacher trained on the
corpus has never seen the held-out clips. Ogg gives each file a random serial number: the decoded samples are the same
in every run, the bytes are not.
"""

from __future__ import annotations

import hashlib
import shutil
from functools import partial
from pathlib import Path
from typing import Any

from lighthubert.data import SAMPLE_RATE, Manifest, load_audio
from lighthubert.data.audio import write_audio
from lighthubert.prepare.report import PrepareError, each, write_clips
from lighthubert.tasks.labels import labelled_rows

LANGUAGES = ("en", "es", "fr", "it", "ru")
SECONDS = {"train": ("train", 120.0), "valid": ("test", 24.0)}  # manifest -> split of the corpus, each language's share
MIN_SECONDS, MAX_SECONDS = 1.5, 8.0
COMPRESSION = 0.8  # 42 kbit/s with the 4 kB of tables in each file
COLUMNS = ["path", "samples", "transcript", "speaker", "language"]
LICENCE = "licences/asterisk-core-sounds-en.txt"  # one file for all five languages
ATTRIBUTION = """# The embedded speech corpus

Real speech from the telephone prompts of the Asterisk project ("asterisk-core-sounds"), as Debian packages them.

| language | voice | copyright | licence |
|---|---|---|---|
| en, es | Allison Smith | 2003-2010 Allison Smith | CC-BY-SA-3.0 |
| fr | June Wallack | 2006-2008 June Wallack | CC-BY-SA-3.0 |
| it | Carlo Flora | 2012 Carlo Flora | CC-BY-3.0 |
| ru | ivrvoice.ru | 2010 Maxim Topal | CC-BY-3.0 |

Changes: {clips} prompts ({minutes:.1f} min) were chosen, decoded from G.722 and encoded as 16 kHz Ogg Vorbis;
transcripts are in lower case without punctuation. The audio and the transcripts keep the licences above, whose full
texts are in [LICENSE.txt](LICENSE.txt) together with the credits; the licence of the code does not apply to them.

Made by `lighthubert prepare mini`.
"""


def prepare_mini(corpus: Path, out: Path, jobs: int) -> None:
    """Choose and encode the clips of the mini corpus from a corpus that `prepare debian` made."""
    if not (corpus / LICENCE).exists():
        raise PrepareError(f"{corpus}: no {LICENCE} in it; make the corpus with `prepare debian` first")
    total, seconds = 0, 0.0
    for name, (split, share) in SECONDS.items():
        manifest = Manifest.read(corpus / f"{split}.tsv")
        chosen = [row for language in LANGUAGES for row in choose(manifest, language, share)]
        rows: list[dict[str, Any]] = []
        for row, samples in each(chosen, partial(encode, manifest, out), manifest.file_path, jobs, name):
            columns = {column: manifest.columns[column][row] for column in COLUMNS[2:]}
            rows.append({"path": target(manifest, row), "samples": samples, **columns})
        write_clips(out / f"{name}.tsv", COLUMNS, rows, len(chosen))
        total, seconds = total + len(rows), seconds + sum(row["samples"] for row in rows) / SAMPLE_RATE
    shutil.copyfile(corpus / LICENCE, out / "LICENSE.txt")
    (out / "ATTRIBUTION.md").write_text(ATTRIBUTION.format(clips=total, minutes=seconds / 60), encoding="utf-8")


def choose(manifest: Manifest, language: str, share: float) -> list[int]:
    """Rows of one language up to its share of seconds, in an order that only the names decide."""
    rows = labelled_rows(manifest, "transcript", {"source": "asterisk", "language": language}, "prompt")
    rows = [row for row in rows if MIN_SECONDS <= manifest.samples[row] / SAMPLE_RATE <= MAX_SECONDS]
    rows.sort(key=lambda row: hashlib.sha256(manifest.columns["prompt"][row].encode()).digest())
    chosen, seconds = [], 0.0
    for row in rows:
        if seconds + manifest.samples[row] / SAMPLE_RATE <= share:
            chosen.append(row)
            seconds += manifest.samples[row] / SAMPLE_RATE
    if seconds < 0.9 * share:
        raise PrepareError(f"{manifest.path}: {seconds:.0f} s of {language} prompts, {share:.0f} s are needed")
    return sorted(chosen)


def target(manifest: Manifest, row: int) -> str:
    name = manifest.columns["prompt"][row].replace("/", "-")
    return f"{manifest.columns['language'][row]}/{name}.ogg"


def encode(manifest: Manifest, out: Path, row: int) -> int:
    waveform = load_audio(manifest.file_path(row))
    write_audio(out / target(manifest, row), waveform, COMPRESSION)
    return len(waveform)
