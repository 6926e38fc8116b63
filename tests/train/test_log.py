"""What a run tells: TensorBoard, evals.jsonl, the best checkpoint, the progress line."""

import math
import os
import pty
import sys
from contextlib import suppress
from pathlib import Path

import harness
import pytest
import torch
import toy
from tiny import HUBERT

from lighthubert.data import Manifest, Reader
from lighthubert.runtime.progress import ProgressLine


class Scripted(toy.Loudness):
    """Held-out losses by the book."""

    values: dict[int, float]

    def evaluate(self, step: int, rank: int, world: int) -> dict[str, tuple[float, float]]:
        return {"loss/a": (2 * self.values[step], 2.0), "loss/b": (self.values[step], 1.0), "hits": (1e9 * step, 1.0)}


def scalars(run_dir: Path) -> dict[str, list[tuple[int, float]]]:
    """(step, value) of every scalar, as TensorBoard shows them."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run_dir / "tensorboard"), {"scalars": 0, "tensors": 0, "images": 0}).Reload()
    assert set(events.Tags()["tensors"]) == {"config/text_summary"}
    return {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def test_the_log_of_a_resumed_run_has_every_step_once(tmp_path: Path, manifest: Path) -> None:
    whole, resumed = tmp_path / "whole", tmp_path / "resumed"
    toy.train(whole, manifest, both=True, log_every=2)
    toy.train(resumed, manifest, both=True, log_every=2)
    for path in resumed.glob("checkpoints/step_00000012*"):  # as if killed before the last checkpoint
        path.unlink()
    toy.train(resumed, manifest, both=True, log_every=2)
    a, b = scalars(whole), scalars(resumed)
    assert a.keys() == b.keys()
    assert [step for step, _ in a["train/loss/deep"]] == [2, 4, 6, 8, 10, 12]
    for tag in a:
        assert [step for step, _ in a[tag]] == [step for step, _ in b[tag]], tag
        if "per_second" not in tag and "wait" not in tag:
            assert a[tag] == b[tag]
    assert [s for s, _ in a["eval/loss/flat"]] == [0, 6, 12]


def test_what_is_logged(tmp_path: Path, manifest: Path) -> None:
    """Means over the window, sums over batches, shares and seconds, against the clips themselves."""

    class Painted(toy.Poisoned):
        def figures(self, history):
            from matplotlib.figure import Figure

            assert [entry["step"] for entry in history] in ([0], [0, 6])
            return {"curve": Figure()}

        def losses(self, batch, step, totals):
            for loss, _ in super().losses(batch, step, totals):
                yield (
                    loss,
                    {"loss/x": step + 1.0, "loss/odd": torch.tensor(3.0)} if step % 2 else {"loss/x": step + 1.0},
                )

    objective = Painted(Manifest.read(manifest))
    objective.factors = {5: math.nan}
    toy.run_objective(tmp_path, objective, accumulate=2, log_every=3, lr=0.01)
    found = scalars(tmp_path)
    assert found["train/loss/x"] == [(3, 2 * (1 + 2 + 3) / 3), (6, 2 * (4 + 5) / 2)]  # the 6th step was skipped
    assert found["train/loss/odd"] == [(3, 6.0), (6, 6.0)]  # a mean over the steps that have it
    assert found["optim/bad_steps"] == [(3, 0), (6, 1)]
    assert found["optim/learning_rate"] == [(3, pytest.approx(0.01 * 4 / 6)), (6, pytest.approx(0.01 / 6))]
    assert found["data/skipped_files"] == [(3, 0), (6, 0)]
    reader = Reader(objective.manifest, objective.data, HUBERT, seed=1)
    batches = [next(reader) for _ in range(12)]
    padded = [sum(b.waveform.numel() for b in batches[i : i + 6]) / 16000 for i in (0, 6)]
    audio = [sum(b.seconds for b in batches[i : i + 6]) for i in (0, 6)]
    expected = [pytest.approx(1 - a / p, abs=1e-6) for a, p in zip(audio, padded, strict=True)]
    assert [value for _, value in found["data/padding_share"]] == expected
    evals = harness.evals(tmp_path)
    assert [entry["step"] for entry in evals] == [0, 6]
    assert evals[1]["audio_seconds"] == pytest.approx(sum(audio))
    assert 0 < evals[0]["wall_seconds"] < evals[1]["wall_seconds"]


def test_the_best_checkpoint_stays(tmp_path: Path, manifest: Path) -> None:
    objective = Scripted(Manifest.read(manifest))
    objective.values = {0: 0.1, 2: 3.0, 4: 2.0, 6: math.nan, 8: 2.5, 9: 4.0}
    toy.run_objective(tmp_path, objective, steps=9, eval_every=2, save_every=3, keep_last=1)
    assert [p.name for p in sorted(tmp_path.glob("checkpoints/*.pt"))] == ["step_00000004.pt", "step_00000009.pt"]
    values = [entry["values"]["loss/a"] for entry in harness.evals(tmp_path)]
    assert values == [0.1, 3.0, 2.0, None, 2.5, 4.0]


def test_progress_lines(capsys: pytest.CaptureFixture[str], tmp_path: Path, manifest: Path) -> None:
    toy.train(tmp_path, manifest, both=True)
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(",")[0].split("  ")[0] for line in lines] == ["step 3/12", "step 12/12"]  # the rest is too soon
    assert all(word in lines[-1] for word in ("deep", "flat", "lr", "audio s/s"))


def test_the_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    main, end = pty.openpty()
    monkeypatch.setenv("TERM", "xterm")
    with open(end, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        line = ProgressLine(5, 20)
        for step in range(6, 21):
            line.update(step, "loss 0.5")
        line.close()
    text = b""
    with suppress(OSError):  # the end of a pseudo terminal
        while block := os.read(main, 4096):
            text += block
    os.close(main)
    assert b"20/20" in text
    assert b"loss 0.5" in text
