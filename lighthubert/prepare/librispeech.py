"""Manifests of LibriSpeech: SUBSET/SPEAKER/CHAPTER/SPEAKER-CHAPTER-NUMBER.flac or .wav, one .trans.txt a chapter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lighthubert.data import AudioError
from lighthubert.data.audio import read_length
from lighthubert.prepare.report import PrepareError, write_clips, write_measured
from lighthubert.prepare.text import normalise
from lighthubert.runtime.files import read_text

TRAIN_960 = ("train-clean-100", "train-clean-360", "train-other-500")
SUFFIXES = (".flac", ".wav")


def prepare_librispeech(root: Path, out: Path, jobs: int) -> None:
    """Write one manifest a subset, and train-960.tsv where all of training is there. Lengths are the headers'."""
    root = root / "LibriSpeech" if (root / "LibriSpeech").is_dir() else root
    subsets = sorted({path.parents[2] for path in root.glob("*/*/*/*.trans.txt")})
    if not subsets:
        raise PrepareError(f"{root}: no SUBSET/SPEAKER/CHAPTER/*.trans.txt in it, so this is not LibriSpeech")
    written = {subset.name: prepare_subset(subset, out / f"{subset.name}.tsv", jobs) for subset in subsets}
    if set(TRAIN_960) <= set(written):
        rows = [row for name in TRAIN_960 for row in written[name]]
        write_clips(out / "train-960.tsv", list(rows[0]), rows, len(rows))


def prepare_subset(subset: Path, target: Path, jobs: int) -> list[dict[str, Any]]:
    """Write the manifest of one subset; its rows."""
    texts = read_transcripts(subset)
    files = sorted({*(file for suffix in SUFFIXES for file in subset.glob(f"*/*/*{suffix}")), *texts})

    def measure(path: Path) -> int:
        if path not in texts:
            raise AudioError(path, "no transcript in the chapter's .trans.txt")
        return read_length(path)

    def columns(path: Path) -> dict[str, str]:
        return {"transcript": normalise(texts[path]), "speaker": path.name.split("-")[0], "language": "en"}

    nothing = f"{subset}: none of its {len(files)} files can be used"
    return write_measured(target, files, measure, columns, jobs, subset.name, nothing)


def read_transcripts(subset: Path) -> dict[Path, str]:
    """Audio file -> text of all chapters; a line is NAME TEXT."""
    texts = {}
    for chapter in sorted(subset.glob("*/*/*.trans.txt")):
        for line in read_text(chapter, PrepareError).splitlines():
            if line.strip():
                name, _, text = line.strip().partition(" ")
                files = [chapter.parent / f"{name}{suffix}" for suffix in SUFFIXES]
                texts[next((file for file in files if file.exists()), files[0])] = text
    return texts
