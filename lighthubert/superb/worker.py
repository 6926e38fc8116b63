"""One job of a sweep, in a process of its own: train, then evaluate, by s3prl's own runner.

The sweep calls `python -m lighthubert.superb.worker JOB_FOLDER SLOT SLOTS`: this is the job of one of its SLOTS, among
which the machine's threads and GPUs are dealt out. What was wrong is left as a line in error.txt.
"""

from __future__ import annotations

import importlib
import json
import os
import pickle
import shutil
import signal
import sys
import threading
import time
from collections.abc import Sequence
from importlib.metadata import distributions
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from lighthubert.runtime.files import locked, write_text
from lighthubert.superb.benchmark import BENCHMARK
from lighthubert.superb.corpora import CorpusError
from lighthubert.superb.package import LaunchError, call, find_s3prl, opened, options
from lighthubert.superb.plan import Evaluation, read_job


def main(folder: Path, slot: int, slots: int) -> None:
    """Do the job of a folder, as a sweep's process. All that is printed goes to its log, a traceback too."""
    threading.Thread(target=_end_with_sweep, args=[_take_stdin()], daemon=True).start()
    try:
        job = read_job(folder)
        print(f"{job.name}, process {os.getpid()}")
        torch.set_num_threads(max(1, min(torch.get_num_threads(), len(os.sched_getaffinity(0)) // slots)))
        if torch.cuda.is_available():
            torch.cuda.set_device(slot % torch.cuda.device_count())
        find_s3prl(os.environ.get("S3PRL_ROOT"))
        with opened() as s3prl:
            perform(job, s3prl)
    except BaseException as error:
        write_text(folder / "error.txt", _as_line(error))
        raise


def _take_stdin() -> int:
    """stdin under another number. What s3prl starts finds an empty one in its place."""
    taken, empty = os.dup(0), os.open(os.devnull, os.O_RDONLY)
    os.dup2(empty, 0)
    os.close(empty)
    return taken


def _end_with_sweep(stdin: int) -> None:
    """A sweep that is killed takes its processes and their children along: none writes into the folder any more."""
    os.read(stdin, 1)  # nothing comes, but at last the end of the file
    os.killpg(0, signal.SIGKILL)


def _as_line(error: BaseException) -> str:
    """One line about an error of s3prl."""
    text = " ".join(str(error).split())
    return text if isinstance(error, (LaunchError, CorpusError)) else f"{type(error).__name__}: {text}"


def perform(job: Evaluation, s3prl: ModuleType) -> None:
    """Train and evaluate what is not done yet, and write result.json. s3prl: what `opened` gives; it is changed for
    this job."""
    started, step = time.monotonic(), 0
    if job.task in ("SID", "ASV"):
        _share_lists(job, s3prl)
    checkpoints: list[Path] = []
    if job.task != "QbE":
        if not (job.folder / "trained").exists():
            step = _train(job, s3prl)
            (job.folder / "trained").touch()
        # What the benchmark evaluates; the last checkpoint where s3prl has found none to be the best.
        exp = job.folder / "exp"
        checkpoints = sorted(exp.glob(BENCHMARK[job.task].checkpoint)) or _states(exp)[-1:]
    metrics, best = _evaluate(job, s3prl, checkpoints)
    result = {
        "metrics": metrics,
        "evaluated": best.name if checkpoints else None,
        "predictions": f"eval/{best.stem}",
        "seconds": round(time.monotonic() - started, 1),
        "resumed_from_step": step,
        "versions": {name: str(sys.modules[name].__version__) for name in ("s3prl", "torch", "torchaudio")}
        | {"lighthubert": next((ours.version for ours in distributions(name="lighthubert")), "not installed")},
    }
    write_text(job.folder / "result.json", json.dumps(result) + "\n")


def _train(job: Evaluation, s3prl: ModuleType) -> int:
    """Train from s3prl's newest checkpoint that can be read, or from the start; gives the step it started from."""
    folder = job.folder / "exp"
    for path in folder.glob("*.ckpt"):
        _delete_if_damaged(path)
    checkpoints = _states(folder)
    if not checkpoints:
        shutil.rmtree(folder, ignore_errors=True)
        call(s3prl, ["-m", "train", "-p", str(folder), *_first_arguments(job)])
        return 0
    call(s3prl, ["-m", "train", "-e", str(checkpoints[-1]), *_later_arguments(job, folder)])
    return _step(checkpoints[-1])


def _delete_if_damaged(path: Path) -> None:
    """s3prl writes in place, so a killed run may leave half a file."""
    try:
        torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, OSError, ValueError, pickle.UnpicklingError) as error:
        print(f"{path}: cannot be read, deleted: {error}")
        path.unlink()


def _states(folder: Path) -> list[Path]:
    return sorted(folder.glob("states-*.ckpt"), key=_step)


def _step(path: Path) -> int:
    return int(path.stem.removeprefix("states-"))


def _evaluate(job: Evaluation, s3prl: ModuleType, checkpoints: Sequence[Path]) -> tuple[dict[str, float], Path]:
    """The metrics of the best checkpoint, and its name. Without checkpoints the net itself is evaluated."""
    results = []
    scalars = _recorded(job.split)
    for checkpoint in checkpoints or [Path("net")]:
        folder = job.folder / "eval" / checkpoint.stem
        shutil.rmtree(folder, ignore_errors=True)
        words = ["-m", "evaluate", "-t", job.split]
        if checkpoints:
            words += ["-e", str(checkpoint), *_later_arguments(job, folder)]
        else:
            words += ["-p", str(folder), *_first_arguments(job)]
        scalars.clear()
        call(s3prl, words)
        results.append(({m.label: m.scale * scalars[m.name] for m in BENCHMARK[job.task].metrics}, checkpoint))
    if len(results) == 1:
        return results[0]
    first = BENCHMARK[job.task].metrics[0]
    return sorted(results, key=lambda result: result[0][first.label], reverse=first.higher_is_better)[0]


def _first_arguments(job: Evaluation) -> list[str]:
    return options({"-u": job.candidate.upstream, "-k": job.candidate.checkpoint, "-g": job.arch_file,
                    "-d": BENCHMARK[job.task].downstream, "-c": job.folder / "settings.yaml", "-l": job.layer,
                    "--seed": job.seed, "--device": job.device})  # fmt: skip


def _later_arguments(job: Evaluation, folder: Path) -> list[str]:
    """A task's checkpoint holds the arguments that it was started with; files may have moved since."""
    files = {"expdir": folder, "upstream_ckpt": job.candidate.checkpoint, "upstream_model_config": job.arch_file}
    override = ",,".join(f"args.{key}={None if value is None else str(value)!r}" for key, value in files.items())
    return ["-o", override, "--device", job.device]


def _recorded(split: str) -> dict[str, float]:
    """What s3prl logs from now on: {"acc": 0.5} of the scalar "speech_commands/test-acc"."""
    runner: Any = importlib.import_module("s3prl.downstream.runner")
    scalars: dict[str, float] = {}

    class Recorder(runner.SummaryWriter):
        def add_scalar(self, tag: str, value: Any, *args: Any, **kwargs: Any) -> None:
            scalars[tag.partition("/")[2].removeprefix(f"{split}-")] = float(value)
            super().add_scalar(tag, value, *args, **kwargs)

    runner.SummaryWriter = Recorder
    return scalars


def _share_lists(job: Evaluation, s3prl: Any) -> None:
    """SID and ASV keep lists of the corpus inside s3prl's package, for whatever corpus is next: here they belong to
    the sweep. The first job makes them, the others wait for it."""
    dataset = importlib.import_module(f"s3prl.downstream.{BENCHMARK[job.task].downstream}.dataset")
    key = "CACHE_PATH" if job.task == "SID" else "__file__"  # the latter keeps them beside its own file
    runner = s3prl.Runner

    def runner_with_lists(*args: Any) -> Any:
        home = Path(job.run_dir, "lists", job.task)
        with locked(home, seconds=-1):
            lists, new = home / "all", home / "new"  # a killed process leaves no half of them
            folder = lists if lists.is_dir() else new
            shutil.rmtree(new, ignore_errors=True)
            folder.mkdir(exist_ok=True)
            setattr(dataset, key, str(folder / "file"))
            built = runner(*args)
            folder.rename(lists)
        return built

    s3prl.Runner = runner_with_lists


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
