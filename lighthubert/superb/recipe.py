"""What the recipe of a sweep says."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lighthubert.superb.benchmark import BENCHMARK, FOLDS

NAME = re.compile(r"[\w-][\w.-]*")  # nets and their folders


@dataclass(frozen=True)
class Net:
    """checkpoint: any file that `lighthubert.load` reads; the sweep's own if None. arch: which subnet of a supernet:
    "largest", "smallest", the YAML or JSON file of an arch, or its keys. upstream: one of s3prl's, as "fbank"."""

    checkpoint: str | None = None
    arch: str | dict[str, Any] | None = None
    upstream: str = "lighthubert"

    def __post_init__(self) -> None:
        if self.upstream != "lighthubert" and self.arch is not None:
            raise ValueError(f"arch: chooses a subnet of our own checkpoints, not of upstream {self.upstream}")


@dataclass(frozen=True)
class SuperbTask:
    """How one task is run.

    config: the file of its settings; None: the one of the s3prl checkout. set: what replaces their values. split: what
    is evaluated, if not the benchmark's. layer: the one hidden state that is used (spoken term detection; other tasks
    learn a weighted sum of all). folds: of emotion recognition; all five, if None.
    """

    config: str | None = None
    set: dict[str, Any] = field(default_factory=dict)
    split: str | None = None
    layer: int | None = None
    folds: list[str] | None = None


@dataclass(frozen=True)
class Sweep:
    """Nets times tasks. A net or a task may be added to a run_dir later.

    run_dir: where everything is written; the same command on the same folder goes on. nets: name -> Net.
    tasks: name (KS, IC, SID, ASV, SD, ER, ASR, PR, SF, QbE) -> SuperbTask. checkpoint: the file of nets that name none.
    processes: so many jobs at a time. device: s3prl's; None: cuda if there is one, else cpu. Several GPUs are dealt out
    to the processes. seed: s3prl's. corpora: a folder that the recipe's own values may name, as ${corpora}.
    reference: a YAML file of the scores that make the SUPERB score (docs/superb.md).
    """

    run_dir: str
    nets: dict[str, Net]
    tasks: dict[str, SuperbTask]
    checkpoint: str | None = None
    corpora: str | None = None
    processes: int = 1
    device: str | None = None
    seed: int = 1337
    reference: str | None = None

    def __post_init__(self) -> None:
        problems = [f"nets: {name!r}: names hold letters, digits, _, - and ." for name in self.nets
                    if not NAME.fullmatch(name)]  # fmt: skip
        problems += [f"{key}: is empty" for key in ("nets", "tasks") if not getattr(self, key)]
        problems += [f"nets.{name}: checkpoint: is missing, and the recipe's own too" for name, net in self.nets.items()
                     if net.upstream == "lighthubert" and not (net.checkpoint or self.checkpoint)]  # fmt: skip
        for name, task in self.tasks.items():
            problems += _task_problems(name, task)
        if self.processes < 1:
            problems.append(f"processes: must be at least 1, got {self.processes}")
        if self.seed < 0:
            problems.append(f"seed: must not be negative, got {self.seed}")
        if any(sign in str(Path(self.run_dir).resolve()) for sign in ("=", ",,", "'")):
            problems.append(f"run_dir: s3prl cannot be told a path with =, ,, or ' in it, got {self.run_dir!r}")
        if problems:
            raise ValueError("; ".join(problems))


def _task_problems(name: str, task: SuperbTask) -> list[str]:
    if name not in BENCHMARK:
        return [f"tasks: {name!r}: must be one of {', '.join(BENCHMARK)}"]
    problems = []
    if task.folds is not None and name != "ER":
        problems.append(f"tasks.{name}.folds: only ER has folds")
    if task.folds is not None and (not task.folds or set(task.folds) - {*FOLDS}):
        problems.append(f"tasks.{name}.folds: needs one or more of {', '.join(FOLDS)}, got {task.folds}")
    if name == "QbE" and task.layer is None:
        problems.append("tasks.QbE.layer: is missing; nothing is trained, so one hidden state is compared")
    return problems


@dataclass(frozen=True)
class Bounds:
    """What counts as 0 and as 1000 in one metric, in the units of the tables."""

    fbank: float
    sota: float

    def __post_init__(self) -> None:
        if self.fbank == self.sota:
            raise ValueError(f"fbank, sota: must differ, got {self.fbank} for both")


@dataclass(frozen=True)
class Reference:
    """The scores that the SUPERB score is measured against. source: where they come from, in words; task -> metric ->
    Bounds, each task of a sweep with all its metrics."""

    source: str
    tasks: dict[str, dict[str, Bounds]]

    def __post_init__(self) -> None:
        problems = [] if self.source.strip() else ["source: is empty; say where the numbers come from"]
        for name, bounds in self.tasks.items():
            known = [metric.label for metric in BENCHMARK[name].metrics] if name in BENCHMARK else []
            if name not in BENCHMARK:
                problems.append(f"tasks: {name!r}: must be one of {', '.join(BENCHMARK)}")
            elif not known:
                problems.append(f"tasks.{name}: s3prl computes no metric of this task")
            elif set(bounds) != set(known):
                problems.append(f"tasks.{name}: needs {', '.join(known)}, got {', '.join(bounds) or 'nothing'}")
        if problems:
            raise ValueError("; ".join(problems))
