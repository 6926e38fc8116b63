"""What the recipes of this job say."""

from __future__ import annotations

from dataclasses import dataclass, field

from lighthubert.data import DataConfig
from lighthubert.models import HubertConfig
from lighthubert.objectives import DistanceConfig, FrameConfig, TargetConfig
from lighthubert.train import TrainConfig

SHARES = ("nothing", "clips", "steps")
SUBNETS = ("parent", "largest", "smallest", "random")
MAX_UNITS = 2**16  # labels are kept as uint16


def seed_problems(seed: int) -> list[str]:
    return [] if seed >= 0 else [f"seed: must not be negative, got {seed}"]


@dataclass(frozen=True)
class Distill:
    """One stage of distilling a supernet from a teacher: stage 1 and stage 2 differ in `subnets` and `init`.

    run_dir: where everything of the run is written; the same command on the same folder resumes.
    teacher: a file or folder of any known layout, or the name of a torchaudio bundle.
    space: the name of a search space, a YAML file, or "init": that of the file `init`, which for a single net (an
    extracted subnet, a pruned net) is this net alone. train_manifest, valid_manifest: TSV files.
    init: where the weights start: "random", "teacher" (its slices), or a file (a supernet's or a HuBERT's).
    head: the supernet's file that an extracted `init` was taken from, whose head then goes on too; else it starts anew.
    order_by_importance: the units of `init` are sorted first, those that matter most in front, where small subnets are.
    subnets: what a step trains: "parent" (the net that holds the weights), "largest", "smallest", "random".
    share: "nothing": each of them sees all clips of every step; "clips": each sees its own part of a step's clips;
    "steps": they take turns, one a step.
    in_place: subnets after the first learn what the first one predicts instead of what the teacher says.
    eval_archs: so many fixed random archs are measured on the held-out clips, beside the largest and the smallest.
    """

    run_dir: str
    teacher: str
    space: str
    train_manifest: str
    valid_manifest: str
    train: TrainConfig
    objective: str = "distill"
    seed: int = 1
    init: str = "teacher"
    head: str | None = None
    order_by_importance: bool = False
    subnets: list[str] = field(default_factory=lambda: ["largest", "smallest", "random", "random"])
    share: str = "nothing"
    in_place: bool = False
    eval_archs: int = 3
    data: DataConfig = field(default_factory=DataConfig)
    frames: FrameConfig = field(default_factory=FrameConfig)
    target: TargetConfig = field(default_factory=TargetConfig)
    distance: DistanceConfig = field(default_factory=DistanceConfig)

    def __post_init__(self) -> None:
        problems = seed_problems(self.seed)
        if not self.subnets or any(name not in SUBNETS for name in self.subnets):
            problems.append(f"subnets: needs one or more of {', '.join(SUBNETS)}, got {list(self.subnets)}")
        if self.share not in SHARES:
            problems.append(f"share: must be one of {', '.join(SHARES)}, got {self.share!r}")
        if self.in_place and (self.share != "nothing" or len(self.subnets) < 2):
            problems.append("in_place: needs two subnets or more on the same clips (share: nothing)")
        if self.order_by_importance and self.init == "random":
            problems.append("order_by_importance: random weights (init: random) have no order")
        if self.space == "init" and self.init in ("random", "teacher"):
            problems.append(f"space: init: needs a file as init, got {self.init!r}")
        if self.head and self.space != "init":
            problems.append(f"head: goes with space: init, got space {self.space!r}")
        if self.eval_archs < 0:
            problems.append(f"eval_archs: must not be negative, got {self.eval_archs}")
        if problems:
            raise ValueError("; ".join(problems))


@dataclass(frozen=True)
class UnitConfig:
    """k-means units of every frame.

    source: "mfcc" (the first iteration), or a HuBERT's file whose hidden state `layer` is clustered (the next one).
    fit_clips: so many random training clips are clustered.
    """

    source: str = "mfcc"
    layer: int = 0
    num_units: int = 100
    fit_clips: int = 2500

    def __post_init__(self) -> None:
        low = {"num_units": 2, "fit_clips": 1, "layer": 0}
        values = {key: getattr(self, key) for key in low}
        problems = [f"{key}: must be at least {low[key]}, got {n}" for key, n in values.items() if n < low[key]]
        if self.num_units > MAX_UNITS:
            problems.append(f"num_units: must be at most {MAX_UNITS}, got {self.num_units}")
        if problems:
            raise ValueError("; ".join(problems))


@dataclass(frozen=True)
class Units:
    """HuBERT's own objective, to train a teacher from nothing: masked prediction of k-means units.

    model: keys of HubertConfig. init: "random", or a HuBERT's file of these sizes, to go on from its weights.
    Other keys as in Distill.
    """

    run_dir: str
    train_manifest: str
    valid_manifest: str
    train: TrainConfig
    objective: str = "units"
    seed: int = 1
    init: str = "random"
    model: HubertConfig = field(default_factory=HubertConfig)
    units: UnitConfig = field(default_factory=UnitConfig)
    data: DataConfig = field(default_factory=DataConfig)
    frames: FrameConfig = field(default_factory=FrameConfig)

    def __post_init__(self) -> None:
        if problems := seed_problems(self.seed):
            raise ValueError("; ".join(problems))


SCHEMAS: dict[str, type[Distill] | type[Units]] = {"distill": Distill, "units": Units}
