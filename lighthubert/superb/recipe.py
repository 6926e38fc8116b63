"""What the recipe of a sweep says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from lighthubert.schema import Checked, Count, Rule, Seed, some_of
from lighthubert.superb.benchmark import BENCHMARK, FOLDS

NAME = re.compile(r"[\w-][\w.-]*")  # nets and their folders
FOLD_NAMES = some_of(*FOLDS)
WORDS = Rule("is empty; say where the numbers come from", lambda x: bool(x.strip()))


@dataclass(frozen=True)
class Net(Checked):
    """One net of a sweep."""

    checkpoint: str | None = None
    """Any file that lighthubert.load reads; the sweep's own if null."""
    arch: str | dict[str, Any] | None = None
    """Which subnet of a supernet: largest, smallest, the YAML or JSON file of an arch, or its keys."""
    upstream: str = "lighthubert"
    """One of s3prl's instead, such as fbank."""

    def problems(self) -> Iterator[str]:
        if self.upstream != "lighthubert" and self.arch is not None:
            yield f"arch: chooses a subnet of our own checkpoints, not of upstream {self.upstream}"


@dataclass(frozen=True)
class SuperbTask(Checked):
    """How one task is run."""

    config: str | None = None
    """The file of its settings; the one of the s3prl checkout if null."""
    set: dict[str, Any] = field(default_factory=dict)
    """What replaces values of the settings."""
    split: str | None = None
    """What is evaluated, if not the benchmark's."""
    layer: int | None = None
    """The one hidden state that is used (spoken term detection; other tasks learn a weighted sum of all)."""
    folds: Annotated[list[str], FOLD_NAMES] | None = None
    """Of emotion recognition; all five, if null."""


@dataclass(frozen=True)
class Sweep(Checked):
    """Nets times tasks. A net or a task may be added to a run_dir later."""

    run_dir: str
    """Where everything is written; the same command on the same folder goes on."""
    nets: dict[str, Net]
    """The nets, by names of your own."""
    tasks: dict[str, SuperbTask]
    """The tasks, by name: KS, IC, SID, ASV, SD, ER, ASR, PR, SF, QbE."""
    checkpoint: str | None = None
    """The file of nets that name none."""
    corpora: str | None = None
    """A folder that the recipe's own values may name, as ${corpora}."""
    processes: Count = 1
    """So many jobs at a time. Several GPUs are dealt out to them."""
    device: str | None = None
    """s3prl's: cuda if there is one, else cpu, if null."""
    seed: Seed = 1337
    """s3prl's."""
    reference: str | None = None
    """A YAML file of the scores that make the SUPERB score (docs/superb.md)."""

    def problems(self) -> Iterator[str]:
        yield from (f"{key}: is empty" for key in ("nets", "tasks") if not getattr(self, key))
        for name, net in self.nets.items():
            if not NAME.fullmatch(name):
                yield f"nets: {name!r}: names hold letters, digits, _, - and ."
            if net.upstream == "lighthubert" and not (net.checkpoint or self.checkpoint):
                yield f"nets.{name}: checkpoint: is missing, and the recipe's own too"
        for name, task in self.tasks.items():
            if name not in BENCHMARK:
                yield f"tasks: {name!r}: must be one of {', '.join(BENCHMARK)}"
            if task.folds is not None and name != "ER":
                yield f"tasks.{name}.folds: only ER has folds"
            if name == "QbE" and task.layer is None:
                yield "tasks.QbE.layer: is missing; nothing is trained, so one hidden state is compared"
        if any(sign in str(Path(self.run_dir).resolve()) for sign in ("=", ",,", "'")):
            yield f"run_dir: s3prl cannot be told a path with =, ,, or ' in it, got {self.run_dir!r}"


@dataclass(frozen=True)
class Bounds(Checked):
    """What counts as 0 and as 1000 in one metric, in the units of the tables."""

    fbank: float
    """0: what filter banks reach."""
    sota: float
    """1000: the best that was known."""

    def problems(self) -> Iterator[str]:
        if self.fbank == self.sota:
            yield f"fbank, sota: must differ, got {self.fbank} for both"


@dataclass(frozen=True)
class Reference(Checked):
    """The scores that the SUPERB score is measured against."""

    source: Annotated[str, WORDS]
    """Where they come from, in words."""
    tasks: dict[str, dict[str, Bounds]]
    """Task -> metric -> bounds; each task of a sweep with all its metrics."""

    def problems(self) -> Iterator[str]:
        for name, bounds in self.tasks.items():
            known = [metric.label for metric in BENCHMARK[name].metrics] if name in BENCHMARK else []
            if name not in BENCHMARK:
                yield f"tasks: {name!r}: must be one of {', '.join(BENCHMARK)}"
            elif not known:
                yield f"tasks.{name}: s3prl computes no metric of this task"
            elif set(bounds) != set(known):
                yield f"tasks.{name}: needs {', '.join(known)}, got {', '.join(bounds) or 'nothing'}"
