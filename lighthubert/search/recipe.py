"""What a recipe of this job says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Literal

from lighthubert.cost import COSTS, Conditions
from lighthubert.data import DataConfig
from lighthubert.schema import POSITIVE, Checked, Seed, at_least


@dataclass(frozen=True)
class ProbeConfig(Checked):
    """A linear reader of a subnet's frozen hidden states, in place of the held-out loss (lighthubert.probes)."""

    train_manifest: str
    """Clips that the reader learns from; those of valid_manifest judge it."""
    column: str
    """Holds the label."""
    kind: Literal["classes", "frames", "text"] = "classes"
    """What a label is of: a class of a clip, a phone of each frame, or the text that is said."""
    where: dict[str, str] = field(default_factory=dict)
    """Only clips whose other columns say this."""
    train_clips: Annotated[int, POSITIVE] = 200
    """So many are drawn, the same ones for every subnet."""
    held_out_clips: Annotated[int, POSITIVE] = 100
    """So many judge, the same ones for every subnet."""


@dataclass(frozen=True)
class Search(Checked):
    """The best subnets of a supernet under a budget."""

    run_dir: str
    """Where everything is written; the same command on the same folder resumes."""
    supernet: str
    """Any file that lighthubert.load reads as one."""
    valid_manifest: str
    """Clips that archs are scored on."""
    budget: dict[str, float]
    """At most so much of each cost: params, macs (of 10 s), superb_macs, megabytes (of a float16 file),
    milliseconds."""
    teacher: str | None = None
    """The file of what the supernet's head was distilled from, where the supernet's own file does not say it."""
    probe: ProbeConfig | None = None
    """What archs are scored by instead, without a teacher."""
    test_manifest: str | None = None
    """Other clips, on which the result is reported."""
    seconds: Annotated[float, POSITIVE] = 40.0
    """How much of valid_manifest is listened to for the loss: whole clips, the same ones for every seed."""
    test_seconds: Annotated[float, POSITIVE] = 600.0
    """How much of test_manifest."""
    evaluations: int = 1000
    """So many archs evolution may score, and random search beside it, in whole generations."""
    population: Annotated[int, at_least(4)] = 20
    """Archs of a generation."""
    seed: Seed = 1
    """Of evolution and random search."""
    latency: Conditions | None = None
    """Under which conditions milliseconds are meant, on this machine. Where it is given, they are shown beside the
    other costs, whether the budget has them or not."""
    data: DataConfig = field(default_factory=lambda: DataConfig(max_seconds=16, max_clip_seconds=15))

    def problems(self) -> Iterator[str]:
        if not self.budget:
            yield f"budget: needs one cost or more, of {', '.join(COSTS)}"
        for name, limit in self.budget.items():
            if name not in COSTS:
                yield f"budget.{name}: no such cost; known are {', '.join(COSTS)}"
            elif not limit > 0:
                yield f"budget.{name}: must be positive, got {limit:g}"
        if self.probe and self.teacher:
            yield "probe, teacher: a probe has no teacher; give one of the two"
        if self.evaluations < self.population:
            yield f"evaluations: must be at least the population ({self.population}), got {self.evaluations}"
