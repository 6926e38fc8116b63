"""What a recipe of this job says."""

from __future__ import annotations

from dataclasses import dataclass, field

from lighthubert.cost import COSTS, Conditions
from lighthubert.data import DataConfig
from lighthubert.probes import KINDS


@dataclass(frozen=True)
class ProbeConfig:
    """A linear reader of a subnet's frozen hidden states, in place of the held-out loss (lighthubert.probes).

    train_manifest: clips that the reader learns from; those of valid_manifest judge it. column, kind, where: which
    label of them, of clips, "frames" or "text", and what other columns must say. train_clips, held_out_clips: so many
    are drawn, the same ones for every subnet.
    """

    train_manifest: str
    column: str
    kind: str = "classes"
    where: dict[str, str] = field(default_factory=dict)
    train_clips: int = 200
    held_out_clips: int = 100

    def __post_init__(self) -> None:
        problems = [f"kind: must be one of {', '.join(KINDS)}, got {self.kind!r}"] if self.kind not in KINDS else []
        for key in ("train_clips", "held_out_clips"):
            if getattr(self, key) <= 0:
                problems.append(f"{key}: must be positive, got {getattr(self, key)}")
        if problems:
            raise ValueError("; ".join(problems))


@dataclass(frozen=True)
class Search:
    """The best subnets of a supernet under a budget.

    run_dir: where everything is written; the same command on the same folder resumes.
    supernet: any file that lighthubert.load reads as one. teacher: what its head was distilled from, a file; where
    the supernet's file says it is, without any. probe: what archs are scored by instead, without a teacher.
    budget: at most so much of each cost (params, macs of 10 s, superb_macs, megabytes of a float16 file,
    milliseconds). latency: under which conditions milliseconds are meant, on this machine; where it is given, they are
    shown beside the other costs, whether the budget has them or not.
    valid_manifest: clips that archs are scored on; test_manifest: others, on which the result is reported.
    seconds, test_seconds: how much of each is listened to for the loss, whole clips, the same ones for every seed.
    evaluations: how many archs evolution may score, and random search beside it, in whole generations of `population`.
    """

    run_dir: str
    supernet: str
    valid_manifest: str
    budget: dict[str, float]
    teacher: str | None = None
    probe: ProbeConfig | None = None
    test_manifest: str | None = None
    seconds: float = 40.0
    test_seconds: float = 600.0
    evaluations: int = 1000
    population: int = 20
    seed: int = 1
    latency: Conditions | None = None
    data: DataConfig = field(default_factory=lambda: DataConfig(max_seconds=16, max_clip_seconds=15))

    def __post_init__(self) -> None:
        problems = budget_problems(self.budget)
        if self.probe and self.teacher:
            problems.append("probe, teacher: a probe has no teacher; give one of the two")
        if self.population < 4:
            problems.append(f"population: must be at least 4, got {self.population}")
        if self.evaluations < self.population:
            problems.append(f"evaluations: must be at least the population ({self.population}), got {self.evaluations}")
        if self.seed < 0:
            problems.append(f"seed: must not be negative, got {self.seed}")
        for key in ("seconds", "test_seconds"):
            if not getattr(self, key) > 0:
                problems.append(f"{key}: must be positive, got {getattr(self, key)}")
        if problems:
            raise ValueError("; ".join(problems))


def budget_problems(budget: dict[str, float]) -> list[str]:
    """What is wrong with a budget by itself."""
    if not budget:
        return [f"budget: needs one cost or more, of {', '.join(COSTS)}"]
    problems = []
    for name, limit in budget.items():
        if name not in COSTS:
            problems.append(f"budget.{name}: no such cost; known are {', '.join(COSTS)}")
        elif type(limit) not in (int, float):
            problems.append(f"budget.{name}: expected a number, got {limit!r}")
        elif not limit > 0:
            problems.append(f"budget.{name}: must be positive, got {limit}")
    return problems
