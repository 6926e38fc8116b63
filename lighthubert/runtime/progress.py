"""One line about a running job: a live bar on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Sized
from typing import Any, Protocol, TypeVar

T_co = TypeVar("T_co", covariant=True)

PLAIN_SECONDS = 30.0


class ProgressLine:
    """Shows "step of steps" (or of another unit) and a text on stderr."""

    def __init__(self, step: int, steps: int, unit: str = "step") -> None:
        self.step, self.steps, self.unit, self.text = step, steps, unit, ""
        self._first = (step, time.monotonic())
        self._printed = (step, -PLAIN_SECONDS)  # step and time of the last plain line
        self._bar: Any = None
        if sys.stderr.isatty():
            self._start_bar()

    def _start_bar(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (MofNCompleteColumn(), BarColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
        self._bar = Progress(*columns, console=Console(stderr=True))
        self._bar.start()
        self._bar.add_task("", total=self.steps, completed=self.step)

    def update(self, step: int, text: str | None = None) -> None:
        """Move to `step`; a text replaces the one before."""
        self.step, self.text = step, self.text if text is None else text
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=step, description=self.text)
        elif self.text and time.monotonic() - self._printed[1] >= PLAIN_SECONDS:
            self._print()

    def close(self) -> None:
        """Leave the last state on the screen."""
        if self._bar is not None:
            self._bar.stop()
        elif self.step > self._printed[0]:
            self._print()

    def _print(self) -> None:
        now = time.monotonic()
        done, taken = self.step - self._first[0], now - self._first[1]
        eta = f", {(self.steps - self.step) * taken / done:.0f} s left" if 0 < done and self.step < self.steps else ""
        print(f"{self.unit} {self.step}/{self.steps}{eta}  {self.text}", file=sys.stderr, flush=True)
        self._printed = (self.step, now)


class Items(Sized, Iterable[T_co], Protocol[T_co]):
    """Things that can be counted and gone through."""


def track(items: Items[T_co], text: str, unit: str = "clip") -> Iterator[T_co]:
    """The same items, and a line about how many of them are done."""
    line = ProgressLine(0, len(items), unit)
    try:
        for number, item in enumerate(items, 1):
            yield item
            line.update(number, text)
    finally:
        line.close()
