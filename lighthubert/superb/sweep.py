"""python -m lighthubert.superb sweep RECIPE.yaml [key=value ...]: many nets on many tasks."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from lighthubert.config import Recipes, write_yaml
from lighthubert.runtime.files import locked, write_text
from lighthubert.runtime.progress import ProgressLine
from lighthubert.superb.package import find_s3prl
from lighthubert.superb.plan import Job, plan, result_of, row_of
from lighthubert.superb.recipe import Reference, Sweep
from lighthubert.superb.table import write_tables

ABOUT = """\
Train and evaluate SUPERB tasks on many nets, in parallel processes, and compare the nets in a table.

recipes/superb names all ten tasks; what a recipe may say stands in lighthubert/superb/recipe.py. Any key can be given
behind it, for example
  python -m lighthubert.superb sweep recipes/superb/lighthubert_small.yaml checkpoint=supernet.safetensors processes=2
The same command on the same run_dir goes on where it ended: finished jobs stay, half-trained ones resume from s3prl's
checkpoints, failed ones are tried again. run_dir holds results.jsonl, table.md, table.csv, report.png, and
jobs/NET/TASK with all that s3prl wrote (log.txt)."""
OVERALL = re.compile(rb"overall:[^\r\n]*?(\d+)/(\d+) \[")  # s3prl's bar of a training


def main(argv: Sequence[str]) -> int:
    """Exit status 2 and one line on stderr for what cannot be started, 1 if a job failed, 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(
        prog="python -m lighthubert.superb sweep",
        description=ABOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("recipe", metavar="RECIPE.yaml")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="replaces a value of the recipe")
    args = parser.parse_args(argv)
    try:
        recipe = Recipes(Sweep).read(args.recipe, args.overrides)
        reference = None if recipe.reference is None else Recipes(Reference).read(recipe.reference, [])
        package = find_s3prl(os.environ.get("S3PRL_ROOT"))
        with locked(Path(recipe.run_dir)):
            return sweep(recipe, plan(recipe, package), reference)
    except (ValueError, OSError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; the same command goes on", file=sys.stderr)
        return 130


def sweep(recipe: Sweep, jobs: list[Job], reference: Reference | None) -> int:
    """Do all jobs that are not done, and write the tables of all that are."""
    run_dir = Path(recipe.run_dir)
    write_yaml(run_dir / "config.yaml", recipe)
    left = [job for job in jobs if result_of(job) is None]
    wrong = {}
    write_rows(run_dir, jobs)
    if left:
        print(f"{run_dir}: {len(left)} of {len(jobs)} jobs to do, {recipe.processes} at a time", flush=True)
        wrong = _run(recipe, jobs, left)
    rows = write_rows(run_dir, jobs)
    if rows:
        for path in write_tables(run_dir, jobs, rows, reference):
            print(path)
    if wrong:
        print(f"error: {len(wrong)} of {len(jobs)} jobs failed; the same command tries them again:", file=sys.stderr)
        for job in jobs:
            if job.name in wrong:
                print(f"  {job.name}: {wrong[job.name]} (log: {job.folder / 'log.txt'})", file=sys.stderr)
    return 1 if wrong else 0


def _run(recipe: Sweep, jobs: list[Job], left: list[Job]) -> dict[str, str]:
    """Do the jobs that are left; what was wrong, by the name of the job."""
    from lighthubert.superb.pool import run_jobs  # needs s3prl's packages

    wrong = {}
    done = len(jobs) - len(left)
    line = ProgressLine(done, len(jobs), "job")
    try:
        with closing(run_jobs(left, recipe.processes, lambda running: line.update(line.step, status(running)))) as ends:
            for job, error in ends:
                if error:
                    wrong[job.name] = error
                result = result_of(job)
                if result is not None:
                    scores = ", ".join(f"{label} {value:.2f}" for label, value in result["metrics"].items())
                    print(f"{job.name}: {scores or 'predictions'} ({result['seconds']:.0f} s)", flush=True)
                else:
                    print(f"{job.name}: FAILED", flush=True)
                done += 1
                write_rows(Path(recipe.run_dir), jobs)
                line.update(done)
    finally:
        line.close()
    return wrong


def status(running: list[Job]) -> str:
    """How far each running job is in its training, by the end of its log."""
    parts = []
    for job in running:
        path = job.folder / "log.txt"
        tail = path.read_bytes()[-2000:] if path.is_file() else b""
        steps = OVERALL.findall(tail)
        parts.append(job.name + (f" {steps[-1][0].decode()}/{steps[-1][1].decode()}" if steps else ""))
    return ", ".join(parts)


def write_rows(run_dir: Path, jobs: list[Job]) -> list[dict[str, Any]]:
    """results.jsonl, in the order of the jobs; its rows."""
    found = [(job, result_of(job)) for job in jobs]
    rows = [row_of(job, result, run_dir) for job, result in found if result is not None]
    write_text(run_dir / "results.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    return rows
