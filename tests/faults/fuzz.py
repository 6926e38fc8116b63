"""Changed files, thousands to a reader: a chunk of them in a process that is watched.

An input is a function of the campaign's seed, the reader, the chunk and its number, so every one can be made again.
"""

from __future__ import annotations

import hashlib
import json
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import mutate
import numpy as np
import torch
from hypothesis import strategies as st
from readers import READERS, Cost, Reader, copy, read_one

HANGS = 60.0  # seconds until a process is ended that reads one file
ADDRESSES = 8 << 30  # bytes that such a process may have


class Done(Exception):
    """So many inputs as were asked for."""


def chunk(name: str, number: int, seed: int, count: int, room: Path) -> dict[str, Any]:
    """Read `count` changed files; whatever ends the process is counted, and the next one goes on behind it."""
    room.mkdir(parents=True, exist_ok=True)
    total: dict[str, Any] = {"inputs": 0, "past": 0, "outcomes": {}, "slowest": 0.0, "memory": 0, "wrong": []}
    while total["inputs"] < count:
        notes = room / "notes.jsonl"
        notes.unlink(missing_ok=True)
        code = watched(lambda: _read_all(name, number, seed, count, total["inputs"], room), room)
        lines = notes.read_text().splitlines() if notes.exists() else []
        for line in lines:
            _add(total, json.loads(line))
        if code != 0:  # it died of the next one
            what = f"hangs for {HANGS:.0f} s" if code == "hangs" else f"the process ended: {code}"
            _add(
                total,
                {
                    "past": True,
                    "outcome": "died",
                    "seconds": 0.0,
                    "memory": 0,
                    "problem": what,
                    "index": total["inputs"],
                    "file": _keep(room, name, number, total["inputs"]),
                },
            )
    shutil.rmtree(room, ignore_errors=True)
    return total


def _add(total: dict[str, Any], note: dict[str, Any]) -> None:
    total["inputs"] += 1
    total["past"] += note["past"]
    total["outcomes"][note["outcome"]] = total["outcomes"].get(note["outcome"], 0) + 1
    total["slowest"], total["memory"] = max(total["slowest"], note["seconds"]), max(total["memory"], note["memory"])
    if note["problem"]:
        total["wrong"].append({key: note[key] for key in ("index", "problem", "file")})


def watched(work: Callable[[], None], room: Path) -> int | str:
    """Do it in a child; its exit code, the name of the signal that ended it, or "hangs"."""
    pulse = room / "pulse"
    pulse.touch()
    pid = os.fork()
    if pid == 0:
        try:
            work()
            os._exit(0)
        except BaseException:  # noqa: BLE001  the parent cannot see it
            traceback.print_exc(file=sys.stdout)
            sys.stdout.flush()
            os._exit(99)
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else signal.Signals(-code).name
        if time.time() - pulse.stat().st_mtime > HANGS:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return "hangs"
        time.sleep(0.01)


def _read_all(name: str, number: int, seed: int, count: int, skip: int, room: Path) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESSES, ADDRESSES))
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    torch.set_num_threads(1)
    os.chdir(room)
    mutate.Canary.path = str(room / "canary")
    reader, notes = READERS[name], (room / "notes.jsonl").open("a")
    seeds = _seeds(reader, room / "seeds")
    for path in {path for path, _ in seeds}:
        reader.read(path)  # whatever is imported and made on first use is not a file's cost
    for index, (path, file, data) in enumerate(inputs(reader, seeds, key(name, number, seed), count)):
        if index < skip:
            continue
        target = room / f"input{path.suffix}"
        copy(path, target)
        (target / file if file else target).write_bytes(data)
        os.utime(room / "pulse")
        cost = read_one(reader, target)
        if (room / "canary").exists():
            (room / "canary").rmdir()
            cost = Cost(cost.outcome, "ran code; " + cost.problem, cost.seconds, cost.memory)
        kept = _keep(room, name, number, index) if cost.problem else ""
        note = {**cost.__dict__, "past": reader.past(data), "index": index, "file": kept}
        notes.write(json.dumps(note) + "\n")
        notes.flush()


def key(name: str, number: int, seed: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed} {name} {number}".encode()).digest()[:8], "little")


def _seeds(reader: Reader, folder: Path) -> list[tuple[Path, str]]:
    """Valid files, and of folders each file that may be changed."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return [(path, file) for path in reader.write(folder) for file in (reader.files or ("",))]


def inputs(reader: Reader, seeds: list[tuple[Path, str]], key: int, count: int) -> Iterator[tuple[Path, str, bytes]]:
    """(valid file or folder, which of its files is changed, that file's bytes); a half of them by hypothesis."""
    contents = {(path, file): (path / file if file else path).read_bytes() for path, file in seeds}
    rng, made = np.random.default_rng(key), []

    @hypothesis.seed(key)
    @hypothesis.settings(
        max_examples=count // 2,
        database=None,
        deadline=None,
        phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(st.data())
    def edit(data: Any) -> None:
        os.utime("pulse")
        where = data.draw(st.sampled_from(seeds))
        content = mutate.structured(data.draw, contents[where], where[1] or where[0].name)
        if content is not None:
            made.append((*where, content))

    edit()
    for number in range(count):
        if number % 2 and made:
            yield made.pop()
        else:
            where = seeds[int(rng.integers(len(seeds)))]
            yield (*where, mutate.flipped(rng, contents[where]))


def _keep(room: Path, name: str, number: int, index: int) -> str:
    """A copy of an input that went wrong; its place."""
    kept = Path(os.environ.get("LIGHTHUBERT_FAULTS", tempfile.gettempdir())) / "wrong"
    kept.mkdir(parents=True, exist_ok=True)
    source = next(room.glob("input*"), None)
    if source is None:
        return "no input was made"
    target = kept / f"{name.replace(' ', '_')}-{number}-{index}{source.suffix}"
    copy(source, target)
    return target.name


if __name__ == "__main__":  # a chunk alone: fuzz.py READER NUMBER SEED COUNT
    arguments = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        found = chunk(arguments[0], *map(int, arguments[1:]), Path(folder) / "room")
    print(json.dumps(found, indent=1))
