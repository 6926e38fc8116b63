"""The section of a recipe that the training loop reads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Literal

from lighthubert.data import DataConfig
from lighthubert.schema import Checked, Count, Rule, Seed


def _shares(phases: tuple[float, ...]) -> bool:
    return len(phases) == 3 and all(p >= 0 for p in phases) and abs(sum(phases) - 1) < 1e-6


ABOVE_0 = Rule("must be above 0", lambda x: 0 < x < float("inf"))
SHARES = Rule("must be three shares that add up to 1", _shares)
TWO = Rule("must be two numbers in [0, 1)", lambda x: len(x) == 2 and all(0 <= b < 1 for b in x))
BAD_STEPS = Rule("must be from 1 to 100", lambda x: 1 <= x <= 100)
# A run may go on with other values of these: they change nothing that is learnt.
FREE_KEYS = {f"train.{key}" for key in ("save_every", "keep_last", "eval_every", "log_every", "max_bad_steps")}


@dataclass(frozen=True)
class TrainConfig(Checked):
    """How long, how fast and how exactly a net learns."""

    steps: Count
    """Updates of the weights."""
    lr: Annotated[float, ABOVE_0]
    """The highest learning rate."""
    warmup_steps: int = 0
    """The rate rises linearly for so long."""
    schedule: Literal["poly", "tri_stage", "flat_linear"] = "poly"
    """After the warm-up, poly falls linearly to zero (fairseq's polynomial_decay of power 1), and flat_linear stays
    until `flat_share` of the steps and then does the same. tri_stage takes its warm-up and all else from `phases`."""
    flat_share: Annotated[float, Rule("must be in (0, 1]", lambda x: 0 < x <= 1)] = 0.7
    """Of flat_linear: the share of the steps at which the rate begins to fall."""
    phases: Annotated[tuple[float, float, float], SHARES] = (0.1, 0.4, 0.5)
    """Of tri_stage: the shares of warm-up, flat and exponential decay (fairseq's)."""
    betas: Annotated[tuple[float, float], TWO] = (0.9, 0.98)
    """AdamW's."""
    eps: Annotated[float, ABOVE_0] = 1e-6
    """AdamW's."""
    weight_decay: Annotated[float, Rule("must not be negative", lambda x: 0 <= x < float("inf"))] = 0.01
    """Of matrices and convolutions; biases, norms and other 1-d parameters do not decay."""
    clip_norm: Annotated[float, Rule("must be above 0 (.inf: no clipping)", lambda x: x > 0)] = 10.0
    """The largest norm of the gradient; .inf turns clipping off."""
    accumulate: Count = 1
    """Batches per step and rank."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """fp32, or autocast to bf16 or fp16 (the latter with loss scaling)."""
    save_every: Count = 1000
    """Steps between checkpoints; the best step and the last one are saved too."""
    keep_last: Count = 2
    """So many newest checkpoints are kept, and the best one."""
    eval_every: Count = 1000
    """Steps between two measurements on the held-out clips."""
    log_every: Count = 50
    """Steps that a point of the curves in TensorBoard is the mean of."""
    max_bad_steps: Annotated[int, BAD_STEPS] = 25
    """So many steps in a row whose loss or gradient is not finite stop the run, or all of a shorter one; each of them
    is skipped."""
    checkpoint_layers: bool = False
    """Recompute each layer in the backward pass instead of keeping its activations: less memory, more time."""

    def problems(self) -> Iterator[str]:
        got = f"got {self.warmup_steps}"
        if self.schedule == "tri_stage":
            if self.warmup_steps:
                yield f"warmup_steps: must be 0, {got}: tri_stage takes its warm-up from phases"
            return
        end = round(self.flat_share * self.steps) if self.schedule == "flat_linear" else self.steps - 1
        if self.steps >= 1 and not 0 <= self.warmup_steps <= end:
            yield f"warmup_steps: must be in [0, {end}], before the decay, {got}"


@dataclass(frozen=True, kw_only=True)
class TrainRecipe(Checked):
    """What the recipes of all training jobs say."""

    run_dir: str
    """Where everything of the run is written; the same command on the same folder resumes."""
    train_manifest: str
    """The clips to learn from: a TSV file, as `lighthubert prepare` writes it."""
    valid_manifest: str
    """Held-out clips: another such file."""
    train: TrainConfig
    data: DataConfig = field(default_factory=DataConfig)
    seed: Seed = 1
    """Of all that is random. The same recipe with the same seed gives the same bits."""
