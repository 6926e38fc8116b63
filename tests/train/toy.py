"""A small real job for the tests of the loop: a net of two depths that regresses loudness from audio.

`python toy.py run_dir=... manifest=... [key=value ...]` trains it, under torchrun too.
"""

import json
import signal
import sys
import wave
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from lighthubert.data import Batch, DataConfig, Manifest, Reader, eval_batches, write_manifest
from lighthubert.models import HubertConfig
from lighthubert.runtime import ranks
from lighthubert.train import Objective, Result, TrainConfig, run_training

FRAME, HUBERT = 320, HubertConfig()
DATA = DataConfig(max_seconds=3.0, max_clip_seconds=1.0, min_clip_seconds=0.1, window=6, threads=0, reader="torch")


def write_clips(folder: Path, count: int = 24) -> Path:
    """Noise of several lengths and loudnesses, and its manifest."""
    rng = np.random.default_rng(7)
    rows = []
    for i in range(count):
        samples = int(rng.integers(4000, 20000))
        pcm = (rng.standard_normal(samples) * 3000 * rng.uniform(0.1, 2)).clip(-32768, 32767).astype("<i2")
        with wave.open(str(folder / f"{i}.wav"), "wb") as file:
            file.setparams((1, 2, 16000, samples, "NONE", ""))
            file.writeframes(pcm.tobytes())
        rows.append({"path": f"{i}.wav", "samples": samples})
    write_manifest(folder / "clips.tsv", ("path", "samples"), rows)
    return folder / "clips.tsv"


class Net(nn.Module):
    """Frames of 320 samples to one number, with or without a second layer. `ballast` floats make checkpoints big."""

    def __init__(self, dropout: float, ballast: int) -> None:
        super().__init__()
        self.frames = nn.Conv1d(1, 16, FRAME, stride=FRAME)
        self.deep = nn.Linear(16, 16)
        self.norm = nn.LayerNorm(16)
        self.out = nn.Linear(16, 1)
        self.dropout = nn.Dropout(dropout)
        self.ballast = nn.Parameter(torch.zeros(ballast), requires_grad=False)

    def forward(self, waveform: Tensor, deep: bool) -> Tensor:
        x = self.frames(waveform[:, None]).transpose(1, 2).relu()
        x = self.deep(x).relu() + x if deep else x
        return self.out(self.dropout(self.norm(x)))[..., 0]


class Loudness(Objective):
    """Two loss terms (a mean over frames and a mean over clips) for one or both depths in a step."""

    def __init__(self, manifest: Manifest, dropout: float = 0.0, ballast: int = 0, both: bool = False,
                 max_bad_share: float = 0.0) -> None:  # fmt: skip
        torch.manual_seed(0)
        self.model = Net(dropout, ballast)
        self.both, self.manifest, self.data = both, manifest, replace(DATA, max_bad_share=max_bad_share)
        self.seen: list[tuple[int, tuple[int, ...], Tensor]] = []  # (step, rows, totals) of each call of losses

    def frames(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Targets (B, T) and which frames are valid (B, T)."""
        count = batch.waveform.shape[1] // FRAME
        frames = batch.waveform[:, : count * FRAME].unflatten(1, (count, FRAME))
        valid = torch.arange(count) < (batch.lengths // FRAME)[:, None]
        return frames.square().mean(-1).sqrt().mul(10), valid

    def counts(self, batch: Batch, step: int) -> Tensor:
        return torch.tensor([float((batch.lengths // FRAME).sum()), float(len(batch.lengths))], dtype=torch.float64)

    def depths(self, step: int) -> tuple[bool, ...]:
        return (True, False) if self.both else (bool(np.random.default_rng([3, step]).integers(2)),)

    def losses(self, batch: Batch, step: int, totals: Tensor) -> Iterator[tuple[Tensor, dict[str, float | Tensor]]]:
        assert self.model.training
        self.seen.append((step, batch.rows, totals))
        target, valid = self.frames(batch)
        for deep in self.depths(step):
            error = (self.model(batch.waveform, deep)[:, : target.shape[1]] - target).square() * valid
            clips = (error.sum(1) / valid.sum(1).clamp_min(1)).sum()
            loss = (error.sum() / totals[0] + 0.1 * clips / totals[1]).float()
            yield loss, {"loss/deep" if deep else "loss/flat": loss.detach()}

    def evaluate(self, step: int, rank: int, world: int) -> dict[str, tuple[float, float]]:
        assert not self.model.training
        assert not torch.is_grad_enabled()
        sums = {"loss/deep": (0.0, 0.0), "loss/flat": (0.0, 0.0)}
        for number, batch in enumerate(islice(eval_batches(self.manifest, self.data, HUBERT), 2)):
            if number % world == rank:
                target, valid = self.frames(batch)
                for name, deep in (("loss/deep", True), ("loss/flat", False)):
                    error = (self.model(batch.waveform, deep)[:, : target.shape[1]].float() - target).abs() * valid
                    sums[name] = (sums[name][0] + float(error.sum()), sums[name][1] + float(valid.sum()))
        return sums

    def describe(self) -> dict[str, str]:
        return {"config": "a toy"}


def train(run_dir: str | Path, manifest: str | Path, *, seed: int = 1, dropout: float = 0.0, ballast: int = 0,
          both: bool = False, **config: object) -> tuple[Result, Loudness]:  # fmt: skip
    """One call of `run_training`, with short defaults."""
    clips = Manifest.read(manifest)
    objective = Loudness(clips, dropout, ballast, both)
    reader = Reader(clips, objective.data, HUBERT, seed=seed, rank=ranks.rank(), world=ranks.world())
    defaults = {"steps": 12, "lr": 0.01, "warmup_steps": 3, "save_every": 4, "eval_every": 6, "log_every": 3}
    return run_training(objective, reader, TrainConfig(**{**defaults, **config}), run_dir=run_dir, seed=seed), objective


def run_objective(
    run_dir: Path, objective: Loudness, seed: int = 1, **config: object
) -> tuple[dict[str, Tensor], object]:
    """A call of `run_training` with an objective of the test's own; (trained weights, the result)."""
    values = {"steps": 6, "lr": 0.01, "save_every": 100, "eval_every": 100, "log_every": 2, **config}
    reader = Reader(objective.manifest, objective.data, HUBERT, seed=seed)
    result = run_training(objective, reader, TrainConfig(**values), run_dir=run_dir, seed=seed)
    return {name: p.detach() for name, p in objective.model.named_parameters()}, result


class Interrupted(Loudness):
    """Sends itself signals while it computes the losses of a step."""

    at, signals = 4, (signal.SIGTERM,)

    def losses(self, *arguments):
        if arguments[1] == self.at:
            for number in self.signals:
                signal.raise_signal(number)
        return super().losses(*arguments)


class Poisoned(Loudness):
    """Losses times a factor in some steps."""

    factors: dict[int, float]

    def losses(self, batch, step, totals):
        for loss, parts in super().losses(batch, step, totals):
            yield loss * self.factors.get(step, 1.0), parts


def poisoned(manifest: Path, factors: dict[int, float]) -> Poisoned:
    objective = Poisoned(Manifest.read(manifest))
    objective.factors = factors
    return objective


if __name__ == "__main__":
    torch.set_num_threads(1)
    values = {}
    for argument in sys.argv[1:]:
        key, _, text = argument.partition("=")
        values[key] = text if key in ("run_dir", "manifest", "precision", "schedule") else json.loads(text)
    with ranks.session():
        train(**values)
