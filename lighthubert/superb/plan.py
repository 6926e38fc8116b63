"""A sweep's recipe as jobs: nets that load, settings that are whole, files that are there, before anything runs."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from lighthubert import cost
from lighthubert.checkpoint import Loaded, read, weights_digest
from lighthubert.config import read_yaml, write_yaml
from lighthubert.runtime.files import read_text, write_text
from lighthubert.runtime.fingerprint import fingerprint, require_same
from lighthubert.schema import parse
from lighthubert.superb.benchmark import BENCHMARK, FOLDS
from lighthubert.superb.package import CHECKOUT, LaunchError, absolute
from lighthubert.superb.recipe import SuperbTask, Sweep
from lighthubert.superb.upstream import chosen

OPEN_SECTIONS = ("optimizer", "scheduler", "specaug")  # s3prl hands their keys on to whatever they name


@dataclass(frozen=True)
class Candidate:
    """A net as a worker loads it. checkpoint: a file, or a name that s3prl knows; arch: of a subnet; weights: their
    digest; params, macs: of all that is evaluated, as the SUPERB challenge counts them; None for s3prl's upstreams."""

    upstream: str
    checkpoint: str | None = None
    arch: dict[str, Any] | None = None
    weights: str | None = None
    params: int | None = None
    macs: int | None = None


@dataclass(frozen=True)
class Evaluation:
    """A job: one task, or one fold of it, on one net. settings: s3prl's, of the task."""

    net: str
    task: str
    fold: str | None
    candidate: Candidate
    settings: dict[str, Any]
    split: str
    layer: int | None
    seed: int
    device: str
    run_dir: str

    @property
    def name(self) -> str:
        return f"{self.task}{f' {self.fold}' if self.fold else ''} of {self.net}"

    @property
    def folder(self) -> Path:
        """Holds all that the job writes."""
        return Path(self.run_dir, "jobs", self.net, self.task, self.fold or "")

    @property
    def arch_file(self) -> Path | None:
        return None if self.candidate.arch is None else self.folder / "arch.yaml"

    def identity(self) -> dict[str, str]:
        """What its result depends on; the file's name is not among it."""
        net = self.candidate
        what = {"upstream": net.upstream, "weights": net.weights or net.checkpoint}
        return fingerprint({"net": what, "set": self.settings, "split": self.split, "layer": self.layer,
                            "seed": self.seed})  # fmt: skip

    def check(self) -> None:
        """StateError if its folder is of something else."""
        if (self.folder / "job.json").is_file():
            require_same(self.folder, read_job(self.folder).identity(), self.identity())

    def write(self) -> None:
        """Make its folder, with all that a worker and s3prl need to know."""
        self.folder.mkdir(parents=True, exist_ok=True)
        write_yaml(self.folder / "settings.yaml", self.settings)
        if self.arch_file:
            write_yaml(self.arch_file, self.candidate.arch)
        write_text(self.folder / "job.json", json.dumps(asdict(self), indent=1) + "\n")


def read_job(folder: Path) -> Evaluation:
    """The job of a folder."""
    return parse(Evaluation, json.loads(read_text(folder / "job.json", LaunchError)), str(folder))


def plan(recipe: Sweep, package: Path) -> list[Evaluation]:
    """All jobs, nets in the order of the recipe within each task; nothing is written. package: s3prl's folder.

    Raises ValueError that lists everything wrong.
    """
    problems: list[str] = []
    candidates = _candidates(recipe, problems)
    settings = {name: _settings(name, task, package, problems) for name, task in recipe.tasks.items()}
    if problems:
        raise LaunchError("; ".join(problems))
    device = recipe.device or ("cuda" if torch.cuda.is_available() else "cpu")
    run_dir = str(Path(recipe.run_dir).resolve())
    jobs = []
    for task_name, task in recipe.tasks.items():
        split = task.split or BENCHMARK[task_name].split
        for net_name, candidate in candidates.items():
            for fold in (task.folds or FOLDS) if task_name == "ER" else [None]:
                values = settings[task_name]
                if fold is not None:
                    values = _merged(values, {"downstream_expert": {"datarc": {"test_fold": fold}}}, [])
                jobs.append(Evaluation(net_name, task_name, fold, candidate, values, split, task.layer, recipe.seed,
                                       device, run_dir))  # fmt: skip
    for job in jobs:
        job.check()
    return jobs


def _candidates(recipe: Sweep, problems: list[str]) -> dict[str, Candidate]:
    """The recipe's nets. Those of one file follow each other, so that it is read once."""
    candidates: dict[str, Candidate] = {}
    files = {name: net.checkpoint or recipe.checkpoint or "" for name, net in recipe.nets.items()}
    loaded: Loaded | None = None
    for name in sorted(files, key=lambda name: files[name]):
        net = recipe.nets[name]
        if net.upstream != "lighthubert":
            candidates[name] = Candidate(net.upstream, absolute(net.checkpoint))
            continue
        try:
            if loaded is None or loaded.path != files[name]:
                loaded = read(files[name])
            candidates[name] = _candidate(net.arch, loaded)
        except (ValueError, OSError) as error:
            problems.append(f"nets.{name}: {error}")
    return {name: candidates[name] for name in recipe.nets if name in candidates}


def _candidate(arch: str | dict[str, Any] | None, loaded: Loaded) -> Candidate:
    net = chosen(loaded, arch)
    sizes = None if arch is None or net.config.arch is None else net.config.arch.to_dict()
    params, macs = cost.num_params(net.config), cost.superb_macs(net.config)
    return Candidate("lighthubert", absolute(loaded.path), sizes, weights_digest(net), params, macs)


def _settings(name: str, task: SuperbTask, package: Path, problems: list[str]) -> dict[str, Any]:
    """s3prl's settings of a task with the recipe's values in them."""
    benchmark = BENCHMARK[name]
    folder = package / "downstream" / benchmark.downstream
    path = Path(task.config) if task.config else folder / benchmark.settings
    if not path.is_file():
        problems.append(f"tasks.{name}.config: {path}: no such file; name the settings of the task, or {CHECKOUT}")
        return {}
    if benchmark.downstream == "ctc" and not (folder / "corpus").is_dir():
        problems.append(f"tasks.{name}: {folder / 'corpus'}: the published package of s3prl lacks it; {CHECKOUT}")
    here, unknown = f"tasks.{name}.set", list[str]()
    values = _merged(_anchored(read_yaml(path), package), task.set, unknown)
    problems += [f"{here}.{key}: is not in {path}" for key in unknown]
    for key in benchmark.corpus:
        value = values.get("downstream_expert")
        for part in key.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        if not isinstance(value, str) or not Path(value).exists():
            problems.append(f"{here}.downstream_expert.{key}: {value}: no such file or folder")
    return values


def _merged(base: dict[str, Any], new: dict[str, Any], unknown: list[str], path: str = "") -> dict[str, Any]:
    """base with the values of new. Dotted keys that base has not, outside of the open sections, go to unknown."""
    values = dict(base)
    for key, value in new.items():
        if key not in base and (path + key).partition(".")[0] not in OPEN_SECTIONS:
            unknown.append(path + key)
        both = isinstance(base.get(key), dict) and isinstance(value, dict)
        values[key] = _merged(base[key], value, unknown, f"{path}{key}.") if both else value
    return values


def _anchored(value: Any, package: Path) -> Any:
    """Settings with the names of files that stand in s3prl's package, not below this folder, made whole."""
    if isinstance(value, dict):
        return {key: _anchored(item, package) for key, item in value.items()}
    if isinstance(value, list):
        return [_anchored(item, package) for item in value]
    if isinstance(value, str) and "/" in value and not Path(value).exists() and (package / value).exists():
        return str((package / value).resolve())
    return value


def result_of(job: Evaluation) -> dict[str, Any] | None:
    """What a finished job has left; None if it is not finished."""
    path = job.folder / "result.json"
    return json.loads(read_text(path, LaunchError)) if path.is_file() else None


def row_of(job: Evaluation, result: dict[str, Any]) -> dict[str, Any]:
    """A line of results.jsonl."""
    what = {"net": job.net, "task": job.task, "fold": job.fold, "split": job.split, "layer": job.layer}
    predictions = (job.folder / result["predictions"]).relative_to(job.run_dir).as_posix()
    return {**what, **result, "predictions": predictions, "seed": job.seed, **asdict(job.candidate)}
