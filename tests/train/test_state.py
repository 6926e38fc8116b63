"""Checkpoints on disk: whole or not there, kept and dropped as promised; the lock and the recipe of a folder."""

import hashlib
import logging
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from lighthubert.runtime import files
from lighthubert.runtime.errors import StateError
from lighthubert.runtime.files import locked
from lighthubert.runtime.fingerprint import fingerprint, require_same
from lighthubert.train.checkpoints import PARTS, Checkpoints
from lighthubert.train.config import FREE_KEYS


def content(step: int) -> dict[str, object]:
    parts: dict[str, object] = {name: {} for name in PARTS}
    return parts | {"model": {"w": torch.full((1000,), float(step))}, "progress": {"step": step}}


def saved(folder: Path, steps: list[int], keep_last: int = 10) -> Checkpoints:
    checkpoints = Checkpoints(folder, keep_last)
    checkpoints.newest()
    for step in steps:
        checkpoints.save(step, content(step), None)
    return checkpoints


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_checkpoint_comes_back(tmp_path: Path) -> None:
    path = saved(tmp_path, [3, 123]).newest()
    assert path == tmp_path / "step_00000123.pt"
    assert Checkpoints.load(path)["model"]["w"].tolist() == [123.0] * 1000
    assert Checkpoints.load(path)["progress"] == {"step": 123}


def test_the_checksum_is_in_sha256sums_format(tmp_path: Path) -> None:
    saved(tmp_path, [5])
    digest = hashlib.sha256((tmp_path / "step_00000005.pt").read_bytes()).hexdigest()
    assert (tmp_path / "step_00000005.pt.sha256").read_text() == f"{digest}  step_00000005.pt\n"


def test_an_empty_folder_has_none(tmp_path: Path) -> None:
    assert Checkpoints(tmp_path / "new", 1).newest() is None


def test_newest_and_best_are_kept(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, keep_last=2)
    for step, best in ((1, None), (2, 2), (3, 2), (4, 2), (5, 2)):
        checkpoints.save(step, content(step), best)
    kept = ["step_00000002.pt", "step_00000004.pt", "step_00000005.pt"]
    assert names(tmp_path) == sorted(kept + [f"{name}.sha256" for name in kept])


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "no checksum", "empty checksum", "binary checksum",
                                    "no pickle", "another's"])  # fmt: skip
def test_damage_is_seen_and_the_one_before_is_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    checkpoints = saved(tmp_path, [1, 2])
    path, checksum = tmp_path / "step_00000002.pt", tmp_path / "step_00000002.pt.sha256"
    whole = bytearray(path.read_bytes())
    if damage == "flip":
        whole[len(whole) // 2] ^= 1
        path.write_bytes(whole)
    elif damage in ("cut", "empty"):
        path.write_bytes(whole[: len(whole) // 2 if damage == "cut" else 0])
    elif damage == "no checksum":
        checksum.unlink()
    elif damage == "empty checksum":
        checksum.write_text("")
    elif damage == "binary checksum":
        checksum.write_bytes(bytes(range(128, 256)))
    else:  # with a right checksum
        torch.save(torch.zeros(3) if damage == "another's" else Path, path)
        checksum.write_text(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n")
    with caplog.at_level(logging.WARNING):
        assert checkpoints.newest() == tmp_path / "step_00000001.pt"
    assert str(path) in caplog.text
    assert path.with_name(path.name + ".damaged").exists()
    checkpoints.save(2, content(2), None)  # training comes to this step again
    assert checkpoints.newest() == path


def test_only_damaged_ones_are_an_error(tmp_path: Path) -> None:
    checkpoints = saved(tmp_path, [1])
    (tmp_path / "step_00000001.pt").write_bytes(b"")
    with pytest.raises(StateError, match="every checkpoint is damaged"):
        checkpoints.newest()


def test_leftovers_of_a_killed_writer_go(tmp_path: Path) -> None:
    checkpoints = saved(tmp_path, [1])
    (tmp_path / ".step_00000002.pt.77.part").write_bytes(b"half")
    (tmp_path / ".step_00000002.pt.sha256.77.part").write_bytes(b"half")
    (tmp_path / "step_00000002.pt.sha256").write_text("of a checkpoint that never came")
    with locked(tmp_path):
        assert checkpoints.newest() == tmp_path / "step_00000001.pt"
    assert names(tmp_path) == [".lock", "step_00000001.pt", "step_00000001.pt.sha256"]


def test_an_error_in_writing_leaves_the_old_checkpoint(tmp_path: Path) -> None:
    checkpoints = saved(tmp_path, [1])
    with pytest.raises(Exception, match=r"pickle|local"):
        checkpoints.save(2, {"model": lambda: None}, None)  # fails in the middle of writing
    assert checkpoints.newest() == tmp_path / "step_00000001.pt"


def test_code_in_a_checkpoint_is_refused(tmp_path: Path) -> None:
    torch.save({"model": Path}, tmp_path / "x.pt")
    with pytest.raises(Exception, match="weights_only"):
        Checkpoints.load(tmp_path / "x.pt")


def test_a_changed_recipe_is_named(tmp_path: Path) -> None:
    before = fingerprint({"train": {"lr": 0.1, "steps": 5}, "seed": 1, "space": "small"})
    now = fingerprint({"train": {"lr": 0.2, "steps": 5}, "seed": 1, "masks": [1, 2]})
    with pytest.raises(StateError) as error:
        require_same(tmp_path, before, now)
    message = str(error.value)
    assert "train.lr was 0.1, is 0.2" in message
    assert 'space was "small", is not set' in message
    assert "masks was not set, is [1, 2]" in message
    assert "steps" not in message
    assert "seed" not in message


def test_how_often_things_happen_may_change(tmp_path: Path) -> None:
    before = fingerprint({"train": {"lr": 0.1, "save_every": 5, "log_every": 1}}, FREE_KEYS)
    require_same(tmp_path, before, fingerprint({"train": {"lr": 0.1, "save_every": 7, "log_every": 2}}, FREE_KEYS))


def test_two_processes_cannot_have_one_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "LOCK_SECONDS", 0.2)
    code = "import fcntl, sys; f = open(sys.argv[1], 'w'); fcntl.flock(f, fcntl.LOCK_EX); print(1, flush=True); input()"
    other = subprocess.Popen(
        [sys.executable, "-c", code, tmp_path / ".lock"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"1\n"
        with pytest.raises(StateError, match="another process trains in this folder"), locked(tmp_path):
            pass
        other.kill()
    with locked(tmp_path):  # the lock ended with its process
        pass
    with locked(tmp_path):
        pass
