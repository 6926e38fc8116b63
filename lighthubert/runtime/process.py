"""What a command is before its modules are there: streams that outlive their readers, and Ctrl-C in one line."""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
import threading
from types import FrameType
from typing import Any

STOPPED = "stopped; the same command goes on"
GONE = (errno.EPIPE, errno.EIO, errno.EBADF)  # the reader of a pipe, a terminal; the stream itself


class _Stream(io.FileIO):
    """stdout or stderr. When nobody reads it any more, the rest is lost and the command goes on."""

    def write(self, data: Any) -> int:
        try:
            return int(super().write(data) or 0)
        except OSError as error:
            number = self.fileno()
            to_nothing(number)  # or Python tries again when it ends
            if error.errno not in GONE:  # a full disk: the text is perhaps what the command is for
                raise OSError(error.errno, error.strerror, ("stdout", "stderr")[number - 1]) from error
            if number == 1:
                print("stdout is closed: goes on without it", file=sys.stderr)
            return len(data)


def to_nothing(number: int) -> None:
    """Let a descriptor lead nowhere, so that no file of the run gets its number."""
    nothing = os.open(os.devnull, os.O_RDWR)
    if nothing != number:
        os.dup2(nothing, number)
        os.close(nothing)


def start() -> None:
    """To be called before all imports that take long. It does nothing in a program that is not a command of ours."""
    words = sys.orig_argv
    module = words[words.index("-m") + 1 :][:1] if "-m" in words else [os.path.basename(sys.argv[0])]
    if not module or module[0].partition(".")[0] != "lighthubert":
        return
    signal.signal(signal.SIGINT, _leave)
    threading.excepthook = _in_thread
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        stream = getattr(sys, name)
        if stream is None:
            to_nothing(number)
        if number:
            encoding, errors = (stream.encoding, stream.errors) if stream else ("utf-8", "backslashreplace")
            buffered = io.BufferedWriter(_Stream(number, "w", closefd=False))
            lines = number == 2 or os.isatty(number)
            setattr(sys, name, io.TextIOWrapper(buffered, encoding, errors, line_buffering=lines))


def started() -> None:
    """From here on Ctrl-C is a KeyboardInterrupt again."""
    if signal.getsignal(signal.SIGINT) is _leave:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _in_thread(args: threading.ExceptHookArgs) -> None:
    """TensorBoard's thread dies of a full disk; whoever gives it more gets the error, too."""
    if not isinstance(args.exc_value, OSError):
        threading.__excepthook__(args)


def _leave(number: int, frame: FrameType | None) -> None:
    """Not by an exception: some libraries catch those while they are imported."""
    os.write(2, f"\n{STOPPED}\n".encode())
    os._exit(128 + number)
