"""Everything that a run tells: TensorBoard, evals.jsonl and the progress line. The only door to tensorboard."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from lighthubert.runtime import plots, ranks
from lighthubert.runtime.files import naming, write_text
from lighthubert.runtime.progress import ProgressLine


@dataclass
class StepRecord:
    """One finished step: this rank's partial sums, and what is known of all ranks."""

    step: int
    sums: Mapping[str, float | Tensor]  # of this rank; empty if the step was skipped
    rate: float  # learning rate
    norm: float  # of the gradient, before clipping
    audio_seconds: float  # of clips, all ranks
    padded_seconds: float  # of clips and padding, all ranks
    seconds: float  # wall time of the step
    waited_seconds: float  # of it, for the reader


@dataclass
class Log:
    """Collects steps on every rank and writes on rank 0, within a `with` block."""

    run_dir: Path
    step: int  # finished steps
    steps: int
    texts: Mapping[str, str]
    _window: list[StepRecord] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._folder = self.run_dir / "tensorboard"

    def __enter__(self) -> Log:
        self._writer: Any = None
        if ranks.rank() == 0:
            from torch.utils.tensorboard import SummaryWriter

            # What a killed run had logged after its last checkpoint is hidden: those steps come again.
            purge = self.step + 1 if self.step else 0
            with naming(self._folder):
                self._writer = SummaryWriter(str(self._folder), purge_step=purge)
            self._line = ProgressLine(self.step, self.steps)
            for name, text in self.texts.items():
                self._writer.add_text(name, text, self.step)
        return self

    def __exit__(self, *_: object) -> None:
        if self._writer is not None:
            self._line.close()
            with naming(self._folder):
                self._writer.close()

    def add(self, record: StepRecord) -> None:
        """Keep a step for the next `write`."""
        self._window.append(record)
        if self._writer is not None:
            self._line.update(record.step)

    def write(self, skipped: Sequence[str], bad_steps: int) -> None:
        """Write the means over the steps since the last call. skipped: files that this rank could not read."""
        partial = [(r.step, {key: float(value) for key, value in r.sums.items()}) for r in self._window]
        shares = ranks.gather((partial, set(skipped)))
        window, self._window = self._window, []
        if self._writer is None or not window:
            return
        losses = _means([steps for steps, _ in shares])
        seconds, audio = sum(r.seconds for r in window), sum(r.audio_seconds for r in window)
        norms = [r.norm for r in window if math.isfinite(r.norm)]
        scalars = {f"train/{key}": value for key, value in losses.items()} | {
            "optim/learning_rate": window[-1].rate,
            "optim/gradient_norm": sum(norms) / max(len(norms), 1),
            "optim/bad_steps": bad_steps,
            "data/audio_seconds_per_second": audio / seconds,
            "data/padding_share": 1 - audio / max(sum(r.padded_seconds for r in window), 1e-9),
            "data/wait_share": sum(r.waited_seconds for r in window) / seconds,
            "data/skipped_files": len(set().union(*(files for _, files in shares))),
        }
        step = window[-1].step
        with naming(self._folder):
            for name, value in scalars.items():
                self._writer.add_scalar(name, value, step)
        values = " ".join(f"{key.removeprefix('loss/')} {value:.4f}" for key, value in losses.items())
        bad = f"  skipped steps: {bad_steps}" if bad_steps else ""
        self._line.update(step, f"{values}  lr {window[-1].rate:.2e}  {audio / seconds:.0f} audio s/s{bad}")

    def evaluation(self, entry: Mapping[str, Any], figures: Mapping[str, plots.Figure]) -> None:
        """Write one evaluation: an entry of evals.jsonl."""
        if self._writer is None:
            return
        with naming(self._folder):
            for name, value in entry["values"].items():
                self._writer.add_scalar(f"eval/{name}", math.nan if value is None else value, entry["step"])
            for name, figure in figures.items():
                self._writer.add_figure(name, figure, entry["step"])

    def flush(self) -> None:
        """Bring all that was logged to disk: called before a checkpoint, which then never knows more than the log."""
        if self._writer is not None:
            with naming(self._folder):
                self._writer.flush()


def write_evals(run_dir: Path, evals: Sequence[Mapping[str, Any]]) -> None:
    """Replace run_dir/evals.jsonl by these evaluations."""
    if ranks.rank() == 0:
        write_text(run_dir / "evals.jsonl", "".join(json.dumps(entry, allow_nan=False) + "\n" for entry in evals))


def _means(shares: Sequence[Sequence[tuple[int, Mapping[str, float]]]]) -> dict[str, float]:
    """Partial sums added up over the ranks, then averaged over the steps that have them."""
    sums: dict[str, dict[int, float]] = defaultdict(lambda: defaultdict(float))
    for steps in shares:
        for step, values in steps:
            for key, value in values.items():
                sums[key][step] += value
    return {key: sum(by_step.values()) / len(by_step) for key, by_step in sums.items()}
