"""The parts of a running job: each line of the loop's step that is more than a line, and what a checkpoint holds."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lighthubert.data import SAMPLE_RATE, Batch, Reader
from lighthubert.models import recompute_layers
from lighthubert.runtime import ranks
from lighthubert.runtime.errors import StateError, UserError
from lighthubert.runtime.fingerprint import fingerprint, require_same
from lighthubert.runtime.sums import Sums
from lighthubert.train import optim
from lighthubert.train.checkpoints import Checkpoints
from lighthubert.train.config import FREE_KEYS, TrainConfig
from lighthubert.train.log import Log, write_evals
from lighthubert.train.objective import Objective


class TrainingError(UserError):
    """Too many steps in a row whose loss or gradient was not finite."""


@dataclass
class Progress:
    """How far a run is: the plain numbers of a checkpoint."""

    step: int = 0  # finished ones
    audio_seconds: float = 0.0  # clips of all ranks, without padding
    wall_seconds: float = 0.0
    bad_steps: int = 0
    bad_in_a_row: int = 0
    evals: list[dict[str, Any]] = field(default_factory=list)  # the content of evals.jsonl


class Job:
    """A model in training. Raises ValueError if the model cannot be trained as the config says."""

    def __init__(self, objective: Objective, reader: Reader, config: TrainConfig, run_dir: Path, seed: int,
                 recipe: Mapping[str, Any]) -> None:  # fmt: skip
        self.objective, self.reader, self.config, self.run_dir, self.seed = objective, reader, config, run_dir, seed
        self.optimizer = optim.adamw(objective, config)
        self.parameters = optim.parameters(self.optimizer)
        self.device = self.parameters[0].device
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=config.precision == "fp16")
        # Without the cache of cast weights: a supernet's slices never hit it, and a weight first cast under no_grad
        # (the student as its own teacher) would come back from it without a gradient.
        dtype = torch.float16 if config.precision == "fp16" else torch.bfloat16
        self.autocast = torch.autocast(self.device.type, dtype, config.precision != "fp32", cache_enabled=False)
        self.checkpoints = Checkpoints(run_dir / "checkpoints", config.keep_last)
        values = {**recipe, "train": asdict(config), "seed": seed, "ranks": ranks.world()}
        self.recipe = fingerprint(values, FREE_KEYS)
        self.progress = Progress()
        self._clock = time.monotonic()
        if config.checkpoint_layers:
            recompute_layers(objective.model)
        objective.model.train()

    def resume(self) -> None:
        """Go to the newest whole checkpoint, if there is one, and drop what was told after it."""
        path = ranks.on_first(self.checkpoints.newest)
        if path is not None:
            saved = self.checkpoints.load(path)
            require_same(self.run_dir, saved["recipe"], self.recipe)
            try:
                self.objective.model.load_state_dict(saved["model"])
                self.optimizer.load_state_dict(saved["optimizer"])
                self.scaler.load_state_dict(saved["scaler"])
                self.reader.load_state_dict(saved["reader"])
                self.progress = Progress(**saved["progress"])
            except (RuntimeError, ValueError, LookupError, TypeError, AttributeError) as error:
                raise StateError(f"{path}: does not fit this run: {error}") from error
            if ranks.rank() == 0 and self.progress.step < self.config.steps:
                print(f"{self.run_dir}: goes on after step {self.progress.step} of {self.config.steps}")
        write_evals(self.run_dir, self.progress.evals)

    def save(self, log: Log) -> None:
        """Write a checkpoint of this step. The reader's place is the same on all ranks, so rank 0's will do."""
        log.flush()
        self._tick()
        if ranks.rank() == 0:
            saved = {
                "model": self.objective.model.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "scaler": self.scaler.state_dict(),
                "reader": self.reader.state_dict(),
                "progress": asdict(self.progress),
                "recipe": self.recipe,
            }
            self.checkpoints.save(self.progress.step, saved, self._best_step())

    def seed_dropout(self) -> None:
        """Start torch's global generators anew, from (seed, step, rank)."""
        words = [self.seed, self.progress.step, ranks.rank()]
        torch.manual_seed(int(np.random.SeedSequence(words).generate_state(1, np.uint64)[0]))

    def count(self, batches: Sequence[Batch]) -> tuple[Tensor, float, float]:
        """Over all batches and ranks: the counts of the loss terms (k,), seconds of clips, seconds with padding."""
        counts = torch.stack([self.objective.counts(batch, self.progress.step) for batch in batches]).sum(0)
        audio = sum(float(batch.lengths.sum()) for batch in batches) / SAMPLE_RATE
        padded = sum(batch.waveform.numel() for batch in batches) / SAMPLE_RATE
        sums = ranks.total(torch.cat([counts, torch.tensor([audio, padded], dtype=torch.float64)]))
        return sums[:-2], float(sums[-2]), float(sums[-1])

    def backward(self, batches: Sequence[Batch], totals: Tensor) -> tuple[Tensor, dict[str, float | Tensor]]:
        """Run every loss of every batch backwards, one by one; this rank's (sum of losses, partial sums by name)."""
        total, sums = torch.zeros((), device=self.device), dict[str, float | Tensor]()
        for batch in batches:
            if not len(batch.lengths):
                continue  # every clip was unreadable
            losses = iter(self.objective.losses(batch.to(self.device), self.progress.step, totals))
            while True:
                with self.autocast:  # around the forward pass only: it runs when the generator is asked
                    item = next(losses, None)
                if item is None:
                    break
                loss, parts = item
                self.scaler.scale(loss).backward()
                total += loss.detach()
                for name, value in parts.items():
                    sums[name] = sums.get(name, 0.0) + value
        return total, sums

    def advance(self, audio_seconds: float, problem: str) -> None:
        """Count a step; `problem`: why it was skipped. Raises TrainingError after max_bad_steps of them in a row, or if
        all of a shorter run were."""
        self.optimizer.zero_grad(set_to_none=True)
        progress = self.progress
        progress.step += 1
        progress.audio_seconds += audio_seconds
        progress.bad_steps += bool(problem)
        progress.bad_in_a_row = progress.bad_in_a_row + 1 if problem else 0
        if progress.bad_in_a_row >= min(self.config.max_bad_steps, self.config.steps):
            raise TrainingError(
                f"{self.run_dir}: step {progress.step}: {problem}; {progress.bad_in_a_row} bad steps in a row "
                f"(train.max_bad_steps). A lower lr or a longer warm-up may help; the last checkpoint is untouched"
            )

    def due(self, every: int) -> bool:
        """Whether something that happens every so many steps, and after the last one, happens now."""
        return self.progress.step % every == 0 or self.progress.step == self.config.steps

    def evaluate(self, log: Log) -> None:
        """Measure the held-out losses, each rank on its share of the clips; extends evals.jsonl."""
        model, progress = self.objective.model.eval(), self.progress
        with torch.no_grad(), self.autocast:
            share = self.objective.evaluate(progress.step, ranks.rank(), ranks.world())
        model.train()
        self._tick()
        sums = Sums()
        for part in ranks.gather(share):
            sums.extend(part)
        entry = {
            "step": progress.step,
            "audio_seconds": progress.audio_seconds,
            "wall_seconds": round(progress.wall_seconds, 3),
            "values": sums.means(),
        }
        progress.evals.append(entry)
        write_evals(self.run_dir, progress.evals)
        if ranks.rank() == 0:
            log.evaluation(entry, self.objective.figures(progress.evals))

    def improved(self) -> bool:
        """Whether this step has just been evaluated as the best one so far."""
        return self.progress.step > 0 and self._best_step() == self.progress.step

    def _best_step(self) -> int | None:
        """The trained step with the least badness; None before the first."""
        scores = {e["step"]: self.objective.badness(e["values"]) for e in self.progress.evals if e["step"] > 0}
        known = {step: score for step, score in scores.items() if score is not None}
        return min(known, key=known.__getitem__, default=None)

    def _tick(self) -> None:
        now = time.monotonic()
        self.progress.wall_seconds += now - self._clock
        self._clock = now
