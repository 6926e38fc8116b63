"""The jobs of a sweep, each in a process of its own. One that dies loses its own job only."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from subprocess import PIPE, Popen

from lighthubert.superb.plan import Evaluation, result_of

POLL_SECONDS = 0.5


def run_jobs(
    jobs: Sequence[Evaluation], processes: int, watch: Callable[[list[Evaluation]], None]
) -> Generator[tuple[Evaluation, str]]:
    """Do all jobs, `processes` at a time; gives each when it has ended, and what was wrong with it, or "".

    watch is told the running jobs all the time.
    """
    waiting = deque(jobs)
    running: dict[int, tuple[Evaluation, Popen[bytes]]] = {}
    slots = min(processes, len(jobs))
    try:
        while waiting or running:
            for slot in range(slots):
                if slot not in running and waiting:
                    job = waiting.popleft()
                    running[slot] = job, _start(job, slot, slots)
            watch([job for job, _ in running.values()])
            time.sleep(POLL_SECONDS)
            for slot, (job, process) in list(running.items()):
                if process.poll() is not None:
                    del running[slot]
                    _end(process)
                    yield job, _problem(job, process.returncode)
    finally:
        for _, process in running.values():
            _end(process)


def _start(job: Evaluation, slot: int, slots: int) -> Popen[bytes]:
    """A worker. It leads its own group, so Ctrl-C reaches the sweep alone, and ends when its stdin does."""
    job.write()
    (job.folder / "error.txt").unlink(missing_ok=True)
    command = [sys.executable, "-u", "-m", "lighthubert.superb.worker", str(job.folder), str(slot), str(slots)]
    environment = {"TQDM_MININTERVAL": "5", **os.environ}  # s3prl's bars go to files
    with (job.folder / "log.txt").open("ab") as log:
        return Popen(command, stdin=PIPE, stdout=log, stderr=log, env=environment, start_new_session=True)


def _end(process: Popen[bytes]) -> None:
    """End a process, at once if it is at work, and its children."""
    with suppress(ProcessLookupError):  # all have ended
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def _problem(job: Evaluation, code: int) -> str:
    if result_of(job) is not None:
        return ""
    path = job.folder / "error.txt"
    if path.is_file():
        return path.read_text(encoding="utf-8")
    end = signal.Signals(-code).name if code < 0 else f"exit status {code}"
    return f"its process died ({end}); too little memory is a common reason"
