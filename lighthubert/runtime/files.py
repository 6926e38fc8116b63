"""Files that appear whole or not at all, the one hash, and folders that one process holds."""

from __future__ import annotations

import errno
import hashlib
import itertools
import os
import stat
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from lighthubert.runtime import ranks
from lighthubert.runtime.errors import StateError, UserError

# Reader processes of a killed run keep its lock until they notice, after up to 5 seconds.
LOCK_SECONDS = 10.0
_parts = itertools.count()  # threads may write one file
_umask_lock = threading.Lock()


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A file to write in place of `path`. It takes that name when the block ends well, and is deleted if not.

    Readers see the old file or the new one, also after a power cut. OSErrors (a full disk) name the file.
    """
    path = Path(path)
    part = path.with_name(f".{path.name}.{os.getpid()}-{next(_parts)}.part")
    try:
        with naming(path, part):
            yield part
            part.chmod(0o666 & ~_umask())  # some libraries make files for their owner alone
            _to_disk(part)
            part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    if os.name == "posix":
        _to_disk(path.parent)  # the new name, too


@contextmanager
def open_regular(path: str | Path, error: type[UserError], most: int | None = None) -> Iterator[BinaryIO]:
    """A regular file, open for reading bytes. A reader's one way to a file.

    error: raised, with the path, for whatever stands in the way: no such file, no right to it, a name that no file can
    have, a pipe, device or folder, more than `most` bytes, an error of the disk, a file that changes while it is read.
    """
    try:
        file = open(path, "rb", opener=_without_waiting)  # noqa: SIM115  closed below
    except (OSError, ValueError) as problem:  # ValueError: a name with a NUL, or no Unicode text
        raise error(f"{path}: {getattr(problem, 'strerror', None) or problem}") from None
    with file:
        try:
            before = os.fstat(file.fileno())
            if not stat.S_ISREG(before.st_mode):
                raise error(f"{path}: not a regular file")
            if most is not None and before.st_size > most:
                raise error(f"{path}: {before.st_size:,} bytes; such a file has {most:,} at most")
            yield file
            after = os.fstat(file.fileno())
        except OSError as problem:
            raise error(f"{path}: {problem.strerror or problem}") from None
        if (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
            raise error(f"{path}: was written to while it was read")


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))  # else to open a pipe waits for its writer


def read_text(path: str | Path, error: type[UserError], most: int | None = None) -> str:
    """The text of a regular file in UTF-8, with or without a byte order mark; errors as in `open_regular`."""
    with open_regular(path, error, most) as file:
        content = file.read()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        raise error(f"{path}: not UTF-8 text ({problem.reason} at byte {problem.start})") from None


@contextmanager
def naming(path: Path, part: Path | None = None) -> Iterator[None]:
    """An OSError that names no file, or `part`, names this one, also where a library has made another error of it."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        cause = error if isinstance(error, OSError) else error.__context__  # torch.save's
        if not isinstance(cause, OSError) or cause.filename not in (None, str(part), part):
            raise
        raise OSError(cause.errno or errno.EIO, cause.strerror or str(cause), str(path)) from error


def write_text(path: str | Path, text: str) -> None:
    """Replace a small file by this text, in UTF-8."""
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8", newline="\n")


def sha256(chunks: Iterable[bytes]) -> str:
    """The SHA-256 of bytes that come in pieces, 64 hex digits."""
    sha = hashlib.sha256()
    for chunk in chunks:
        sha.update(chunk)
    return sha.hexdigest()


def digest(chunks: Iterable[bytes]) -> str:
    """What tells one content, in pieces, from another: the first 16 hex digits of its SHA-256."""
    return sha256(chunks)[:16]


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file's content."""
    with path.open("rb") as file:
        return sha256(iter(lambda: file.read(1 << 20), b""))


@contextmanager
def locked(run_dir: Path, seconds: float | None = None) -> Iterator[None]:
    """Hold run_dir for these ranks, again if they hold it already; StateError if another process works in it still
    after so many seconds, LOCK_SECONDS by default (-1: wait as long as it takes).

    Rank 0 has the lock, and it ends with that process.
    """
    from filelock import FileLock, Timeout  # comes with torch

    lock = FileLock(run_dir / ".lock", is_singleton=True)  # one for the whole process, which counts its holders

    def acquire() -> None:
        run_dir.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=LOCK_SECONDS if seconds is None else seconds)
        except Timeout as error:
            raise StateError(f"{run_dir}: another process trains in this folder (it holds {lock.lock_file})") from error
        for part in run_dir.rglob(".*.part"):  # of a process that was killed while it wrote
            part.unlink()

    ranks.on_first(acquire)
    try:
        yield
    finally:
        lock.release()  # nothing where it was not acquired


def _umask() -> int:
    with _umask_lock:
        umask = os.umask(0)  # there is no way to ask but to set it
        os.umask(umask)
    return umask


def _to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
