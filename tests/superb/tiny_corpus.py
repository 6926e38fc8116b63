"""Clips of the embedded corpus, and what a SUPERB task made of them is to s3prl."""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from lighthubert import load_audio
from lighthubert.data import MINI, SAMPLE_RATE, Manifest

CLIPS = Manifest.read(MINI / "train.tsv")


class Task(NamedTuple):
    """downstream: s3prl's folder; expert: its settings; results: the file that evaluation writes and how many lines it
    has, or a pattern and how many files fit; split: what is evaluated; validate: in training too."""

    downstream: str
    expert: dict[str, Any]
    results: tuple[str, int]
    split: str = "test"
    validate: bool = True


def speech(number: int, seconds: float) -> Tensor:
    """(S,): a clip of the corpus, cut or repeated to a length."""
    wave = load_audio(CLIPS.file_path(number % len(CLIPS)))
    samples = round(seconds * SAMPLE_RATE)
    return wave.repeat(-(-samples // len(wave)))[:samples]


def of_language(language: str) -> list[int]:
    """Numbers of the clips in one language: that is one speaker, but for English and Spanish."""
    return [number for number, found in enumerate(CLIPS.columns["language"]) if found == language]


def text(path: Path, lines: Iterable[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))


def table(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
