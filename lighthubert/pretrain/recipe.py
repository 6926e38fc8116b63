"""What the recipes of this job say."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Literal

from lighthubert.models import HubertConfig
from lighthubert.objectives import DistanceConfig, FrameConfig, TargetConfig
from lighthubert.schema import NOT_NEGATIVE, Checked, Count, Rule, at_least, some_of
from lighthubert.train import TrainRecipe

MAX_UNITS = 2**16  # labels are kept as uint16
FEW_ENOUGH = Rule(f"must be at most {MAX_UNITS}", lambda x: x <= MAX_UNITS)
Subnets = Annotated[list[str], some_of("parent", "largest", "smallest", "random")]


@dataclass(frozen=True, kw_only=True)
class Distill(TrainRecipe):
    """One stage of distilling a supernet from a teacher. Stage 1 and stage 2 differ in `subnets` and `init`."""

    objective: Literal["distill"] = "distill"
    """What is learnt; `units` has keys of its own."""
    teacher: str
    """A file or folder of any known layout, or the name of a torchaudio bundle."""
    space: str
    """The name of a search space, a YAML file, or `init`: that of the file `init`, which for a single net (an extracted
    subnet, a pruned net) is this net alone."""
    init: str = "teacher"
    """Where the weights start: random, teacher (its slices), or a file (a supernet's or a HuBERT's)."""
    head: str | None = None
    """The supernet's file that an extracted `init` was taken from: its head goes on. Without it a new head starts."""
    order_by_importance: bool = False
    """Sort the units of `init` first, those that matter most in front, where small subnets are."""
    subnets: Subnets = field(default_factory=lambda: ["largest", "smallest", "random", "random"])
    """What a step trains: the net that holds the weights (parent), and subnets of the space."""
    share: Literal["nothing", "clips", "steps"] = "nothing"
    """nothing: each of the subnets sees all clips of every step; clips: each sees its own part of a step's clips;
    steps: they take turns, one a step."""
    in_place: bool = False
    """Subnets after the first learn what the first one predicts instead of what the teacher says."""
    eval_archs: Annotated[int, NOT_NEGATIVE] = 3
    """So many fixed random archs are measured on the held-out clips, beside the largest and the smallest."""
    frames: FrameConfig = field(default_factory=FrameConfig)
    target: TargetConfig = field(default_factory=TargetConfig)
    distance: DistanceConfig = field(default_factory=DistanceConfig)

    def problems(self) -> Iterator[str]:
        if self.in_place and (self.share != "nothing" or len(self.subnets) < 2):
            yield "in_place: needs two subnets or more on the same clips (share: nothing)"
        if self.order_by_importance and self.init == "random":
            yield "order_by_importance: random weights (init: random) have no order"
        if self.space == "init" and self.init in ("random", "teacher"):
            yield f"space: init: needs a file as init, got {self.init!r}"
        if self.head and self.space != "init":
            yield f"head: goes with space: init, got space {self.space!r}"


@dataclass(frozen=True)
class UnitConfig(Checked):
    """k-means units of every frame."""

    source: str = "mfcc"
    """mfcc (the first iteration), or a HuBERT's file, one of whose hidden states is clustered (the next iteration)."""
    layer: Annotated[int, at_least(0)] = 0
    """Which hidden state of the HuBERT."""
    num_units: Annotated[int, at_least(2), FEW_ENOUGH] = 100
    """So many units."""
    fit_clips: Count = 2500
    """So many random training clips are clustered."""


@dataclass(frozen=True, kw_only=True)
class Units(TrainRecipe):
    """HuBERT's own objective, to train a teacher from nothing: masked prediction of k-means units."""

    objective: Literal["units"] = "units"
    """What is learnt; `distill` has keys of its own."""
    init: str = "random"
    """random, or a HuBERT's file of the sizes of `model`, to go on from its weights."""
    model: HubertConfig = field(default_factory=HubertConfig)
    units: UnitConfig = field(default_factory=UnitConfig)
    frames: FrameConfig = field(default_factory=FrameConfig)
