"""Sweeps that are killed or stopped, that lose a process, and that run all tasks."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

import pytest
import sweeps
import tiny_tasks
from test_sweep import launch, rows

pytestmark = pytest.mark.slow

LONG = {"total_steps": 300, "save_step": 20, "eval_step": 300, "log_step": 100}


def start(folder: Path, package: Path, log: IO[bytes], *words: str) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "lighthubert.superb", "sweep", "recipe.yaml", *words]
    environment = os.environ | {"S3PRL_ROOT": str(package.parent)}
    return subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)


def wait_until(process: "subprocess.Popen[bytes]", ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 300
    while not ready():
        assert process.poll() is None, "the sweep has ended by itself"
        assert time.monotonic() < deadline
        time.sleep(0.02)


def children(pid: int) -> list[int]:
    try:
        numbers = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except FileNotFoundError:  # it has ended in between
        return []
    return [number for child in map(int, numbers) for number in (child, *children(child))]


def alive(pid: int) -> bool:
    path = Path(f"/proc/{pid}/stat")
    try:
        return path.read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_killed_and_called_again(files: Path, package: Path) -> None:
    """kill -9 of the sweep while two processes train: they end too, and the next call goes on from the checkpoints."""
    sweeps.write(files, {"IC": {}}, processes=2)
    sweeps.steps(files, "IC", **LONG)
    folders = [files / "run/jobs" / net / "IC/exp" for net in sweeps.NETS]
    with (files / "out").open("wb") as log:
        process = start(files, package, log)
        wait_until(process, lambda: all([*folder.glob("states-*.ckpt")] for folder in folders))
        workers = children(process.pid)
        process.send_signal(signal.SIGKILL)
        process.wait()
    deadline = time.monotonic() + 20
    while any(alive(pid) for pid in workers):
        assert time.monotonic() < deadline, "a process of the killed sweep goes on"
        time.sleep(0.05)
    assert not (files / "run/results.jsonl").read_text()
    # The first net's only checkpoint was cut while it was written, so it starts anew.
    (cut,) = folders[0].glob("states-*.ckpt")
    cut.write_bytes(cut.read_bytes()[:1000])
    (whole,) = folders[1].glob("states-*.ckpt")

    done = launch(files, package, "sweep", "recipe.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    first, second = rows(files)
    assert first["resumed_from_step"] == 0
    assert "cannot be read, deleted" in (folders[0].parent / "log.txt").read_text()
    assert second["resumed_from_step"] == int(whole.stem.removeprefix("states-")) > 0
    assert all((folder / "states-300.ckpt").is_file() for folder in folders)

    before = (files / "run/results.jsonl").read_bytes()
    assert launch(files, package, "sweep", "recipe.yaml").returncode == 0
    assert (files / "run/results.jsonl").read_bytes() == before


def test_stopped(files: Path, package: Path) -> None:
    """Ctrl-C while a job reads with processes of its own: all end, and the next call goes on."""
    readers = {"downstream_expert": {"datarc": {"num_workers": 1}}}
    sweeps.write(files, {"IC": {"set": readers}}, nets={"narrow": {"arch": "smallest"}})
    sweeps.steps(files, "IC", **LONG | {"total_steps": 150, "eval_step": 150})
    folder = files / "run/jobs/narrow/IC/exp"
    with (files / "out").open("wb") as log:
        process = start(files, package, log)
        wait_until(process, lambda: bool([*folder.glob("states-*.ckpt")]) and len(children(process.pid)) > 1)
        workers = children(process.pid)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
    deadline = time.monotonic() + 5
    while any(alive(pid) for pid in workers):
        assert time.monotonic() < deadline, "a process of the stopped sweep goes on"
        time.sleep(0.05)
    printed = (files / "out").read_text()
    assert printed.endswith("stopped; the same command goes on\n")
    assert "Traceback" not in printed
    assert launch(files, package, "sweep", "recipe.yaml").returncode == 0
    (row,) = rows(files)
    assert row["resumed_from_step"] >= 20


def test_a_process_that_dies_loses_its_own_job(files: Path, package: Path) -> None:
    sweeps.write(files, {"IC": {}, "KS": {}}, nets={"narrow": {"arch": "smallest"}})
    sweeps.steps(files, "IC", **LONG)
    folder = files / "run/jobs/narrow/IC/exp"
    with (files / "out").open("wb") as log:
        process = start(files, package, log)
        wait_until(process, lambda: bool([*folder.glob("states-*.ckpt")]))
        worker = int((folder.parent / "log.txt").read_text().split("process ")[1].split()[0])
        os.kill(worker, signal.SIGKILL)
        assert process.wait(300) == 1
    printed = (files / "out").read_text()
    assert "  IC of narrow: its process died (SIGKILL); too little memory is a common reason (log: " in printed
    assert [row["task"] for row in rows(files)] == ["KS"]


def test_every_task(files: Path, package: Path) -> None:
    """All that this s3prl can run, one after another."""
    more = {"ER": {"folds": ["fold1"]}, "QbE": {"layer": -1}}
    missing = [] if (package / "downstream/ctc/corpus").is_dir() else ["PR", "SF"]
    tasks = {name: more.get(name, {}) for name in tiny_tasks.TASKS if name not in missing}
    sweeps.write(files, tasks, nets={"narrow": {"arch": "smallest"}})
    own = shutil.copytree(package, files / "root/s3prl", ignore=shutil.ignore_patterns(".cache", ".wav*"))
    done = launch(files, own, "sweep", "recipe.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    found = {row["task"]: row["metrics"] for row in rows(files)}
    assert set(found) == set(tasks)
    assert {task for task, metrics in found.items() if not metrics} == {"QbE"}
    assert all(0 <= value < 1000 for metrics in found.values() for value in metrics.values())
    # s3prl's lists of files are the sweep's, not the package's
    assert not [*(own / "downstream/voxceleb1").rglob("*.pkl"), *(own / "downstream/sv_voxceleb1").rglob("*_length.pt")]
    assert [*(files / "run/lists/SID").rglob("train.pkl")]
    assert [*(files / "run/lists/ASV").rglob("Voxceleb1_length.pt")]
    for row in rows(files):
        made = tiny_tasks.TASKS[row["task"]](files / row["task"])
        assert [*(files / "run" / row["predictions"]).glob(made.results[0])]
