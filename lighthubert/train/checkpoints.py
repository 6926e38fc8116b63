"""The checkpoints of a run."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import torch

from lighthubert.runtime.errors import StateError
from lighthubert.runtime.files import file_sha256, replacing, write_text

PARTS = {"model", "optimizer", "scaler", "reader", "progress", "recipe"}  # of the content

logger = logging.getLogger(__name__)


class Checkpoints:
    """A folder with step_00000123.pt and, in sha256sum's format, step_00000123.pt.sha256.

    A checkpoint appears under its name only when it is whole and on disk, after its checksum. Only rank 0 calls this.
    """

    def __init__(self, folder: Path, keep_last: int) -> None:
        self.folder, self.keep_last = folder, keep_last

    def newest(self) -> Path | None:
        """The newest checkpoint that is whole; a checksum of none goes.

        A damaged one is named in a warning and renamed to *.damaged. Raises StateError if all are damaged.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        for path in self.folder.glob("*.sha256"):
            if not path.with_suffix("").exists():
                path.unlink()
        paths = sorted(self.folder.glob("step_*.pt"), reverse=True)
        for path in paths:
            if not (problem := _problem(path)):
                return path
            logger.warning("%s %s: using the checkpoint before it", path, problem)
            path.rename(path.with_name(path.name + ".damaged"))
        if paths:
            raise StateError(f"{self.folder}: every checkpoint is damaged; an empty run_dir starts anew")
        return None

    def save(self, step: int, state: dict[str, Any], best_step: int | None) -> None:
        """Write a checkpoint, then delete all but the newest ones and the best one."""
        path = self._path(step)
        with replacing(path) as part:
            with part.open("wb") as file:  # the content then does not depend on the name
                torch.save(state, file)
            write_text(_checksum_path(path), f"{file_sha256(part)}  {path.name}\n")
        keep = {*sorted(self.folder.glob("step_*.pt"))[-self.keep_last :], self._path(best_step or step)}
        for old in set(self.folder.glob("step_*.pt")) - keep:
            old.unlink()
            _checksum_path(old).unlink(missing_ok=True)

    @staticmethod
    def load(path: Path) -> dict[str, Any]:
        """A checkpoint's content on the CPU: tensors, numbers, strings, lists and dicts, nothing that runs code."""
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        return state

    def _path(self, step: int) -> Path:
        return self.folder / f"step_{step:08d}.pt"


def _problem(path: Path) -> str:
    """Why a checkpoint cannot be used, if so."""
    checksum = _checksum_path(path)
    if not checksum.exists() or checksum.read_bytes().split()[:1] != [file_sha256(path).encode()]:
        return "does not match its checksum"
    try:
        state = Checkpoints.load(path)
    except Exception as error:  # noqa: BLE001  whatever torch has to say of a file that is not ours
        return f"cannot be loaded ({type(error).__name__})"
    return "" if isinstance(state, dict) and PARTS <= state.keys() else "holds no run"


def _checksum_path(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")
