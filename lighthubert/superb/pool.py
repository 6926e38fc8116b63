"""Processes that open s3prl once and then do one job after another. One that dies loses its own job only."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import torch

from lighthubert.superb.corpora import CorpusError
from lighthubert.superb.package import LaunchError, find_s3prl, missing, opened
from lighthubert.superb.plan import Job

WATCH_SECONDS = 5.0


def run_jobs(jobs: Sequence[Job], processes: int, watch: Callable[[list[Job]], None]) -> Generator[tuple[Job, str]]:
    """Do all jobs, `processes` at a time; gives each when it has ended, and what was wrong with it, or "".

    watch is told the running jobs every few seconds.
    """
    os.environ.setdefault("TQDM_MININTERVAL", "5")  # s3prl's bars go to files; the processes import tqdm at once
    waiting = deque(jobs)
    workers = [_Worker(number, min(processes, len(jobs))) for number in range(min(processes, len(jobs)))]
    try:
        for worker in workers:
            worker.give(waiting.popleft())
        while busy := [worker for worker in workers if worker.job]:
            watch([worker.job for worker in busy if worker.job])
            ready = wait([worker.connection for worker in busy], WATCH_SECONDS)
            for worker in busy:
                if worker.connection in ready:
                    job, wrong = worker.take()
                    if waiting:
                        worker.give(waiting.popleft())
                    yield job, wrong
    finally:
        for worker in workers:
            worker.close()


class _Worker:
    """One process, this side of it."""

    def __init__(self, number: int, of: int) -> None:
        self.number, self.of = number, of
        self.job: Job | None = None
        self._start()

    def _start(self) -> None:
        # spawned: a fork would inherit locks, threads and CUDA. Not a daemon: s3prl's readers are its children.
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, self.number, self.of))
        self.process.start()
        theirs.close()  # so that the end of the process is the end of the pipe

    def give(self, job: Job) -> None:
        self.job = job
        self.connection.send(job)

    def take(self) -> tuple[Job, str]:
        """The job, and what was wrong with it; a process that has died is replaced."""
        job, self.job = self.job, None
        assert job is not None
        try:
            return job, self.connection.recv()
        except (EOFError, ConnectionResetError):
            self.process.join()
            self.close()
            self._start()
            code = self.process_end
            return job, f"its process died ({code}); too little memory is a common reason"

    def close(self) -> None:
        """End the process, at once if it is at work, and its children."""
        self.connection.close()
        if self.job is None:
            self.process.join(10)
        code = self.process.exitcode
        self.process_end = signal.Signals(-code).name if code and code < 0 else f"exit status {code}"
        for kill in (lambda: os.killpg(self.process.pid or 0, signal.SIGKILL), self.process.kill):
            try:
                kill()
            except ProcessLookupError:  # it has ended, or does not lead its group yet
                continue
        self.process.join()


def _serve(connection: Connection, number: int, of: int) -> None:
    """A worker: answers each job with what was wrong, until the other end is closed."""
    os.setpgid(0, 0)  # Ctrl-C is for the sweep's own process, which ends this one
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # As in a command of its own: s3prl's readers and matchers inherit the patches, which a spawned child would lack.
    multiprocessing.set_start_method("fork", force=True)
    torch.set_num_threads(max(1, min(torch.get_num_threads(), len(os.sched_getaffinity(0)) // of)))
    if torch.cuda.is_available():
        torch.cuda.set_device(number % torch.cuda.device_count())
    with ExitStack() as session:
        s3prl: Any = None
        while True:
            try:
                job = connection.recv()
            except EOFError:
                return
            with _logged(job.folder / "log.txt"):
                print(f"{job.name}, process {os.getpid()}", flush=True)
                try:
                    if s3prl is None:
                        find_s3prl(os.environ.get("S3PRL_ROOT"))
                        s3prl = session.enter_context(opened())
                    from lighthubert.superb.worker import perform

                    perform(job, s3prl)
                    wrong = ""
                except BaseException as error:  # noqa: BLE001  told by name; the other jobs go on
                    traceback.print_exc()
                    wrong = _told(error)
            connection.send(wrong)


def _told(error: BaseException) -> str:
    """One line about an error of s3prl."""
    if isinstance(error, ModuleNotFoundError) and error.name:
        return missing(error)
    text = " ".join(str(error).split())
    return text if isinstance(error, (LaunchError, CorpusError)) else f"{type(error).__name__}: {text}"


def _end_with_parent() -> None:
    """A sweep that is killed takes its processes and their children along: none writes into the folder any more."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os.killpg(0, signal.SIGKILL)


@contextmanager
def _logged(path: Path) -> Iterator[None]:
    """Append all that this process and its children print to a file."""
    sys.stdout.flush()
    sys.stderr.flush()
    saved = [os.dup(1), os.dup(2)]
    with path.open("ab") as file:
        for number in (1, 2):
            os.dup2(file.fileno(), number)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, before in zip((1, 2), saved, strict=True):
            os.dup2(before, number)
            os.close(before)
