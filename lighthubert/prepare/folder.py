"""A manifest of any folder of audio."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from lighthubert.data import load_audio
from lighthubert.prepare.report import PrepareError, write_measured

SUFFIXES = {".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc", ".au", ".caf", ".sph", ".w64"}


def prepare_folder(folder: Path, out: Path, jobs: int) -> None:
    """List every audio file below a folder. Each is decoded once, so that lengths are exact and bad files are known."""
    if not folder.is_dir():
        raise PrepareError(f"{folder}: no such folder")
    files = sorted(path for path in walk(folder) if path.suffix.lower() in SUFFIXES and path.is_file())
    if not files:
        raise PrepareError(f"{folder}: no audio file in it ({', '.join(sorted(SUFFIXES))})")
    nothing = f"{folder}: none of its {len(files)} audio files can be read"
    write_measured(out, files, lambda path: len(load_audio(path)), lambda path: {}, jobs, "decoding", nothing)


def walk(folder: Path) -> Iterator[Path]:
    """All files below a folder, in linked folders too; each folder once, for links may lead in a circle."""
    seen = set()
    for parent, folders, names in os.walk(folder, followlinks=True):
        folders.sort()  # which of two ways to a folder is taken does not hang on the disk
        if (real := os.path.realpath(parent)) in seen:
            folders.clear()
            continue
        seen.add(real)
        yield from (Path(parent, name) for name in names)
