"""Manifests of LibriSpeech: SUBSET/SPEAKER/CHAPTER/SPEAKER-CHAPTER-NUMBER.flac with one .trans.txt a chapter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lighthubert.data import AudioError, write_manifest
from lighthubert.data.audio import read_length
from lighthubert.data.manifest import listed_path
from lighthubert.prepare.report import PrepareError, each, say_written
from lighthubert.prepare.text import normalise

TRAIN_960 = ("train-clean-100", "train-clean-360", "train-other-500")
COLUMNS = ["path", "samples", "transcript", "speaker", "language"]


def prepare_librispeech(root: Path, out: Path, jobs: int) -> None:
    """Write one manifest a subset, and train-960.tsv where all of training is there. Lengths are the FLAC headers'."""
    root = root / "LibriSpeech" if (root / "LibriSpeech").is_dir() else root
    subsets = sorted({path.parents[2] for path in root.glob("*/*/*/*.trans.txt")})
    if not subsets:
        raise PrepareError(f"{root}: no SUBSET/SPEAKER/CHAPTER/*.trans.txt in it, so this is not LibriSpeech")
    written: dict[str, list[dict[str, Any]]] = {}
    for subset in subsets:
        texts = read_transcripts(subset)
        files = sorted({*subset.glob("*/*/*.flac"), *texts})

        def measure(path: Path, texts: dict[Path, str] = texts) -> int:
            if path not in texts:
                raise AudioError(path, "no transcript in the chapter's .trans.txt")
            return read_length(path)

        target = out / f"{subset.name}.tsv"
        rows: list[dict[str, Any]] = [
            {
                "path": listed_path(path, target),
                "samples": samples,
                "transcript": normalise(texts[path]),
                "speaker": path.name.split("-")[0],
                "language": "en",
            }
            for path, samples in each(files, measure, str, jobs, subset.name)
        ]
        if not rows:
            raise PrepareError(f"{subset}: none of its {len(files)} files can be used")
        write_manifest(target, COLUMNS, rows)
        say_written(target, (row["samples"] for row in rows), len(files))
        written[subset.name] = rows
    if set(TRAIN_960) <= set(written):
        rows = [row for name in TRAIN_960 for row in written[name]]
        write_manifest(out / "train-960.tsv", COLUMNS, rows)
        say_written(out / "train-960.tsv", (row["samples"] for row in rows), len(rows))


def read_transcripts(subset: Path) -> dict[Path, str]:
    """Audio file -> text of all chapters; a line is NAME TEXT."""
    texts = {}
    for chapter in sorted(subset.glob("*/*/*.trans.txt")):
        for line in chapter.read_text(encoding="utf-8").splitlines():
            name, _, text = line.partition(" ")
            texts[chapter.parent / f"{name}.flac"] = text
    return texts
