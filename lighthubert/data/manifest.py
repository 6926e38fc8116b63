"""Manifests: which audio files a corpus has and how long they are.

A TSV with a header line: `path` and `samples` (length at 16 kHz) are required, any further column (transcript,
speaker, language, ...) is kept as text. No quoting: a field is everything between two tabs. Paths are relative to the
manifest's folder. fairseq's form is read too: the root folder on the first line, then path TAB samples.
"""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

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
        lines = read_lines(path)
        header = lines[0].split("\t", MAX_COLUMNS)
        if len(header) == 1 and "path" not in header:
            root, header = path.parent / header[0], list(REQUIRED)  # fairseq: root, then rows
            if not os.path.isdir(root):  # Path.is_dir raises for a line too long for a name
                raise ManifestError(f"{path}, line 1: no header with {' and '.join(REQUIRED)}, and no folder {root}")
        else:
            root = path.parent
            check_header(path, header)
        rows = parse_rows(path, header, lines[1:])
        columns = {name: [row[i] for row in rows] for i, name in enumerate(header)}
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


def read_lines(path: Path) -> list[str]:
    """The lines of a manifest; at least a header and a row."""
    try:
        with open_regular(path, ManifestError) as file:
            text = file.read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ManifestError(f"{path}: not UTF-8 text ({error.reason} at byte {error.start})") from error
    lines = [line.rstrip("\r") for line in text.split("\n")]  # not splitlines: a transcript may hold U+2028
    while lines and not lines[-1]:
        lines.pop()
    if not lines:
        raise ManifestError(f"{path}: the file is empty; its first line must name the columns {' and '.join(REQUIRED)}")
    if len(lines) == 1:
        raise ManifestError(f"{path}: no clip, only one line")
    return lines


def check_header(path: Path, header: Sequence[str]) -> None:
    problems = [f"column {name!r} is missing" for name in REQUIRED if name not in header]
    problems += [f"column {name!r} stands twice" for name, number in sorted(Counter(header).items()) if number > 1]
    problems += ["a column has no name"] if "" in header else []
    problems += [f"more than {MAX_COLUMNS:,} columns"] if len(header) > MAX_COLUMNS else []
    if problems:
        raise ManifestError(f"{path}, line 1: {'; '.join(problems)} (the columns are {', '.join(header)})")


def parse_rows(path: Path, header: Sequence[str], lines: Sequence[str]) -> list[list[str]]:
    """Split and check the rows; all problems come in one ManifestError."""
    file_column, samples_column = header.index("path"), header.index("samples")
    rows, problems = [], []
    for number, line in enumerate(lines, 2):
        row = line.split("\t")
        rows.append(row)
        if len(row) != len(header):
            problems.append(f"line {number}: {len(row)} fields, but the header has {len(header)}")
            continue
        samples = row[samples_column]
        if not (samples.isascii() and samples.isdigit() and len(samples) < 20 and 0 < int(samples) < 2**62):
            problems.append(f"line {number}: samples must be a whole number above 0, not {samples!r}")
        if not row[file_column]:
            problems.append(f"line {number}: path is empty")
    if problems:
        more = len(problems) - MAX_PROBLEMS
        shown = problems[:MAX_PROBLEMS] + ([f"and {more} more"] if more > 0 else [])
        raise ManifestError(f"{path}: {len(problems)} wrong lines: {'; '.join(shown)}")
    return rows


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
