"""What a run leaves on disk so that it can go on: atomic checkpoints, a lock, and the recipe that they belong to."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import torch

from lighthubert.train import distributed

logger = logging.getLogger(__name__)
# Reader processes of a killed run keep its lock until they notice, after up to 5 seconds.
LOCK_SECONDS = 10.0
# A run may go on with other values of these: they change nothing that is learnt.
FREE_KEYS = {f"train.{key}" for key in ("save_every", "keep_last", "eval_every", "log_every", "max_bad_steps")}


class StateError(ValueError):
    """A run folder that cannot be used: locked, damaged, or of another recipe."""


@contextmanager
def locked(run_dir: Path) -> Iterator[None]:
    """Hold run_dir for these ranks, again if they hold it already; StateError if another process trains in it.

    Rank 0 has the lock, and it ends with that process.
    """
    from filelock import FileLock, Timeout  # comes with torch

    lock = FileLock(run_dir / ".lock", is_singleton=True)  # one for the whole process, which counts its holders

    def acquire() -> None:
        run_dir.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=LOCK_SECONDS)
        except Timeout as error:
            raise StateError(f"{run_dir}: another process trains in this folder (it holds {lock.lock_file})") from error

    distributed.on_first(acquire)
    try:
        yield
    finally:
        lock.release()  # nothing where it was not acquired


def write_text(path: Path, text: str) -> None:
    """Replace a small file in one go: readers see the old text or the new one, also after a crash."""
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        _to_disk(file)
    _rename(temporary, path)


class Checkpoints:
    """The checkpoints of a run: step_00000123.pt and, in sha256sum's format, step_00000123.pt.sha256.

    A checkpoint appears under its name only when it is whole and on disk, after its checksum. Only rank 0 calls this.
    """

    def __init__(self, folder: Path, keep_last: int) -> None:
        self.folder, self.keep_last = folder, keep_last

    def newest(self) -> Path | None:
        """The newest checkpoint that is whole; tidies up after a killed run first.

        A damaged one is named in a warning and renamed to *.damaged. Raises StateError if all are damaged.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        for path in self.folder.glob("*.tmp"):
            path.unlink()
        for path in self.folder.glob("*.sha256"):
            if not path.with_suffix("").exists():
                path.unlink()
        paths = sorted(self.folder.glob("step_*.pt"), reverse=True)
        for path in paths:
            if _is_whole(path):
                return path
            logger.warning("%s does not match its checksum: using the checkpoint before it", path)
            path.rename(path.with_name(path.name + ".damaged"))
        if paths:
            raise StateError(f"{self.folder}: every checkpoint is damaged; an empty run_dir starts anew")
        return None

    def save(self, step: int, state: dict[str, Any], best_step: int | None) -> None:
        """Write a checkpoint, then delete all but the newest ones and the best one."""
        path = self._path(step)
        temporary = path.with_name(path.name + ".tmp")
        with temporary.open("wb") as file:
            torch.save(state, file)
            _to_disk(file)
        write_text(_checksum_path(path), f"{_sha256(temporary)}  {path.name}\n")
        _rename(temporary, path)
        keep = {*sorted(self.folder.glob("step_*.pt"))[-self.keep_last :], self._path(best_step or step)}
        for old in set(self.folder.glob("step_*.pt")) - keep:
            old.unlink()
            _checksum_path(old).unlink(missing_ok=True)

    def _path(self, step: int) -> Path:
        return self.folder / f"step_{step:08d}.pt"


def load(path: Path) -> dict[str, Any]:
    """A checkpoint's content on the CPU: tensors, numbers, strings, lists and dicts, nothing that runs code."""
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return state


def fingerprint(recipe: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """A nested recipe as flat texts, {"train.lr": "0.001"}, without the keys that may change."""
    flat: dict[str, str] = {}
    for key, value in recipe.items():
        if isinstance(value, Mapping):
            flat |= fingerprint(value, f"{prefix}{key}.")
        elif prefix + key not in FREE_KEYS:
            flat[prefix + key] = json.dumps(value, default=str)
    return flat


def require_same(run_dir: Path, before: Mapping[str, str], now: Mapping[str, str]) -> None:
    """StateError that lists every key in which a run's recipe and the one it was started with differ."""
    keys = [key for key in sorted({*before, *now}) if before.get(key) != now.get(key)]
    if keys:
        changes = "; ".join(f"{key} was {before.get(key, 'not set')}, is {now.get(key, 'not set')}" for key in keys)
        raise StateError(f"{run_dir}: started with another recipe: {changes}. Use the old values or another run_dir")


def _is_whole(path: Path) -> bool:
    checksum = _checksum_path(path)
    return checksum.exists() and checksum.read_text(encoding="utf-8").split()[:1] == [_sha256(path)]


def _checksum_path(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _to_disk(file: IO[Any]) -> None:
    file.flush()
    os.fsync(file.fileno())


def _rename(temporary: Path, path: Path) -> None:
    temporary.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # the new name, too, must survive a power cut
    finally:
        os.close(folder)
