"""`make faults`: every kind of fault, many times over, in up to 90 minutes on two cores; docs/reliability.md says how
it went. The same command goes on where it was stopped; `--new` begins another campaign, with a seed of its own."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import re
import secrets
import shutil
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
for room in ("", "tests", "tests/checkpoint", "tests/faults", "tests/oracle", "tests/runtime", "tests/train"):
    sys.path.insert(0, str(ROOT / room))
os.environ.update({"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""})

import disks  # noqa: E402
import fuzz  # noqa: E402
import hostile  # noqa: E402
import kills  # noqa: E402
import report  # noqa: E402
import torch  # noqa: E402

Task = tuple[str, Callable[[Path], dict[str, Any]]]  # "kind: which", what does it in an empty folder


def tasks(seed: int, chunks: int, size: int) -> Iterator[Task]:
    """All of a campaign; those that take long come first."""
    for job, ranks, count in kills.SERIES:
        yield f"kill -9: {job}, ranks {ranks}", partial(kills.series, job, ranks, count)
    for how in ("killed", "stopped for 30 s"):
        for job in ("distil", "finetune"):
            yield f"a rank {how}: {job}", partial(kills.hurt_rank, job, how)
    for job in ("distil", "finetune", "search"):
        yield f"two runs in one folder: {job}", partial(kills.two_runs, job)
    for kilobytes in (40, 70_000, 110_000, 150_000):  # a checkpoint has 47,000
        yield f"disk full: a run on {kilobytes} kB", partial(disks.full_run, kilobytes)
    for name in disks.WRITERS:
        yield f"disk full: {name}", partial(disks.full, name)
    for number in range(4):
        for how in disks.HARM:
            yield f"damaged checkpoint: {how} {number}", partial(disks.damaged, how, seed + number)
    for name in hostile.CASES:
        yield f"hostile file: {name}", partial(hostile.hostile, name)
    for number in range(chunks):
        for name in fuzz.READERS:
            yield f"fuzz: {name} {number}", partial(fuzz.chunk, name, number, seed, size)


def run(name: str, work: Callable[[Path], dict[str, Any]], folder: Path) -> dict[str, Any]:
    """A task's row: what it found, and how long it took."""
    room, start = folder / name.translate({ord(c): "_" for c in " :,/."}), time.monotonic()
    shutil.rmtree(room, ignore_errors=True)
    torch.set_num_threads(1)
    try:
        row = work(room)
    except BaseException:  # noqa: BLE001  it stands in the row
        row = {"wrong": [traceback.format_exc()[-2000:]]}
    shutil.rmtree(room, ignore_errors=True)
    return {"task": name, "took": round(time.monotonic() - start, 1), **row}


def _child(name: str, work: Callable[[Path], dict[str, Any]], folder: Path, rows: Path) -> None:
    log = os.open(folder / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    line = json.dumps(run(name, work, folder)) + "\n"
    with rows.open("a") as file:
        file.write(line)


def campaign(folder: Path, args: argparse.Namespace) -> bool:
    """Do what is not done yet; whether all is."""
    rows, start = folder / "rows.jsonl", time.monotonic()
    head = {
        "seed": secrets.randbits(32),
        "commit": commit(),
        "date": f"{datetime.now(timezone.utc):%Y-%m-%d}",
        "torch": torch.__version__,
    }
    if not rows.exists():
        folder.mkdir(parents=True, exist_ok=True)
        rows.write_text(json.dumps(head) + "\n")
    first, *done = map(json.loads, rows.read_text().splitlines())
    print(f"seed {first['seed']}, {len(done)} tasks are done")
    known = {row["task"] for row in done}
    wanted = tasks(first["seed"], args.chunks, args.size)
    left = [task for task in wanted if task[0] not in known and re.search(args.only, task[0])][::-1]
    context, running = multiprocessing.get_context("fork"), list[Any]()
    while (left or running) and time.monotonic() - start < 60 * args.minutes:
        running = [process for process in running if process.is_alive()]
        if left and len(running) < args.workers:
            name, work = left.pop()
            print(f"{(time.monotonic() - start) / 60:5.1f} min  {len(left)} left  {name}", flush=True)
            running.append(context.Process(target=_child, args=(name, work, folder, rows)))
            running[-1].start()
        time.sleep(0.02)
    for process in running:
        process.join()
    return not left


def commit() -> str:
    words = ["git", "-C", str(ROOT), "describe", "--always", "--dirty"]
    return subprocess.run(words, capture_output=True, text=True, check=False).stdout.strip() or "unknown"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=ROOT / "runs/faults", help="of rows and of files that go wrong")
    parser.add_argument("--new", action="store_true", help="forget what is done there")
    parser.add_argument("--minutes", type=float, default=90, help="after so many no task is begun (90)")
    parser.add_argument("--workers", type=int, default=2, help="tasks at a time (2)")
    parser.add_argument("--chunks", type=int, default=13, help="of changed files, for each reader (13)")
    parser.add_argument("--size", type=int, default=500, help="changed files of a chunk (500)")
    parser.add_argument("--only", default="", metavar="REGEX", help="tasks whose names match")
    parser.add_argument("--report", type=Path, default=ROOT / "docs/reliability.md", help="what is written")
    args = parser.parse_args()
    folder = args.folder.absolute()
    if args.new:
        shutil.rmtree(folder, ignore_errors=True)
    os.environ["LIGHTHUBERT_FAULTS"] = str(folder)
    whole = campaign(folder, args)
    wrong = report.write(folder / "rows.jsonl", args.report)
    print(f"{args.report}: {len(wrong)} wrong" + ("" if whole else "; not all is done, the same command goes on"))
    return int(bool(wrong) or not whole)


if __name__ == "__main__":
    sys.exit(main())
