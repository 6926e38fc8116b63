"""Disks that are full, and checkpoints that are damaged."""

from __future__ import annotations

import random
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import harness
import kills
import toy
from test_disk_full import WRITERS, full_disk
from toy import write_clips


@contextmanager
def disk(folder: Path, kilobytes: int) -> Iterator[Callable[[int], None]]:
    """A disk of its own in a folder, where this user may have one; gives what changes its size."""
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", folder], check=True, capture_output=True
    )

    def resize(kilobytes: int) -> None:
        subprocess.run(["mount", "-o", f"remount,size={kilobytes}k", folder], check=True)

    try:
        yield resize
    finally:
        subprocess.run(["umount", folder], check=True)


def can_mount(folder: Path) -> bool:
    try:
        with disk(folder, 64):
            return True
    except (OSError, subprocess.CalledProcessError):
        return False


def full(name: str, folder: Path) -> dict[str, Any]:
    """Write a file for which there is no room: it is named, and what was there stays."""
    if can_mount(folder / "disk"):
        with disk(folder / "disk", 8) as resize:
            return {"by": "a full tmpfs", **_fill(name, folder / "disk", lambda: resize(8), lambda: resize(8192))}
    folder.mkdir(exist_ok=True)
    return {"by": "a limit on the size of files", **_fill(name, folder, None, None)}


def _fill(name: str, folder: Path, before: Any, after: Any) -> dict[str, Any]:
    old = '{"search": {}}\n' if name == "scored.jsonl" else "before\n"
    (folder / name).write_text(old)
    wrong, said = [], ""
    try:
        if before:
            WRITERS[name](folder / name)
        else:
            with full_disk():
                WRITERS[name](folder / name)
        wrong.append("written all the same")
    except OSError as error:
        said = str(error)
        wrong += [] if name in said else ["the file is not named"]
    wrong += (
        [] if [path.name for path in folder.iterdir()] == [name] else [f"left: {sorted(map(str, folder.iterdir()))}"]
    )
    text = (folder / name).read_text()
    wrong += [] if text.startswith(old) and text.endswith("\n") else ["what was there is gone"]
    if after:
        after()
    WRITERS[name](folder / name)
    return {"said": said.replace(str(folder), "..."), "wrong": wrong}


def full_run(kilobytes: int, folder: Path) -> dict[str, Any]:
    """A run on a disk that is too small, which grows: the same command then ends with the same bits."""
    words = kills.command("distil", folder)
    kills.finish(words, folder, "whole")
    run = folder / "killed"
    with disk(run, kilobytes) as resize:
        with harness.job([*words, f"run_dir={run}"], folder / "full.txt") as job:
            code, text = job.wait(), job.text()
        last, named = text.strip().splitlines()[-1], str(run)
        wrong = (
            []
            if code == 2 and last.startswith("error: ") and named in last and "Traceback" not in text
            else [text[-500:]]
        )
        wrong += [f"left {path}" for path in run.rglob(".*.part")]
        resize(1 << 20)
        kills.finish(words, folder, "killed")
        return {
            "said": last.replace(str(folder), "..."),
            "wrong": wrong + kills.differing("distil", folder / "whole", run),
        }


HARM: dict[str, Callable[[Path, random.Random], object]] = {
    "a bit flipped": lambda path, rng: _change(path, lambda data: _flip(data, rng)),
    "cut": lambda path, rng: _change(path, lambda data: data[: rng.randrange(len(data))]),
    "emptied": lambda path, rng: path.write_bytes(b""),
    "of an older step": lambda path, rng: shutil.copyfile(_older(path), path),
    "of an older step, with its checksum": lambda path, rng: [
        shutil.copyfile(f"{_older(path)}{end}", f"{path}{end}") for end in ("", ".sha256")
    ],
    "gone": lambda path, rng: path.unlink(),
    "under another name": lambda path, rng: path.rename(path.with_name("step_00000099.pt")),
    "without checksum": lambda path, rng: _sum(path).unlink(),
    "with an empty checksum": lambda path, rng: _sum(path).write_bytes(b""),
    "with a binary checksum": lambda path, rng: _sum(path).write_bytes(rng.randbytes(64)),
    "a bit of its checksum flipped": lambda path, rng: _change(_sum(path), lambda data: _flip(data, rng)),
    "half of it, as after a kill": lambda path, rng: path.rename(path.with_name(f".{path.name}.1-2.part")),
}


def damaged(how: str, seed: int, folder: Path) -> dict[str, Any]:
    """Harm the newest checkpoint of a run, and go on: it ends with the bits of one that was let alone."""
    folder.mkdir(parents=True)
    manifest, whole, run = write_clips(folder), folder / "whole", folder / "run"
    toy.train(whole, manifest, dropout=0.2, keep_last=9, save_every=3)
    shutil.copytree(whole, run)
    HARM[how](run / "checkpoints/step_00000012.pt", random.Random(seed))
    result, _ = toy.train(run, manifest, dropout=0.2, keep_last=9, save_every=3)
    return {"wrong": [] if result.finished else ["did not finish"] + harness.differences(whole, run)}


def _flip(data: bytes, rng: random.Random) -> bytes:
    content = bytearray(data)
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    return bytes(content)


def _change(path: Path, change: Callable[[bytes], bytes]) -> None:
    path.write_bytes(change(path.read_bytes()))


def _older(path: Path) -> Path:
    return path.with_name("step_00000006.pt")


def _sum(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")
