"""Stopped, damaged, finished or refused: what the same call on the same folder does. One rank, one process."""

import logging
import math
import shutil
import signal
import threading
from pathlib import Path

import harness
import pytest
import torch
import toy
from filelock import FileLock, Timeout

from lighthubert.data import Manifest
from lighthubert.runtime import files
from lighthubert.runtime.errors import StateError
from lighthubert.runtime.files import locked
from lighthubert.train import TrainingError


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_stopped_and_resumed_is_the_same(
    tmp_path: Path, manifest: Path, capsys: pytest.CaptureFixture[str], precision: str
) -> None:
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    clips = Manifest.read(manifest)
    toy.run_objective(whole, toy.Loudness(clips, dropout=0.2), precision=precision)
    _, result = toy.run_objective(stopped, toy.Interrupted(clips, dropout=0.2), precision=precision)
    assert (result.step, result.finished) == (5, False)
    assert "stopped by SIGTERM after step 5 of 6; the same command resumes" in capsys.readouterr().out
    _, result = toy.run_objective(stopped, toy.Loudness(clips, dropout=0.2), precision=precision)
    assert (result.step, result.finished) == (6, True)
    assert "goes on after step 5 of 6" in capsys.readouterr().out
    assert not harness.differences(whole, stopped)


def test_random_numbers_are_functions_of_seed_and_step(tmp_path: Path, manifest: Path) -> None:
    draws: list[float] = []

    class Watched(toy.Loudness):
        def losses(self, *arguments):
            draws.append(float(torch.rand(())))
            return super().losses(*arguments)

    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        torch.rand(7)  # what came before does not matter
        toy.run_objective(tmp_path / name, Watched(Manifest.read(manifest)), seed=seed)
    assert draws[:6] == draws[6:12]
    assert len(set(draws)) == 12


def test_a_finished_run_says_so(tmp_path: Path, manifest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, trained = toy.train(tmp_path, manifest)
    capsys.readouterr()
    second, loaded = toy.train(tmp_path, manifest)
    assert capsys.readouterr().out == f"{tmp_path}: finished, nothing to do: all 12 steps are done\n"
    assert first == second
    assert not loaded.seen
    for name, weight in trained.model.state_dict().items():
        assert torch.equal(weight, loaded.model.state_dict()[name])


def test_a_second_ctrl_c_leaves_at_once(tmp_path: Path, manifest: Path) -> None:
    objective = toy.Interrupted(Manifest.read(manifest))
    objective.signals = (signal.SIGINT, signal.SIGINT)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        toy.run_objective(tmp_path, objective, save_every=2)
    assert signal.getsignal(signal.SIGINT) is before
    assert harness.newest(tmp_path)["progress"]["step"] == 4


def test_trains_in_another_thread(tmp_path: Path, manifest: Path) -> None:
    """Where signal handlers cannot be set."""
    results = []
    thread = threading.Thread(
        target=lambda: results.append(toy.run_objective(tmp_path, toy.Loudness(Manifest.read(manifest))))
    )
    thread.start()
    thread.join(60)
    assert results[0][1].finished


def test_the_count_of_bad_steps_survives_a_resume(tmp_path: Path, manifest: Path) -> None:
    class Both(toy.Interrupted, toy.Poisoned):
        at, factors = 2, {1: math.nan, 2: math.nan}

    toy.run_objective(tmp_path, Both(Manifest.read(manifest)), max_bad_steps=3)
    with pytest.raises(TrainingError, match="step 4"):
        toy.run_objective(tmp_path, toy.poisoned(manifest, {3: math.nan}), max_bad_steps=3)


def test_another_recipe_is_refused_by_name(tmp_path: Path, manifest: Path) -> None:
    toy.train(tmp_path, manifest, steps=4)
    with pytest.raises(StateError, match=r"train.lr was 0.01, is 0.02; train.steps was 4, is 5\. Use"):
        toy.train(tmp_path, manifest, steps=5, lr=0.02)
    with pytest.raises(StateError, match=r"seed was 1, is 2\. Use"):
        toy.train(tmp_path, manifest, steps=4, seed=2)
    assert toy.train(tmp_path, manifest, steps=4, log_every=1, save_every=1)[0].finished


def test_a_folder_in_use_is_refused(tmp_path: Path, manifest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "LOCK_SECONDS", 0.1)
    with FileLock(tmp_path / ".lock"), pytest.raises(StateError, match="another process trains"):
        toy.train(tmp_path, manifest)


def test_a_job_may_hold_its_folder_already(tmp_path: Path, manifest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To the end of its own block: the loop does not give it away."""
    monkeypatch.setattr(files, "LOCK_SECONDS", 0.1)
    with locked(tmp_path):
        assert toy.train(tmp_path, manifest)[0].finished
        with pytest.raises(Timeout):
            FileLock(tmp_path / ".lock").acquire(timeout=0.1)
    FileLock(tmp_path / ".lock").acquire(timeout=0.1).lock.release()


def test_a_damaged_newest_checkpoint_costs_only_time(
    tmp_path: Path, manifest: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole, damaged = tmp_path / "whole", tmp_path / "damaged"
    toy.train(whole, manifest, dropout=0.2)
    shutil.copytree(whole, damaged)
    path = damaged / "checkpoints" / "step_00000012.pt"
    path.write_bytes(path.read_bytes()[:-100])
    with caplog.at_level(logging.WARNING):
        assert toy.train(damaged, manifest, dropout=0.2)[1].seen[0][0] == 8
    assert str(path) in caplog.text
    assert not harness.differences(whole, damaged)
