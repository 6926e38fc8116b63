"""Manifests: which audio files a corpus has and how long they are.

A TSV with a header line: `path` and `samples` (length at 16 kHz) are required, any further column (transcript,
speaker, language, ...) is kept as text. No quoting: a field is everything between two tabs. Paths are relative to the
manifest's folder. fairseq's form is read too: the root folder on the first line, then path TAB samples.
"""

import codecs
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np

from lighthubert.data.audio import SAMPLE_RATE
from lighthubert.runtime.errors import UserError
from lighthubert.runtime.files import digest, open_regular, write_text

REQUIRED = ("path", "samples")
MAX_PROBLEMS = 20  # listed in one error
MAX_COLUMNS = 1000


class ManifestError(UserError):
    """A manifest that cannot be read; the message names the file and every wrong line."""


@dataclass(frozen=True, eq=False)
class Manifest:
    """The clips of a corpus, row by row: `files` (relative to `root`), `samples` at 16 kHz, further `columns`."""

    path: Path
    root: Path
    files: list[str]
    samples: np.ndarray  # (rows,) int64
    columns: dict[str, list[str]] = field(default_factory=dict)

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> "Manifest":
        """Read a manifest; raises ManifestError that lists all wrong lines."""
        path = Path(path)
        with open_regular(path, ManifestError) as file:
            lines = read_lines(path, file)
            header = next(lines, "").split("\t", MAX_COLUMNS)
            if len(header) == 1 and "path" not in header:
                root, header = path.parent / header[0], list(REQUIRED)  # fairseq: root, then rows
                if not os.path.isdir(root):  # Path.is_dir raises for a line too long for a name
                    raise ManifestError(
                        f"{path}, line 1: no header with {' and '.join(REQUIRED)}, and no folder {root}"
                    )
            else:
                root = path.parent
                check_header(path, header)
            columns = parse_rows(path, header, lines)
        files, samples = columns.pop("path"), np.array([int(n) for n in columns.pop("samples")], dtype=np.int64)
        return cls(path, root, files, samples, columns)

    def __len__(self) -> int:
        return len(self.files)

    def file_path(self, row: int) -> str:
        """Where the clip of a row is."""
        return os.path.join(self.root, self.files[row])

    def take(self, rows: Sequence[int]) -> "Manifest":
        """Some of the clips, in this order."""
        columns = {name: [values[row] for row in rows] for name, values in self.columns.items()}
        return Manifest(self.path, self.root, [self.files[row] for row in rows], self.samples[list(rows)], columns)

    @property
    def seconds(self) -> float:
        """Length of all clips."""
        return float(self.samples.sum()) / SAMPLE_RATE

    @property
    def digest(self) -> str:
        """Hash of the clips and their lengths, wherever the folder is and whatever the other columns say."""
        rows = zip(self.files, self.samples.tolist(), strict=True)
        return digest(f"{file}\t{samples}\n".encode(errors="surrogatepass") for file, samples in rows)


def read_lines(path: Path, file: BinaryIO) -> Iterator[str]:
    """The lines of a manifest, one at a time; empty ones at the end do not count."""
    number, empty, start = 0, 0, 0
    for raw in file:
        try:
            line = raw.removeprefix(codecs.BOM_UTF8 if start == 0 else b"").decode().rstrip("\r\n")
        except UnicodeDecodeError as error:
            place = start + error.start
            raise ManifestError(f"{path}: not UTF-8 text ({error.reason} at byte {place})") from None
        start += len(raw)
        if not line:
            empty += 1
            continue
        yield from [""] * empty
        number, empty = number + empty + 1, 0
        yield line
    if number == 0:
        raise ManifestError(f"{path}: the file is empty; its first line must name the columns {' and '.join(REQUIRED)}")
    if number == 1:
        raise ManifestError(f"{path}: no clip, only one line")


def check_header(path: Path, header: Sequence[str]) -> None:
    problems = [f"column {name!r} is missing" for name in REQUIRED if name not in header]
    problems += [f"column {name!r} stands twice" for name, number in sorted(Counter(header).items()) if number > 1]
    problems += ["a column has no name"] if "" in header else []
    problems += [f"more than {MAX_COLUMNS:,} columns"] if len(header) > MAX_COLUMNS else []
    if problems:
        raise ManifestError(f"{path}, line 1: {'; '.join(problems)} (the columns are {', '.join(header)})")


def parse_rows(path: Path, header: Sequence[str], lines: Iterable[str]) -> dict[str, list[str]]:
    """Columns from the lines below the header; all problems come in one ManifestError."""
    columns: list[list[str]] = [[] for _ in header]
    wrong, shown = 0, list[str]()
    for number, line in enumerate(lines, 2):
        row = line.split("\t", len(header))
        problems = _problems(line, dict(zip(header, row, strict=False)), len(header))
        wrong += len(problems)
        if problems:
            shown += [f"line {number}: {problem}" for problem in problems][: MAX_PROBLEMS - len(shown)]
        elif not wrong:
            for column, value in zip(columns, row, strict=True):
                column.append(value)
    if wrong:
        shown += [f"and {wrong - MAX_PROBLEMS} more"] if wrong > MAX_PROBLEMS else []
        raise ManifestError(f"{path}: {wrong} wrong lines: {'; '.join(shown)}")
    return dict(zip(header, columns, strict=True))


def _problems(line: str, row: Mapping[str, str], width: int) -> list[str]:
    """What is wrong with a line."""
    if (fields := line.count("\t") + 1) != width:
        return [f"{fields} fields, but the header has {width}"]
    samples, problems = row["samples"], []
    if not (samples.isascii() and samples.isdigit() and len(samples) < 20 and 0 < int(samples) < 2**62):
        problems.append(f"samples must be a whole number above 0, not {samples!r}")
    return problems if row["path"] else [*problems, "path is empty"]


def write_manifest(path: str | os.PathLike[str], columns: Sequence[str], rows: Sequence[Mapping[str, object]]) -> None:
    """Write rows as a manifest, whole or not at all; raises ManifestError for a value that cannot stand in a TSV."""
    lines = ["\t".join(columns)]
    for row in rows:
        values = [str(row[name]) for name in columns]
        if broken := [value for value in values if not fits(value)]:
            raise ManifestError(f"{path}: {broken[0]!r} holds a tab, a line break or no UTF-8: no manifest can hold it")
        lines.append("\t".join(values))
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    write_text(target, "\n".join(lines) + "\n")


def fits(value: str) -> bool:
    """Whether a manifest can hold this: UTF-8 text without tabs and line breaks."""
    return not any(c in "\t\n\r" or "\ud800" <= c <= "\udfff" for c in value)


def listed_path(file: Path, manifest: Path) -> str:
    """How a manifest names a file: relative to its folder, or absolute where the file lies elsewhere."""
    file, folder = file.absolute(), manifest.absolute().parent
    return file.relative_to(folder).as_posix() if file.is_relative_to(folder) else file.as_posix()
