"""A sweep's recipe as jobs: nets that load, settings that are whole, files that are there, before anything runs."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from lighthubert import cost
from lighthubert.checkpoint import Loaded, digest, read
from lighthubert.config import read_yaml, write_yaml
from lighthubert.runtime.files import write_text
from lighthubert.runtime.fingerprint import fingerprint, require_same
from lighthubert.superb.benchmark import BENCHMARK, FOLDS, Benchmark
from lighthubert.superb.package import CHECKOUT, LaunchError
from lighthubert.superb.recipe import Sweep, TaskConfig
from lighthubert.superb.upstream import chosen

OPEN_SECTIONS = ("optimizer", "scheduler", "specaug")  # s3prl hands their keys on to whatever they name


@dataclass(frozen=True)
class Candidate:
    """A net as a worker loads it. arch: a file, for a subnet; params, macs: of all that is evaluated, as the SUPERB
    challenge counts them; None for s3prl's own upstreams."""

    upstream: str
    checkpoint: str | None
    arch: str | None
    weights: str | None
    params: int | None
    macs: int | None


@dataclass(frozen=True)
class Job:
    """One task, or one fold of it, on one net. folder: all that it writes. lists: what s3prl keeps between jobs."""

    net: str
    task: str
    fold: str | None
    candidate: Candidate
    settings: dict[str, Any]
    split: str
    layer: int | None
    seed: int
    device: str
    folder: Path
    lists: Path

    @property
    def name(self) -> str:
        return f"{self.task}{f' {self.fold}' if self.fold else ''} of {self.net}"

    @property
    def benchmark(self) -> Benchmark:
        return BENCHMARK[self.task]

    def identity(self) -> dict[str, str]:
        """What its result depends on; the file's name is not among it."""
        net = self.candidate
        what = {"upstream": net.upstream, "weights": net.weights or net.checkpoint}
        return fingerprint({"net": what, "set": self.settings, "split": self.split, "layer": self.layer,
                            "seed": self.seed})  # fmt: skip


def plan(recipe: Sweep, package: Path) -> list[Job]:
    """All jobs, nets in the order of the recipe within each task. Raises ValueError that lists everything wrong.

    package: s3prl's folder. Writes run_dir/nets (archs as files) and, for new jobs, what they are of.
    """
    problems: list[str] = []
    run_dir = Path(recipe.run_dir).resolve()
    candidates = _candidates(recipe, run_dir, problems)
    settings = {name: _settings(name, task, package, problems) for name, task in recipe.tasks.items()}
    if problems:
        raise LaunchError("; ".join(problems))
    device = recipe.device or ("cuda" if torch.cuda.is_available() else "cpu")
    jobs = []
    for name, task in recipe.tasks.items():
        for net, candidate in candidates.items():
            for fold in (task.folds or FOLDS) if name == "ER" else [None]:
                values = settings[name] if fold is None else _of_fold(settings[name], fold)
                folder = run_dir.joinpath("jobs", net, name, *([fold] if fold else []))
                split = task.split or BENCHMARK[name].split
                jobs.append(Job(net, name, fold, candidate, values, split, task.layer, recipe.seed, device, folder,
                                run_dir / "lists" / name))  # fmt: skip
    for job in jobs:
        _claim(job)
    return jobs


def _claim(job: Job) -> None:
    """Write down what a new job's folder is of; StateError if it is of something else."""
    path = job.folder / "job.json"
    if path.is_file():
        require_same(job.folder, json.loads(path.read_text(encoding="utf-8")), job.identity())
        return
    job.folder.mkdir(parents=True, exist_ok=True)
    write_yaml(job.folder / "settings.yaml", job.settings)
    write_text(path, json.dumps(job.identity(), indent=1) + "\n")


def _candidates(recipe: Sweep, run_dir: Path, problems: list[str]) -> dict[str, Candidate]:
    """The recipe's nets. Those of one file follow each other, so that it is read once."""
    candidates: dict[str, Candidate] = {}
    files = {name: net.checkpoint or recipe.checkpoint or "" for name, net in recipe.nets.items()}
    loaded: Loaded | None = None
    for name in sorted(files, key=lambda name: files[name]):
        net = recipe.nets[name]
        try:
            if net.upstream != "lighthubert":
                file = None if net.checkpoint is None else str(Path(net.checkpoint).resolve())
                candidates[name] = Candidate(net.upstream, file, None, None, None, None)
                continue
            if loaded is None or loaded.path != files[name]:
                loaded = read(files[name])
            candidates[name] = _candidate(name, net.arch, loaded, run_dir)
        except (ValueError, OSError) as error:
            problems.append(f"nets.{name}: {error}")
    return {name: candidates[name] for name in recipe.nets if name in candidates}


def _candidate(name: str, arch: str | dict[str, Any] | None, loaded: Loaded, run_dir: Path) -> Candidate:
    net, path = chosen(loaded, arch), None
    if arch is not None:
        assert net.config.arch is not None  # a subnet knows where it is from
        path = run_dir / "nets" / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_yaml(path, net.config.arch.to_dict())
    params, macs = cost.num_params(net.config), cost.superb_macs(net.config)
    file = str(Path(loaded.path).resolve()) if Path(loaded.path).exists() else loaded.path
    return Candidate("lighthubert", file, str(path) if path else None, digest(net), params, macs)


def _settings(name: str, task: TaskConfig, package: Path, problems: list[str]) -> dict[str, Any]:
    """s3prl's settings of a task with the recipe's values in them."""
    benchmark = BENCHMARK[name]
    folder = package / "downstream" / benchmark.downstream
    path = Path(task.config) if task.config else folder / benchmark.settings
    if not path.is_file():
        problems.append(f"tasks.{name}.config: {path}: no such file; name the settings of the task, or {CHECKOUT}")
        return {}
    if benchmark.downstream == "ctc" and not (folder / "corpus").is_dir():
        problems.append(f"tasks.{name}: {folder / 'corpus'}: the published package of s3prl lacks it; {CHECKOUT}")
    values = _anchored(read_yaml(path), package)
    here = f"tasks.{name}.set"
    problems += [f"{here}.{key}: is not in {path}" for key in _unknown(values, task.set)]
    values = _merged(values, task.set)
    for key in benchmark.corpus:
        value = values.get("downstream_expert")
        for part in key.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        if not isinstance(value, str) or not Path(value).exists():
            problems.append(f"{here}.downstream_expert.{key}: {value}: no such file or folder")
    return values


def _of_fold(settings: dict[str, Any], fold: str) -> dict[str, Any]:
    return _merged(settings, {"downstream_expert": {"datarc": {"test_fold": fold}}})


def _merged(base: Any, new: Any) -> Any:
    if not isinstance(base, dict) or not isinstance(new, dict):
        return new
    return base | {key: _merged(base.get(key), value) for key, value in new.items()}


def _unknown(base: dict[str, Any], new: dict[str, Any], path: str = "") -> list[str]:
    """Dotted keys of `new` that `base` has not, outside of the open sections."""
    keys = []
    for key, value in new.items():
        if not path and key in OPEN_SECTIONS:
            continue
        if key not in base:
            keys.append(path + key)
        elif isinstance(value, dict) and isinstance(base[key], dict):
            keys += _unknown(base[key], value, f"{path}{key}.")
    return keys


def _anchored(value: Any, package: Path) -> Any:
    """Settings with the names of files that stand in s3prl's package, not below this folder, made whole."""
    if isinstance(value, dict):
        return {key: _anchored(item, package) for key, item in value.items()}
    if isinstance(value, list):
        return [_anchored(item, package) for item in value]
    if isinstance(value, str) and "/" in value and not Path(value).exists() and (package / value).exists():
        return str((package / value).resolve())
    return value


def result_of(job: Job) -> dict[str, Any] | None:
    """What a finished job has left; None if it is not finished."""
    path = job.folder / "result.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def row_of(job: Job, result: dict[str, Any], run_dir: Path) -> dict[str, Any]:
    """A line of results.jsonl."""
    net = asdict(job.candidate)
    arch = read_yaml(job.candidate.arch) if job.candidate.arch else None
    what = {"net": job.net, "task": job.task, "fold": job.fold, "split": job.split, "layer": job.layer}
    predictions = (job.folder / result["predictions"]).relative_to(run_dir.resolve())
    return {**what, **result, "predictions": predictions.as_posix(), "seed": job.seed, **net, "arch": arch}
