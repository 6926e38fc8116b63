"""What all preparations do: go through files, say which were left out, write a manifest and say what it holds."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from lighthubert.data import SAMPLE_RATE, AudioError, write_manifest
from lighthubert.data.manifest import fits, listed_path
from lighthubert.runtime.errors import UserError, one_line
from lighthubert.runtime.progress import track

Item = TypeVar("Item")
Result = TypeVar("Result")


class PrepareError(UserError):
    """Nothing could be prepared; the message says why."""


def each(
    items: Sequence[Item], work: Callable[[Item], Result], name: Callable[[Item], object], jobs: int, title: str
) -> Iterator[tuple[Item, Result]]:
    """Do `work` on every item in `jobs` threads, in order; items that raise AudioError are named and left out."""

    def attempt(item: Item) -> Result | AudioError:
        try:
            return work(item)
        except AudioError as error:
            return error

    pool = ThreadPoolExecutor(jobs)
    try:
        for item, result in zip(track(items, title, "file"), pool.map(attempt, items), strict=True):
            if isinstance(result, AudioError):
                print(f"skipped {one_line(str(name(item)))}: {result.reason}", file=sys.stderr)
            else:
                yield item, result
    finally:
        pool.shutdown(cancel_futures=True)  # after an error or Ctrl-C, not only once all is done


def write_clips(path: Path, columns: Sequence[str], rows: Sequence[Mapping[str, Any]], num_listed: int) -> None:
    """Write a manifest, and one line about it: its clips, hours, and how many of the listed files it leaves out."""
    write_manifest(path, columns, rows)
    left_out = f", {num_listed - len(rows)} left out" if num_listed > len(rows) else ""
    hours = sum(int(row["samples"]) for row in rows) / SAMPLE_RATE / 3600
    print(f"{path}: {len(rows)} clips, {hours:.2f} h{left_out}", flush=True)


def write_measured(path: Path, files: Sequence[Path], measure: Callable[[Path], int],
                   columns: Callable[[Path], dict[str, str]], jobs: int, title: str,
                   nothing: str) -> list[dict[str, Any]]:  # fmt: skip
    """Write a manifest of the files that can be measured, in samples at 16 kHz, with further columns; its rows.

    nothing: the PrepareError that it raises where none can be.
    """

    def measured(file: Path) -> int:
        if not fits(listed_path(file, path)):
            raise AudioError(file, "a manifest cannot hold this name: not UTF-8, a tab or a line break")
        return measure(file)

    rows = [
        {"path": listed_path(file, path), "samples": samples, **columns(file)}
        for file, samples in each(files, measured, str, jobs, title)
    ]
    if not rows:
        raise PrepareError(nothing)
    write_clips(path, list(rows[0]), rows, len(files))
    return rows
