"""Starts training jobs as processes of their own, kills them, and compares what they leave. For every room's tests.

A command is a list that follows `python`, as [script, argument ...] or ["-m", module, argument ...]; on several ranks
it is run by torchrun (gloo on 127.0.0.1). Needs /proc (Linux).
"""

import functools
import json
import multiprocessing
import os
import random
import runpy
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

DEADLINE = 300.0  # seconds that any one process may take
LAUNCHER = ["-m", "torch.distributed.run", "--rdzv-backend", "c10d", "--rdzv-endpoint", "127.0.0.1:0", "--local-addr",
            "127.0.0.1", "--nproc-per-node"]  # fmt: skip
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo", "CUDA_VISIBLE_DEVICES": ""}
# What jobs import, but for their __main__. Importing starts no threads, which a fork would lose.
PRELOAD = ["torch._dynamo", "torch.distributed.launcher.api", "torch.utils.tensorboard", "matplotlib.figure",
           "rich.table", "sklearn.cluster", "torchaudio.compliance.kaldi", "jiwer", "lighthubert.pretrain.report",
           "lighthubert.pretrain.units", "lighthubert.finetune.objective", "lighthubert.prune.report",
           "lighthubert.search.evolve", "lighthubert.search.report"]  # fmt: skip


class Job:
    """A running command: a new Python, or with `fork` a copy of one that has only imported what jobs import."""

    def __init__(self, command: Sequence[str], output: Path, ranks: int, fork: bool) -> None:
        self.output = output
        if fork:
            arguments = (list(command), output, ranks, {**os.environ, **ENVIRONMENT})
            self._process = _server().Process(target=_child, args=arguments)
            self._process.start()
            self.pid, self._poll = int(self._process.pid or 0), lambda: self._process.exitcode
        else:
            words = [sys.executable, *([*LAUNCHER, str(ranks)] if ranks > 1 else []), *command]
            with output.open("a") as file:
                popen = subprocess.Popen(words, stdout=file, stderr=file, env={**os.environ, **ENVIRONMENT})
            self.pid, self._poll = popen.pid, popen.poll
        self._deadline = time.monotonic() + DEADLINE

    def text(self) -> str:
        """What it has printed so far."""
        return self.output.read_text(errors="replace") if self.output.exists() else ""

    def wait(self) -> int:
        """Its exit code; fails if it hangs."""
        while (code := self._poll()) is None:
            self._tick("to end")
        return code

    def wait_until(self, condition: Callable[[], bool], what: str) -> None:
        """Poll a condition; fails if the job ends or hangs before."""
        while not condition():
            assert self._poll() is None, f"ended before {what}:\n{self.text()}"
            self._tick(what)

    def kill(self) -> None:
        """kill -9 for it and all that it started (torchrun's ranks lead sessions of their own)."""
        for pid in _family(self.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.wait()

    def kill_when(self, condition: Callable[[], bool], what: str) -> None:
        """kill -9 for all at once, as soon as a condition holds: whom to kill is looked up before."""
        family = _family(self.pid)
        self.wait_until(condition, what)
        for pid in family:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def kill_a_rank(self, rng: random.Random) -> None:
        """kill -9 for one of torchrun's ranks; the others must not wait for it for ever."""
        os.kill(rng.choice(ranks_of(self.pid)), signal.SIGKILL)
        assert self.wait() != 0

    def _tick(self, what: str) -> None:
        assert time.monotonic() < self._deadline, f"hangs, waiting {what}:\n{self.text()}"
        time.sleep(0.001)


@contextmanager
def job(command: Sequence[str], output: Path, ranks: int = 1, fork: bool = False) -> Iterator[Job]:
    """A running Job that does not outlive the block; what it prints is added to the file `output`."""
    started = Job(command, output, ranks, fork)
    try:
        yield started
    finally:
        started.kill()


def finish(command: Sequence[str], output: Path, ranks: int = 1, fork: bool = False) -> str:
    """Run a command to its end; what it printed. Fails if it fails."""
    with job(command, output, ranks, fork) as started:
        code = started.wait()
    assert code == 0, f"exit code {code}:\n{started.text()}"
    return started.text()


@dataclass(frozen=True)
class Series:
    """Kills to prove that a training command resumes to the same bits.

    The command gets run_dir=... as its last argument. Every other kill waits until a checkpoint is being written; the
    others come at a random moment, and under torchrun every second of them strikes a single rank. fork: as of Job.
    """

    command: list[str]
    folder: str
    kills: int
    ranks: int = 1
    fork: bool = True

    def prove(self) -> str:
        """An uninterrupted run, then one with kills; what came of it. Fails if the bits differ, or if no kill came in
        writing."""
        seed = random.SystemRandom().randrange(2**32)
        print(f"kill seed {seed}", flush=True)
        whole, killed = Path(self.folder, "whole"), Path(self.folder, "killed")
        self._finish(whole)
        seconds = evals(whole)[-1]["wall_seconds"] - evals(whole)[0]["wall_seconds"]
        rng, in_writing = random.Random(seed), 0
        for number in range(self.kills):
            self._kill(whole, killed, number, seconds / self.kills, rng)
            in_writing += any(killed.glob("checkpoints/.*.part"))
        self._finish(killed)
        assert in_writing, "no kill came while a checkpoint was being written"
        assert not (wrong := differences(whole, killed)), wrong
        return f"{self.kills} kills, {in_writing} of them left a half-written checkpoint; a run takes {seconds:.1f} s"

    def _finish(self, run_dir: Path) -> None:
        finish([*self.command, f"run_dir={run_dir}"], run_dir.with_suffix(".txt"), self.ranks, self.fork)

    def _kill(self, whole: Path, run_dir: Path, number: int, seconds: float, rng: random.Random) -> None:
        first_sign, folder, started = run_dir / "evals.jsonl", run_dir / "checkpoints", time.time()
        command = [*self.command, f"run_dir={run_dir}"]
        with job(command, run_dir.with_suffix(".txt"), self.ranks, self.fork) as running:
            running.wait_until(lambda: first_sign.exists() and first_sign.stat().st_mtime > started, "training starts")
            if number % 2 == 0:
                size = rng.uniform(0, 1) * max(path.stat().st_size for path in whole.glob("checkpoints/*.pt"))
                running.kill_when(lambda: _written(folder) > size, "a checkpoint is being written")
            else:
                time.sleep(rng.uniform(0, seconds))
                if self.ranks > 1 and number % 4 == 1:
                    running.kill_a_rank(rng)
            assert "finished" not in running.text(), "the kill came too late"


def ranks_of(pid: int) -> list[int]:
    """The processes of torchrun's ranks."""
    return [child for child, parent in _parents().items() if parent == pid]


def newest(run_dir: Path) -> dict[str, Any]:
    """The content of the newest checkpoint."""
    path = sorted((run_dir / "checkpoints").glob("step_*.pt"))[-1]
    content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return content


def evals(run_dir: Path) -> list[dict[str, Any]]:
    """The evaluations of a run."""
    return [json.loads(line) for line in (run_dir / "evals.jsonl").read_text().splitlines()]


def differences(a: Path, b: Path) -> list[str]:
    """Where two runs ended differently: tensors and numbers of the last checkpoint, evaluations; not wall time."""
    return _differing("", newest(a), newest(b)) + _differing("evals", evals(a), evals(b))


def _differing(name: str, a: Any, b: Any) -> list[str]:
    if isinstance(a, dict) and isinstance(b, dict) and a.keys() == b.keys():
        keys = a.keys() - {"wall_seconds"}
        return [text for key in keys for text in _differing(f"{name}.{key}", a[key], b[key])]
    if isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        return [text for i, pair in enumerate(zip(a, b, strict=True)) for text in _differing(f"{name}[{i}]", *pair)]
    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        same = a.dtype == b.dtype and a.shape == b.shape and a.numpy().tobytes() == b.numpy().tobytes()
        return [] if same else [f"{name}: tensors differ"]
    return [] if a == b else [f"{name}: {a!r} != {b!r}"]


@functools.cache
def _server() -> Any:
    """Starts processes as forks of one that has imported what jobs import, and has done nothing else."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOAD)
    return context


def _child(command: Sequence[str], output: Path, ranks: int, environment: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update(environment)
    with output.open("a") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    if ranks == 1:
        _execute(command)
        return
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    config = LaunchConfig(1, 1, ranks, rdzv_backend="c10d", rdzv_endpoint="127.0.0.1:0", local_addr="127.0.0.1",
                          max_restarts=0, start_method="fork", run_id="test")  # fmt: skip
    elastic_launch(config, _execute)(command)


def _execute(command: Sequence[str]) -> None:
    if command[0] == "-m":
        sys.argv = list(command[1:])
        runpy.run_module(command[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = list(command)
        runpy.run_path(command[0], run_name="__main__")


def _written(folder: Path) -> int:
    """Bytes of the checkpoint that is being written."""
    try:
        return max((path.stat().st_size for path in folder.glob(".*.pt.*.part")), default=0)
    except FileNotFoundError:  # just finished
        return 0


def _parents() -> dict[int, int]:
    """The parent of every process of this machine."""
    found = {}
    for file in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            found[int(file.parent.name)] = int(file.read_text().rpartition(")")[2].split()[1])
    return found


def _family(pid: int) -> list[int]:
    """A process and its descendants, the youngest generation first."""
    parents, members = _parents(), [pid]
    for member in members:
        members += [child for child, parent in parents.items() if parent == member]
    return members[::-1]

