"""What a step computes, and which steps are not taken. One rank, one process."""

import itertools
import logging
import math
from pathlib import Path

import harness
import pytest
import torch
import toy
from tiny import HUBERT
from torch import Tensor, nn

from lighthubert.data import Manifest, Reader
from lighthubert.train import TrainingError


def test_a_run_is_what_plain_torch_computes(tmp_path: Path, manifest: Path) -> None:
    """Accumulation, totals, decay groups, clipping and schedule, against one loss over all clips and torch's parts."""
    objective = toy.Loudness(Manifest.read(manifest), both=True)
    found, _ = toy.run_objective(tmp_path, objective, accumulate=2, clip_norm=0.05, weight_decay=0.3, schedule="poly")

    twin = toy.Loudness(objective.manifest)
    weights = dict(twin.model.named_parameters())
    matrices = [p for p in weights.values() if p.requires_grad and p.ndim > 1]
    vectors = [p for p in weights.values() if p.requires_grad and p.ndim == 1]
    groups = [{"params": matrices, "weight_decay": 0.3}, {"params": vectors, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=0.01, betas=(0.9, 0.98), eps=1e-6)
    schedule = torch.optim.lr_scheduler.PolynomialLR(optimizer, total_iters=6)
    reader = Reader(twin.manifest, toy.DATA, HUBERT, seed=1)
    for _ in range(6):
        errors = []  # of every clip, for both depths: (T,) each
        for batch in (next(reader), next(reader)):
            target, valid = twin.frames(batch)
            for deep in (True, False):
                error = (twin.model(batch.waveform, deep)[:, : target.shape[1]] - target).square()
                errors += [row[keep] for row, keep in zip(error, valid, strict=True)]
        loss = 2 * torch.cat(errors).mean() + 0.2 * torch.stack([e.mean() for e in errors]).mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(matrices + vectors, 0.05)
        optimizer.step()
        schedule.step()
    for name, weight in weights.items():
        torch.testing.assert_close(found[name], weight.detach(), rtol=1e-4, atol=1e-6, msg=name)


def test_weights_that_no_subnet_uses_stay(tmp_path: Path, manifest: Path) -> None:
    class Flat(toy.Loudness):
        def depths(self, step: int) -> tuple[bool, ...]:
            return (False,)

    objective = Flat(Manifest.read(manifest))
    before = objective.model.deep.weight.detach().clone()
    toy.run_objective(tmp_path, objective, weight_decay=0.5)
    assert torch.equal(objective.model.deep.weight, before)
    assert len(harness.newest(tmp_path)["optimizer"]["state"]) == 6  # no moments for deep.weight and deep.bias


def test_autocast_covers_the_forward_pass_alone(tmp_path: Path, manifest: Path) -> None:
    kinds = {"forward": set(), "backward": set()}

    class Watched(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            y = super().forward(x)
            kinds["forward"].add((y.dtype, torch.is_autocast_enabled("cpu")))
            y.requires_grad and y.register_hook(
                lambda grad: kinds["backward"].add((grad.dtype, torch.is_autocast_enabled("cpu")))
            )
            return y

    objective = toy.Loudness(Manifest.read(manifest))
    objective.model.deep = Watched(16, 16)
    toy.run_objective(tmp_path, objective, precision="bf16")
    assert kinds == {"forward": {(torch.bfloat16, True)}, "backward": {(torch.bfloat16, False)}}
    assert all(p.dtype == torch.float32 for p in objective.model.parameters())


def test_the_loss_falls(tmp_path: Path, manifest: Path) -> None:
    for precision in ("fp32", "bf16", "fp16"):
        run_dir = tmp_path / precision
        result, _ = toy.train(run_dir, manifest, both=True, steps=40, eval_every=40, lr=0.02, precision=precision)
        first, last = (entry["values"] for entry in result.evals)
        assert all(last[name] < 0.8 * first[name] for name in first), precision


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("factor", [math.nan, math.inf])
def test_a_bad_step_is_skipped_and_counted(tmp_path: Path, manifest: Path, factor: float, precision: str) -> None:
    weights = []

    class Watched(toy.Poisoned):
        def losses(self, *arguments):
            weights.append(self.model.out.weight.detach().clone())
            return super().losses(*arguments)

    objective = Watched(Manifest.read(manifest))
    objective.factors = {2: factor}
    toy.run_objective(tmp_path, objective, precision=precision, accumulate=1, log_every=1)
    weights.append(objective.model.out.weight.detach())
    changed = [not torch.equal(a, b) for a, b in itertools.pairwise(weights)]
    saved = harness.newest(tmp_path)
    assert saved["progress"]["bad_steps"] == changed.count(False)
    if precision == "fp32":
        assert changed == [True, True, False, True, True, True]
        assert saved["progress"]["bad_in_a_row"] == 0
    else:  # the first scale is too large for some other steps
        assert not changed[2]
        assert saved["scaler"]["scale"] == 2.0 ** (16 - changed.count(False))


def test_loss_or_gradient_alone_can_be_bad(tmp_path: Path, manifest: Path) -> None:
    class Odd(toy.Loudness):
        def losses(self, batch, step, totals):
            for loss, parts in super().losses(batch, step, totals):
                steep = (loss - loss.detach()).sqrt()  # 0, with an infinite slope
                yield {1: steep, 3: loss + math.inf}.get(step, loss), parts

    toy.run_objective(tmp_path, Odd(Manifest.read(manifest)))
    assert harness.newest(tmp_path)["progress"]["bad_steps"] == 2


def test_too_many_bad_steps_stop_the_run(tmp_path: Path, manifest: Path) -> None:
    good = toy.poisoned(manifest, {1: math.nan, 2: math.nan, 4: math.nan, 5: math.nan})
    toy.run_objective(tmp_path / "good", good, max_bad_steps=3)
    with pytest.raises(TrainingError, match=r"step 4: loss nan, gradient norm nan; 3 bad steps in a row"):
        toy.run_objective(tmp_path / "bad", toy.poisoned(manifest, dict.fromkeys((1, 2, 3), math.nan)), max_bad_steps=3)


def test_a_run_that_learnt_nothing_fails(tmp_path: Path, manifest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of one that learnt something, both lines say how many steps were skipped."""
    with pytest.raises(TrainingError, match="step 6: loss nan, gradient norm nan; 6 bad steps in a row"):
        toy.run_objective(tmp_path / "none", toy.poisoned(manifest, dict.fromkeys(range(6), math.nan)))
    toy.run_objective(tmp_path / "one", toy.poisoned(manifest, dict.fromkeys((0, 1, 2, 4, 5), math.nan)))
    told = capsys.readouterr()
    assert told.out == f"{tmp_path / 'one'}: finished, all 6 steps are done; 5 of them were skipped\n"
    assert told.err.splitlines()[-1].endswith("  skipped steps: 5")
    with pytest.raises(ValueError, match="max_bad_steps: must be from 1 to 100, got 101"):
        toy.run_objective(tmp_path / "more", toy.Loudness(Manifest.read(manifest)), max_bad_steps=101)


def test_batches_without_clips(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Unreadable files cost clips, whole batches, and at last a step; the others count as ever."""
    manifest = toy.write_clips(tmp_path)
    for number in range(16):
        (tmp_path / f"{number}.wav").write_bytes(b"no audio")
    objective = toy.Loudness(Manifest.read(manifest), max_bad_share=1.0)
    with caplog.at_level(logging.ERROR):
        toy.run_objective(tmp_path / "run", objective, steps=12, accumulate=1, max_bad_steps=6)
    rows = [row for _, rows, _ in objective.seen for row in rows]
    assert rows
    assert min(rows) >= 16
    saved = harness.newest(tmp_path / "run")["progress"]
    assert saved["bad_steps"] == 12 - len(objective.seen) > 0
    assert all(totals[1] == len(rows) for _, rows, totals in objective.seen)


def test_what_cannot_be_trained_is_refused(tmp_path: Path, manifest: Path) -> None:
    objective = toy.Loudness(Manifest.read(manifest))
    with pytest.raises(ValueError, match="checkpoint_layers: Net cannot"):
        toy.run_objective(tmp_path, objective, checkpoint_layers=True)
    objective.model.out.half()
    with pytest.raises(ValueError, match=r"float32.*out.weight \(torch.float16\), out.bias"):
        toy.run_objective(tmp_path, objective)
    objective.model.requires_grad_(False)
    with pytest.raises(ValueError, match="no parameter"):
        toy.run_objective(tmp_path, objective)
