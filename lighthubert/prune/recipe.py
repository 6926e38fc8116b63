"""What the recipes of this job say."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated

from lighthubert.objectives import DistanceConfig
from lighthubert.prune.constraint import Constraint, problems_of
from lighthubert.prune.gates import UNITS
from lighthubert.schema import NOT_NEGATIVE, Checked, Rule
from lighthubert.tasks.config import MaskConfig, TaskConfig
from lighthubert.train import TrainRecipe

Share = Annotated[float | None, Rule("must be above 0 and below 1", lambda x: 0 < x < 1)]
LAYERS = Rule("needs distinct layers, one or more, from 0 up", lambda x: x and min(x) >= 0 and len(set(x)) == len(x))


@dataclass(frozen=True)
class DistillConfig(Checked):
    """Learn the hidden states of a teacher's layers, pair by pair (DPHuBERT)."""

    teacher: str
    """A file or folder of any known layout, or the name of a torchaudio bundle."""
    layers: Annotated[list[int], LAYERS]
    """Of both nets; 0 is the front-end's projection."""
    distance: DistanceConfig = field(default_factory=lambda: DistanceConfig(l1=1.0, cosine=1.0))


@dataclass(frozen=True)
class Sparsity(Checked):
    """Which share must go: of the parameters, or of the MACs of a clip of 10 s; of the whole net, or of its front-end
    (convolutions to projection) and its Transformer (all else), each for itself.

    HJ-Pruning's Size is `params`, SepSize both `frontend_params` and `transformer_params`, MACs `macs`.
    """

    params: Share = None
    """Of the net's parameters."""
    macs: Share = None
    """Of the net's MACs."""
    frontend_params: Share = None
    """Of the front-end's parameters."""
    transformer_params: Share = None
    """Of the Transformer's parameters."""
    frontend_macs: Share = None
    """Of the front-end's MACs."""
    transformer_macs: Share = None
    """Of the Transformer's MACs."""
    warmup_steps: Annotated[int, NOT_NEGATIVE] = 0
    """What is asked for rises from 0 for so long."""

    @property
    def constraints(self) -> tuple[Constraint, ...]:
        shares = {key: s for key, s in vars(self).items() if key != "warmup_steps" and s is not None}
        names = {key: key.rpartition("_") for key in shares}
        return tuple(
            Constraint(cost, part or "all", shares[key], self.warmup_steps) for key, (part, _, cost) in names.items()
        )


@dataclass(frozen=True, kw_only=True)
class Prune(TrainRecipe):
    """Pruning of a net while it learns a task, or what a teacher says. One of `task` and `distill`."""

    init: str
    """The net that is pruned: a file or folder of any known layout, or the name of a torchaudio bundle. A fine-tuned
    file of the same task gives its head too."""
    distill: DistillConfig | None = None
    """What is learnt of a teacher."""
    task: TaskConfig | None = None
    """What is learnt of labelled clips."""
    masks: MaskConfig = field(default_factory=MaskConfig)
    """What a task's training hides of clips."""
    sparsity: Sparsity = field(default_factory=Sparsity)
    """What must go. Without any, nothing is pruned, and the run is the training that follows pruning."""
    units: list[str] = field(default_factory=lambda: list(UNITS))
    """What has gates: conv (channels), heads, ffn (its units); attention and feed_forward (whole sub-layers) too."""
    gate_lr: Annotated[float, Rule("must be above 0", lambda x: 0 < x)] = 0.02
    """The highest learning rate of gates and of the constraints' multipliers."""

    def problems(self) -> Iterator[str]:
        if (self.distill is None) == (self.task is None):
            yield "distill, task: needs exactly one of the two"
        yield from problems_of(self.sparsity.constraints, self.units)
        steps, warmup = self.train.steps, self.sparsity.warmup_steps
        if warmup >= steps:
            yield f"sparsity.warmup_steps: must be below train.steps={steps}, got {warmup}"
