"""What a net learns: the contract between a job and the loop."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from lighthubert.data import Batch
from lighthubert.runtime import plots


class Objective(ABC):
    """`step` counts finished steps, so the first one is step 0."""

    model: nn.Module
    """Trained and checkpointed, on its device; only parameters that require a gradient learn. The loop switches between
    train() and eval(): a part that must never train overrides train()."""

    groups: Mapping[str, Mapping[str, Any]] = {}
    """Beginnings of parameters' names -> options of AdamW for them, where lr is the highest rate and follows the
    schedule as all others do. The gradients of such a group are not clipped, and its parameters do not decay."""

    @abstractmethod
    def counts(self, batch: Batch, step: int) -> Tensor:
        """(k,) float64, batch on the CPU: how many things each loss term averages over; zeros without any clip."""

    @abstractmethod
    def losses(self, batch: Batch, step: int, totals: Tensor) -> Iterator[tuple[Tensor, Mapping[str, float | Tensor]]]:
        """This batch's shares of the step's means, each with detached partial sums by name (loss/largest).

        batch: on the model's device, never without clips. totals (k,), on the CPU: the counts of all batches and ranks
        of the step, 0 for a term without any. The loop runs a backward pass for each yielded scalar before it asks
        for the next; the code between runs under autocast, and must not yield from within a no_grad block.
        """

    @abstractmethod
    def evaluate(self, step: int, rank: int, world: int) -> Mapping[str, tuple[float, float]]:
        """(sum, count) by name over this rank's share of the held-out clips, without gradients, under autocast."""

    def badness(self, values: Mapping[str, float | None]) -> float | None:
        """What chooses the best checkpoint, of the means of one evaluation: lower is better, None is no choice.

        Here the mean of those with `loss` in their names.
        """
        losses = [value for name, value in values.items() if "loss" in name]
        known = [value for value in losses if value is not None]
        return sum(known) / len(known) if known and len(known) == len(losses) else None

    def describe(self) -> dict[str, str]:
        """Texts for TensorBoard."""
        return {}

    def figures(self, history: Sequence[Mapping[str, Any]]) -> dict[str, plots.Figure]:
        """Figures of the evaluations so far, entries of evals.jsonl."""
        return {"held-out loss": plots.loss_curves(history)} if len(history) > 1 else {}
