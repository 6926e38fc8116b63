"""What a preparation tells: a progress bar, every file that was left out, and what there is now."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from lighthubert.data import SAMPLE_RATE, AudioError
from lighthubert.runtime.errors import UserError
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
                print(f"skipped {name(item)}: {result.reason}", file=sys.stderr)
            else:
                yield item, result
    finally:
        pool.shutdown(cancel_futures=True)  # after an error or Ctrl-C, not only once all is done


def say_written(path: object, samples: Iterable[int], num_listed: int) -> None:
    """One line for a manifest: its clips, hours, and how many files it had to leave out."""
    lengths = list(samples)
    left_out = f", {num_listed - len(lengths)} left out" if num_listed > len(lengths) else ""
    print(f"{path}: {len(lengths)} clips, {sum(lengths) / SAMPLE_RATE / 3600:.2f} h{left_out}")
    sys.stdout.flush()
