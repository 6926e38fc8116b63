"""lighthubert superb sweep RECIPE.yaml [key=value ...]: many nets on many tasks."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import torch

from lighthubert.config import Recipes, write_yaml
from lighthubert.runtime.command import Work, run_job
from lighthubert.runtime.files import write_text
from lighthubert.runtime.progress import ProgressLine
from lighthubert.superb.package import find_s3prl
from lighthubert.superb.plan import Evaluation, plan, result_of, row_of
from lighthubert.superb.pool import run_jobs
from lighthubert.superb.recipe import Reference, Sweep
from lighthubert.superb.table import write_tables

ABOUT = """\
Train and evaluate SUPERB tasks on many nets, in parallel processes, and compare the nets in a table.

recipes/superb names all ten tasks. Any key can be given behind the recipe, for example
  lighthubert superb sweep recipes/superb/lighthubert_small.yaml checkpoint=supernet.safetensors processes=2
The same command on the same run_dir goes on where it ended: finished jobs stay, half-trained ones resume from s3prl's
checkpoints, failed ones are tried again. run_dir holds results.jsonl, table.md, table.csv, report.png, and
jobs/NET/TASK with all that s3prl wrote (log.txt)."""
OVERALL = re.compile(rb"overall:[^\r\n]*?(\d+/\d+) \[")  # s3prl's bar of a training


def main(argv: Sequence[str]) -> int:
    """The exit code: as of every job, and 1 if a job of the sweep failed."""
    return run_job("superb sweep", ABOUT, Recipes(Sweep), prepare, argv)


def prepare(recipe: Sweep, device: torch.device) -> Work:
    reference = None if recipe.reference is None else Recipes(Reference).read(recipe.reference, [])
    jobs = plan(recipe, find_s3prl(os.environ.get("S3PRL_ROOT")))
    left = [job for job in jobs if result_of(job) is None]
    about = f"{recipe.run_dir}: {len(left)} of {len(jobs)} jobs to do, {recipe.processes} at a time"
    return Work([about, *(f"  {job.name}" for job in left)], lambda: sweep(recipe, jobs, left, about, reference))


def sweep(recipe: Sweep, jobs: list[Evaluation], left: list[Evaluation], about: str,
          reference: Reference | None) -> int:  # fmt: skip
    """Do the jobs that are left, and write the tables of all that are done. Gives the exit code."""
    run_dir = Path(recipe.run_dir)
    write_yaml(run_dir / "config.yaml", recipe)
    problems = {}
    write_rows(run_dir, jobs)
    if left:
        print(about, flush=True)
        problems = _run(recipe, jobs, left)
    if rows := write_rows(run_dir, jobs):
        for path in write_tables(run_dir, jobs, rows, reference):
            print(path)
    if problems:
        print(f"error: {len(problems)} of {len(jobs)} jobs failed; the same command tries them again:", file=sys.stderr)
        for job in jobs:
            if job.name in problems:
                print(f"  {job.name}: {problems[job.name]} (log: {job.folder / 'log.txt'})", file=sys.stderr)
    return 1 if problems else 0


def _run(recipe: Sweep, jobs: list[Evaluation], left: list[Evaluation]) -> dict[str, str]:
    """Do the jobs that are left; what was wrong, by the name of the job."""
    problems = {}
    line = ProgressLine(len(jobs) - len(left), len(jobs), "job")
    try:
        with closing(run_jobs(left, recipe.processes, lambda running: line.update(line.step, status(running)))) as ends:
            for job, problem in ends:
                if problem:
                    problems[job.name] = problem
                print(f"{job.name}: {'FAILED' if problem else summary(job)}", flush=True)
                write_rows(Path(recipe.run_dir), jobs)
                line.update(line.step + 1)
    finally:
        line.close()
    return problems


def summary(job: Evaluation) -> str:
    """The scores of a finished job."""
    result = result_of(job) or {}
    scores = ", ".join(f"{label} {value:.2f}" for label, value in result["metrics"].items())
    return f"{scores or 'predictions'} ({result['seconds']:.0f} s)"


def status(running: list[Evaluation]) -> str:
    """How far each running job is in its training, by the end of its log."""
    parts = []
    for job in running:
        steps = OVERALL.findall((job.folder / "log.txt").read_bytes()[-2000:])
        parts.append(job.name + (f" {steps[-1].decode()}" if steps else ""))
    return ", ".join(parts)


def write_rows(run_dir: Path, jobs: list[Evaluation]) -> list[dict[str, Any]]:
    """results.jsonl, in the order of the jobs; its rows."""
    rows = [row_of(job, result) for job in jobs if (result := result_of(job)) is not None]
    write_text(run_dir / "results.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    return rows
