"""The section of a recipe that the training loop reads."""

from __future__ import annotations

import math
from dataclasses import dataclass

SCHEDULES = ("poly", "tri_stage", "flat_linear")
PRECISIONS = ("fp32", "bf16", "fp16")


@dataclass(frozen=True)
class TrainConfig:
    """How long, how fast and how exactly a net learns. ValueError lists every value that breaks a rule.

    steps: updates of the weights. lr: the highest learning rate. schedule, after a linear warm-up of `warmup_steps`:
      poly         falls linearly to zero (fairseq's polynomial_decay of power 1)
      flat_linear  stays until `flat_share` of the steps, then falls linearly to zero
      tri_stage    takes all three from `phases`, the shares of warm-up, flat and exponential decay (fairseq's)
    weight_decay acts on matrices and convolutions, not on biases, norms and other 1-d parameters.
    clip_norm: the largest norm of the gradient; .inf turns clipping off.
    accumulate: batches per step and rank. precision: fp32, or autocast to bf16 or fp16 (the latter with loss scaling).
    save_every, eval_every, log_every: in steps. keep_last: so many newest checkpoints, and the best one.
    max_bad_steps: so many steps in a row whose loss or gradient is not finite stop the run; each is skipped.
    checkpoint_layers: recompute each layer in the backward pass instead of keeping its activations.
    """

    steps: int
    lr: float
    warmup_steps: int = 0
    schedule: str = "poly"
    flat_share: float = 0.7
    phases: tuple[float, float, float] = (0.1, 0.4, 0.5)
    betas: tuple[float, float] = (0.9, 0.98)
    eps: float = 1e-6
    weight_decay: float = 0.01
    clip_norm: float = 10.0
    accumulate: int = 1
    precision: str = "fp32"
    save_every: int = 1000
    keep_last: int = 2
    eval_every: int = 1000
    log_every: int = 50
    max_bad_steps: int = 25
    checkpoint_layers: bool = False

    def __post_init__(self) -> None:
        if problems := self.problems():
            raise ValueError("TrainConfig: " + "; ".join(problems))

    def problems(self) -> list[str]:
        """Every value that breaks a rule, each with its key and the rule."""
        counts = ("steps", "accumulate", "save_every", "keep_last", "eval_every", "log_every", "max_bad_steps")
        rules = [(key, getattr(self, key) >= 1, "must be at least 1") for key in counts]
        rules += [
            ("lr", 0 < self.lr < math.inf, "must be above 0"),
            ("eps", 0 < self.eps < math.inf, "must be above 0"),
            ("weight_decay", 0 <= self.weight_decay < math.inf, "must not be negative"),
            ("clip_norm", self.clip_norm > 0, "must be above 0 (.inf: no clipping)"),
            ("betas", len(self.betas) == 2 and all(0 <= b < 1 for b in self.betas), "must be two numbers in [0, 1)"),
            ("schedule", self.schedule in SCHEDULES, f"must be one of {', '.join(SCHEDULES)}"),
            ("precision", self.precision in PRECISIONS, f"must be one of {', '.join(PRECISIONS)}"),
            ("flat_share", 0 < self.flat_share <= 1, "must be in (0, 1]"),
            ("phases", _shares(self.phases), "must be three shares that add up to 1"),
        ]
        if self.schedule == "tri_stage":
            rules.append(("warmup_steps", self.warmup_steps == 0, "must be 0: tri_stage takes its warm-up from phases"))
        elif self.steps >= 1:
            end = round(self.flat_share * self.steps) if self.schedule == "flat_linear" else self.steps - 1
            rules.append(("warmup_steps", 0 <= self.warmup_steps <= end, f"must be in [0, {end}], before the decay"))
        return [f"{key}: {getattr(self, key)!r} {rule}" for key, kept, rule in rules if not kept]


def _shares(phases: tuple[float, ...]) -> bool:
    return len(phases) == 3 and all(p >= 0 for p in phases) and abs(sum(phases) - 1) < 1e-6
