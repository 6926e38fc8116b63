"""One job of a sweep, inside a process that has opened s3prl: train, then evaluate, by s3prl's own runner."""

from __future__ import annotations

import builtins
import importlib
import json
import pickle
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from lighthubert.runtime.files import write_text
from lighthubert.superb.corpora import watched
from lighthubert.superb.plan import Job


def perform(job: Job, s3prl: ModuleType) -> None:
    """Train and evaluate what is not done yet, and write result.json. s3prl: what `opened` gives."""
    started, step = time.monotonic(), 0
    with _shared_lists(job, s3prl):
        if job.task == "QbE":
            checkpoints: list[Path] = []
        else:
            if not (job.folder / "trained").exists():
                step = _train(job, s3prl)
                (job.folder / "trained").touch()
            checkpoints = _chosen(job)
        metrics, best = _evaluate(job, s3prl, checkpoints)
    result = {
        "metrics": metrics,
        "evaluated": best.name if checkpoints else None,
        "predictions": f"eval/{best.stem}",
        "seconds": round(time.monotonic() - started, 1),
        "resumed_from_step": step,
        "versions": _versions(s3prl),
    }
    write_text(job.folder / "result.json", json.dumps(result) + "\n")


def _train(job: Job, s3prl: ModuleType) -> int:
    """Train from s3prl's newest checkpoint that can be read, or from the start; gives the step it started from."""
    folder = job.folder / "exp"
    for path in folder.glob("*.ckpt"):
        _delete_if_damaged(path)
    checkpoints = _states(folder)
    if not checkpoints:
        shutil.rmtree(folder, ignore_errors=True)
        _call(s3prl, ["-m", "train", "-p", str(folder), *_first_arguments(job)])
        return 0
    _call(s3prl, ["-m", "train", "-e", str(checkpoints[-1]), *_later_arguments(job, folder)])
    return _step(checkpoints[-1])


def _delete_if_damaged(path: Path) -> None:
    """s3prl writes in place, so a killed run may leave half a file."""
    try:
        torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, OSError, ValueError, pickle.UnpicklingError) as error:
        print(f"{path}: cannot be read, deleted: {error}", flush=True)
        path.unlink()


def _states(folder: Path) -> list[Path]:
    return sorted(folder.glob("states-*.ckpt"), key=_step)


def _step(path: Path) -> int:
    return int(path.stem.removeprefix("states-"))


def _chosen(job: Job) -> list[Path]:
    """What the benchmark evaluates; the last checkpoint where s3prl has found none to be the best."""
    return sorted((job.folder / "exp").glob(job.benchmark.checkpoint)) or _states(job.folder / "exp")[-1:]


def _evaluate(job: Job, s3prl: ModuleType, checkpoints: Sequence[Path]) -> tuple[dict[str, float], Path]:
    """The metrics of the best checkpoint, and its name. Without checkpoints the net itself is evaluated."""
    found = []
    for checkpoint in checkpoints or [Path("net")]:
        folder = job.folder / "eval" / checkpoint.stem
        shutil.rmtree(folder, ignore_errors=True)
        words = ["-m", "evaluate", "-t", job.split]
        if checkpoints:
            words += ["-e", str(checkpoint), *_later_arguments(job, folder)]
        else:
            words += ["-p", str(folder), *_first_arguments(job)]
        with _recorded(job.split) as scalars:
            _call(s3prl, words)
        metrics = {m.label: m.scale * scalars[m.name] for m in job.benchmark.metrics}
        found.append((metrics, checkpoint))
    if len(found) == 1:
        return found[0]
    first = job.benchmark.metrics[0]
    return sorted(found, key=lambda one: one[0][first.label], reverse=first.higher_is_better)[0]


def _first_arguments(job: Job) -> list[str]:
    net = job.candidate
    values = {
        "-u": net.upstream,
        "-k": net.checkpoint,
        "-g": net.arch,
        "-d": job.benchmark.downstream,
        "-c": job.folder / "settings.yaml",
        "-l": job.layer,
        "--seed": job.seed,
        "--device": job.device,
    }
    return [word for name, value in values.items() if value is not None for word in (name, str(value))]


def _later_arguments(job: Job, folder: Path) -> list[str]:
    """A task's checkpoint holds the arguments that it was started with; files may have moved since."""
    files = {"expdir": str(folder), "upstream_ckpt": job.candidate.checkpoint,
             "upstream_model_config": job.candidate.arch}  # fmt: skip
    return ["-o", ",,".join(f"args.{key}={value!r}" for key, value in files.items()), "--device", job.device]


def _call(s3prl: ModuleType, arguments: list[str]) -> None:
    """Run s3prl's command in this process and undo what it leaves behind."""
    argv, isinstance_ = sys.argv, builtins.isinstance  # it wraps the latter once more each time
    sys.argv = ["run_downstream", *arguments]
    try:
        with watched(s3prl):
            s3prl.main()
    finally:
        sys.argv, builtins.isinstance = argv, isinstance_


@contextmanager
def _recorded(split: str) -> Iterator[dict[str, float]]:
    """What s3prl logs while the context lasts: {"acc": 0.5} of the scalar "speech_commands/test-acc"."""
    runner: Any = importlib.import_module("s3prl.downstream.runner")
    before, scalars = runner.SummaryWriter, dict[str, float]()

    class Recorder(before):  # type: ignore[misc, valid-type]
        def add_scalar(self, tag: str, value: Any, *args: Any, **kwargs: Any) -> None:
            scalars[tag.partition("/")[2].removeprefix(f"{split}-")] = float(value)
            super().add_scalar(tag, value, *args, **kwargs)

    runner.SummaryWriter = Recorder
    try:
        yield scalars
    finally:
        runner.SummaryWriter = before


@contextmanager
def _shared_lists(job: Job, s3prl: Any) -> Iterator[None]:
    """SID and ASV keep lists of the corpus inside s3prl's package, for whatever corpus is next: here they belong to
    the sweep. The first job makes them, the others wait for it."""
    if job.task not in ("SID", "ASV"):
        yield
        return
    from filelock import FileLock

    dataset = importlib.import_module(f"s3prl.downstream.{job.benchmark.downstream}.dataset")
    key = "CACHE_PATH" if job.task == "SID" else "__file__"  # the latter keeps them beside its own file
    before, runner = getattr(dataset, key), s3prl.Runner

    class Runner(runner):  # type: ignore[misc, valid-type]
        def __init__(self, *args: Any) -> None:
            job.lists.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(job.lists.with_suffix(".lock")):
                new = job.lists.with_suffix(".new")  # a killed process leaves no half of them
                folder = job.lists if job.lists.is_dir() else new
                shutil.rmtree(new, ignore_errors=True)
                folder.mkdir(exist_ok=True)
                setattr(dataset, key, str(folder / "file"))
                super().__init__(*args)
                folder.rename(job.lists)

    s3prl.Runner = Runner
    try:
        yield
    finally:
        s3prl.Runner = runner
        setattr(dataset, key, before)


def _versions(s3prl: ModuleType) -> dict[str, str]:
    """A checkout of s3prl says its version in a file, and none of ours needs to be installed."""
    file = Path(str(s3prl.__file__)).with_name("version.txt")
    versions = {"s3prl": file.read_text().strip() if file.is_file() else "unknown"}
    for name in ("lighthubert", "torch", "torchaudio"):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "not installed"
    return versions
