"""Runs that are killed, stopped, or started twice: each ends with the bits of one that was let alone."""

from __future__ import annotations

import os
import random
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import harness
import tiny

from lighthubert import HubertConfig, save

FAT = {"ffn_dim": [12000] * 4, "dropout": 0.1, "attention_dropout": 0.1}  # checkpoints of 16 MB, to be hit in writing
TRAIN = {"steps": 16, "save_every": 3, "eval_every": 8, "log_every": 5}
JOBS = {  # job -> its module, the files that it leaves
    "distil": ("pretrain", ["supernet.safetensors", "subnets/smallest.safetensors"]),
    "units": ("pretrain", ["hubert.safetensors", "units/train.npz", "units/valid.npz", "units/centres.npz"]),
    "finetune": ("finetune", ["model.safetensors"]),
    "prune": ("prune", ["pruned.safetensors", "ordered.safetensors", "arch.yaml"]),
    "search": ("search", ["scored.jsonl", "best.yaml", "front/000.yaml"]),
}
# Series of kills: job, ranks, kills. 50 in all; under two ranks every second of those at a random moment strikes one.
SERIES = [
    ("distil", 1, 8),
    ("distil", 2, 6),
    ("units", 1, 6),
    ("units", 2, 4),
    ("finetune", 1, 6),
    ("finetune", 2, 4),
    ("prune", 1, 6),
    ("prune", 2, 2),
    ("search", 1, 4),
    ("search", 2, 4),
]


def command(job: str, folder: Path, **train: Any) -> list[str]:
    """A run of a second or two; the folder gets all that it reads."""
    world = folder / "world"
    world.mkdir(parents=True)
    tiny.write_world(world)
    values: dict[str, Any] = {"train": {**TRAIN, **train}}
    parent = {**tiny.PARENT, **FAT}
    if job == "distil":
        space = tiny.write_yaml(folder / "fat.yaml", {**tiny.SPACE, "parent": parent})
        values = tiny.recipe_values(
            world,
            space=str(space),
            init="random",
            share="clips",
            eval_archs=0,
            subnets=["largest", "smallest", "random"],
            **values,
        )
    elif job == "units":
        values = tiny.unit_values(world, model=parent, **values)
    elif job == "search":
        values = {
            "supernet": str(world / "supernet.safetensors"),
            "valid_manifest": str(world / "valid.tsv"),
            "seconds": 4,
            "budget": {"macs": 3.2e7},
            "evaluations": 40,
            "population": 10,
            "data": tiny.DATA,
        }
    else:
        tiny.write_labelled_world(world)
        config = {**tiny.TEACHER, "ffn_dim": [6000] * 5, "dropout": 0.1}
        save(tiny.random_hubert(HubertConfig.from_dict(config)), world / "net.safetensors")
        values = tiny.task_values(world, **values)
        if job == "prune":
            teacher = str(world / "net.safetensors")
            values |= {"distill": {"teacher": teacher, "layers": [0, 5]}, "sparsity": {"params": 0.5}}
            del values["task"], values["train"]["schedule"]
    return ["-m", f"lighthubert.{JOBS[job][0]}", str(tiny.write_yaml(folder / "recipe.yaml", values))]


def differing(job: str, a: Path, b: Path) -> list[str]:
    """Files that two runs of a job left otherwise, and what else differs in their last checkpoints."""
    wrong = [name for name in JOBS[job][1] if (a / name).read_bytes() != (b / name).read_bytes()]
    return wrong if job == "search" else wrong + harness.differences(a, b)


def series(job: str, ranks: int, kills: int, folder: Path) -> dict[str, Any]:
    """Kill a run so often; what the runs differ in."""
    words = command(job, folder)
    if job == "search":
        said = killed_search(words, folder, ranks, kills)
    else:
        try:
            said = harness.Series(words, str(folder), kills, ranks).prove()
        except AssertionError as error:
            return {"kills": kills, "said": str(error)[-2000:], "wrong": ["the series failed"]}
    return {"kills": kills, "said": said, "wrong": differing(job, folder / "whole", folder / "killed")}


def killed_search(words: list[str], folder: Path, ranks: int, kills: int) -> str:
    """Kill a search when more and more archs are scored."""
    rng, record = random.SystemRandom(), folder / "killed/scored.jsonl"
    finish(words, folder, "whole", ranks)
    total = (folder / "whole/scored.jsonl").read_text().count("\n")
    limits = sorted(rng.sample(range(2, total - 8), kills))
    for limit in limits:
        with harness.job([*words, f"run_dir={folder / 'killed'}"], folder / "killed.txt", ranks) as job:
            job.kill_when(lambda: record.exists() and record.read_bytes().count(b"\n") > limit, "archs are scored")  # noqa: B023
    finish(words, folder, "killed", ranks)
    return f"killed behind row {', '.join(map(str, limits))} of {total}"


def finish(words: list[str], folder: Path, name: str, ranks: int = 1) -> None:
    harness.finish([*words, f"run_dir={folder / name}"], folder / f"{name}.txt", ranks)


def two_runs(job: str, folder: Path) -> dict[str, Any]:
    """A second command on the folder of a run that goes on: it is refused, and the run ends as ever."""
    words = command(job, folder)
    finish(words, folder, "whole")
    sign = folder / "killed" / ("scored.jsonl" if job == "search" else "evals.jsonl")
    killed = [*words, f"run_dir={folder / 'killed'}"]
    with harness.job(killed, folder / "killed.txt") as first:
        first.wait_until(sign.exists, "it has begun")
        os.kill(first.pid, signal.SIGSTOP)  # or it would be done before the other gives up
        try:
            with harness.job(killed, folder / "second.txt") as second:
                code, text = second.wait(), second.text()
        finally:
            os.kill(first.pid, signal.SIGCONT)
        ended = first.wait()
    refused = code == 2 and "another process trains in this folder" in text
    wrong = [] if refused and ended == 0 else [f"codes {ended} and {code}: {text[-300:]}"]
    return {
        "said": text.strip().splitlines()[-1][:200],
        "wrong": wrong or differing(job, folder / "whole", folder / "killed"),
    }


def hurt_rank(job: str, how: str, folder: Path, pause: float = 30.0) -> dict[str, Any]:
    """One of two ranks is killed (the same command then goes on), or stopped for a while (the run goes on itself)."""
    words = command(job, folder, steps=40)
    finish(words, folder, "whole", 2)
    sign, said = folder / "killed/evals.jsonl", ""
    with harness.job([*words, f"run_dir={folder / 'killed'}"], folder / "killed.txt", 2) as running:
        running.wait_until(sign.exists, "training starts")
        time.sleep(random.SystemRandom().uniform(0, 0.5))
        if how == "killed":
            start = time.monotonic()
            running.kill_a_rank(random.Random(os.urandom(8)))
            said = f"the other rank ended {time.monotonic() - start:.0f} s later"
        else:
            pid = random.SystemRandom().choice(harness.ranks_of(running.pid))
            os.kill(pid, signal.SIGSTOP)
            time.sleep(pause)
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
            said = f"stopped for {pause:.0f} s; code {running.wait()}"
            if not said.endswith("code 0"):
                return {"said": said, "wrong": [running.text()[-300:]]}
    if how == "killed":
        finish(words, folder, "killed", 2)
    return {"said": said, "wrong": differing(job, folder / "whole", folder / "killed")}
