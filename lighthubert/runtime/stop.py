"""SIGTERM, SIGHUP and Ctrl-C ask the run to finish its step, save and leave; a second Ctrl-C leaves at once."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import suppress
from types import FrameType
from typing import Any


class StopRequest:
    """Within the `with` block, `.signal` is the name of the first signal that came, else "".

    Handlers can only be set in the main thread: elsewhere the block changes nothing.
    """

    SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)

    def __init__(self) -> None:
        self.signal = ""
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            nohup = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
            numbers = [number for number in self.SIGNALS if not (nohup and number == signal.SIGHUP)]
            self._before = {number: signal.signal(number, self._ask) for number in numbers}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.signal and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.signal = self.signal or signal.Signals(number).name
        text = f"\n{self.signal}: finishing the step, then saving; a second Ctrl-C leaves at once\n"
        with suppress(OSError):  # the terminal may be gone
            os.write(2, text.encode())
