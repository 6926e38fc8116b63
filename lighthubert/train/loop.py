"""One visible loop for pretraining, pruning and fine-tuning: what is learnt is the objective's, how is here.

A run is a function of its recipe, its seed and the number of ranks. Batches come from a plan that knows its place,
schedules are functions of the step, and torch's generator (for dropout alone) starts anew in every step, so that a
checkpoint needs no generator state and a run killed at any moment ends with the same bits as one that was not. (On
CPUs; GPU kernels that add in no fixed order, as some backward passes of attention, differ in the last bits anyway.)
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lighthubert.data import Reader
from lighthubert.runtime import ranks
from lighthubert.runtime.files import locked
from lighthubert.runtime.stop import StopRequest
from lighthubert.train import optim
from lighthubert.train.config import TrainConfig
from lighthubert.train.job import Job
from lighthubert.train.log import Log, StepRecord
from lighthubert.train.objective import Objective
from lighthubert.train.schedule import learning_rate


@dataclass(frozen=True)
class Result:
    """How a call of `run_training` ended."""

    step: int
    finished: bool
    evals: list[dict[str, Any]]  # the content of evals.jsonl


def run_training(objective: Objective, reader: Reader, config: TrainConfig, *, run_dir: str | Path, seed: int,
                 recipe: Mapping[str, Any] | None = None) -> Result:  # fmt: skip
    """Train for config.steps steps; the same call on the same run_dir goes on where the last checkpoint is.

    recipe: what else must stay the same for that, nested values under their keys. SIGTERM, SIGHUP and Ctrl-C finish it,
    save and return (`finished` is then False, and the process is free to end with code 0: nothing is lost, and the
    next call goes on); a second Ctrl-C raises KeyboardInterrupt at once. torchrun passes signals on, waits 30 s, and
    ends with a traceback of its own. All ranks call this with the same arguments but for the reader's rank, and share
    the file system of run_dir.
    Raises StateError if the folder is in use, damaged or of another recipe, TrainingError after too many bad steps.
    """
    run_dir = Path(run_dir)
    with locked(run_dir), StopRequest() as stop:
        job = Job(objective, reader, config, run_dir, seed, recipe or {})
        job.resume()
        start = job.progress.step
        if start < config.steps:
            with Log(run_dir, start, config.steps, objective.describe()) as log:
                _train(job, log, stop)
        ranks.barrier()  # rank 0 has written the last checkpoint
    step = job.progress.step
    finished = step >= config.steps
    if ranks.rank() == 0:
        if finished:
            bad = f"; {job.progress.bad_steps} of them were skipped" if job.progress.bad_steps else ""
            print(f"{run_dir}: finished, {'all' if step > start else 'nothing to do: all'} {step} steps are done{bad}")
        else:
            by = stop.signal or "a signal to another rank"
            print(f"{run_dir}: stopped by {by} after step {step} of {config.steps}; the same command resumes")
    return Result(step, finished, job.progress.evals)


def _train(job: Job, log: Log, stop: StopRequest) -> None:
    progress, config = job.progress, job.config
    if progress.step == 0:
        job.evaluate(log)
    stopping = False
    while progress.step < config.steps and not stopping:
        started = time.monotonic()
        job.seed_dropout()
        batches = [next(job.reader) for _ in range(config.accumulate)]
        waited = time.monotonic() - started
        totals, audio, padded = job.count(batches)
        loss, sums = job.backward(batches, totals)
        loss = optim.sum_gradients(job.parameters, loss)
        rate = learning_rate(config, progress.step)
        norm, problem = optim.update(job.optimizer, job.scaler, config, loss, rate)
        job.advance(audio, problem)
        seconds = time.monotonic() - started
        log.add(StepRecord(progress.step, {} if problem else sums, rate, norm, audio, padded, seconds, waited))
        if job.due(config.log_every):
            log.write(list(job.reader.skipped), progress.bad_steps)
        if job.due(config.eval_every):
            job.evaluate(log)
        stopping = ranks.any_rank(bool(stop.signal))
        if stopping or job.due(config.save_every) or job.improved():
            job.save(log)
