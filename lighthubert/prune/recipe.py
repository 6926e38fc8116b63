"""What the recipes of this job say."""

from __future__ import annotations

from dataclasses import dataclass, field

from lighthubert.data import DataConfig
from lighthubert.objectives import DistanceConfig, MaskConfig, TaskConfig
from lighthubert.prune.constraint import Constraint, problems_of
from lighthubert.prune.gates import UNITS
from lighthubert.train import TrainConfig


@dataclass(frozen=True)
class DistillConfig:
    """Learn the hidden states of a teacher's layers, pair by pair (DPHuBERT).

    teacher: a file or folder of any known layout, or the name of a torchaudio bundle. layers: of both nets; 0 is the
    front-end's projection.
    """

    teacher: str
    layers: list[int]
    distance: DistanceConfig = field(default_factory=lambda: DistanceConfig(l1=1.0, cosine=1.0))

    def __post_init__(self) -> None:
        if not self.layers or min(self.layers) < 0 or len(set(self.layers)) < len(self.layers):
            raise ValueError(f"layers: needs distinct layers, one or more, from 0 up, got {self.layers}")


@dataclass(frozen=True)
class Sparsity:
    """Which share of what must go: of the parameters, or of the MACs of a clip of 10 s; of the whole net, or of its
    front-end (convolutions to projection) and its Transformer (all else), each for itself.

    HJ-Pruning's Size is `params`, SepSize both `frontend_params` and `transformer_params`, MACs `macs`.
    warmup_steps: what is asked for rises from 0 for so long.
    """

    params: float | None = None
    macs: float | None = None
    frontend_params: float | None = None
    transformer_params: float | None = None
    frontend_macs: float | None = None
    transformer_macs: float | None = None
    warmup_steps: int = 0

    def __post_init__(self) -> None:
        problems = [f"{key}: must be above 0 and below 1, got {s}" for key, s in self._given().items() if not 0 < s < 1]
        if self.warmup_steps < 0:
            problems.append(f"warmup_steps: must not be negative, got {self.warmup_steps}")
        if problems:
            raise ValueError("; ".join(problems))

    def _given(self) -> dict[str, float]:
        return {key: s for key, s in vars(self).items() if key != "warmup_steps" and s is not None}

    @property
    def constraints(self) -> tuple[Constraint, ...]:
        names = {key: key.rpartition("_") for key in self._given()}
        return tuple(
            Constraint(cost, part or "all", self._given()[key], self.warmup_steps)
            for key, (part, _, cost) in names.items()
        )


@dataclass(frozen=True)
class Prune:
    """Pruning of a net while it learns a task, or what a teacher says. One of `task` and `distill`.

    run_dir: where everything of the run is written; the same command on the same folder resumes.
    init: the net that is pruned, a file or folder of any known layout, or the name of a torchaudio bundle.
    train_manifest, valid_manifest: TSV files. task: what is learnt of labelled clips; distill: what of a teacher.
    masks: what a task's training hides of clips. A fine-tuned `init` of the same task gives its head too.
    sparsity: what must go; left out, nothing is pruned, and the run is the training that follows pruning.
    units: what has gates: "conv" (channels), "heads", "ffn" (units of it); whole sub-layers too with "attention",
    "feed_forward". gate_lr: the highest learning rate of gates and of the constraints' multipliers.
    """

    run_dir: str
    init: str
    train_manifest: str
    valid_manifest: str
    train: TrainConfig
    seed: int = 1
    distill: DistillConfig | None = None
    task: TaskConfig | None = None
    masks: MaskConfig = field(default_factory=MaskConfig)
    sparsity: Sparsity = field(default_factory=Sparsity)
    units: list[str] = field(default_factory=lambda: list(UNITS))
    gate_lr: float = 0.02
    data: DataConfig = field(default_factory=DataConfig)

    def __post_init__(self) -> None:
        problems = [] if self.seed >= 0 else [f"seed: must not be negative, got {self.seed}"]
        if (self.distill is None) == (self.task is None):
            problems.append("distill, task: needs exactly one of the two")
        if self.gate_lr <= 0:
            problems.append(f"gate_lr: must be above 0, got {self.gate_lr}")
        problems += problems_of(self.sparsity.constraints, self.units)
        steps, warmup = self.train.steps, self.sparsity.warmup_steps
        if warmup >= steps:
            problems.append(f"sparsity.warmup_steps: must be below train.steps={steps}, got {warmup}")
        if problems:
            raise ValueError("; ".join(problems))
