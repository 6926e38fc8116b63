"""Two ranks of torchrun (gloo) against one process: the same sums, the same weights, the same reaction to signals."""

import hashlib
import os
import signal
from pathlib import Path

import harness
import pytest
import torch
import toy
from tiny import HUBERT

from lighthubert.data import Manifest, plan
from lighthubert.runtime import ranks
from lighthubert.train import optim

HERE = Path(__file__).parent


def even_seed(manifest: Path) -> int:
    """A seed whose first epochs have even numbers of batches: two ranks then drop none, and see what one rank sees."""
    samples = Manifest.read(manifest).samples
    return next(s for s in range(1000) if all(len(plan(samples, toy.DATA, HUBERT, s, e)) % 2 == 0 for e in range(1, 7)))


def test_without_a_group_there_is_one_rank() -> None:
    weight = torch.nn.Parameter(torch.zeros(2))
    with ranks.session() as device:
        assert (ranks.rank(), ranks.world(), device.type) == (0, 1, "cpu")
        assert optim.sum_gradients([weight], torch.tensor(2.0)) == 2
        assert weight.grad is None
        assert ranks.gather(3) == [3]
        assert ranks.interleave([1, 2]) == [1, 2]
        with pytest.raises(KeyError):
            ranks.on_first(lambda: {}[0])


def test_two_ranks_equal_one_that_accumulates(tmp_path: Path, manifest: Path) -> None:
    """Weights to 1e-5 after 12 steps of AdamW, held-out losses to 1e-5, and the same audio."""
    seed = even_seed(manifest)
    command = [str(HERE / "two_ranks.py"), str(tmp_path / "two"), str(manifest), str(seed)]
    harness.finish(command, tmp_path / "output.txt", ranks=2, fork=True)
    toy.train(tmp_path / "one", manifest, seed=seed, accumulate=2)
    one, two = harness.newest(tmp_path / "one"), harness.newest(tmp_path / "two")
    for name, weight in one["model"].items():
        torch.testing.assert_close(two["model"][name], weight, rtol=0, atol=1e-5, msg=name)
    assert one["progress"]["audio_seconds"] == pytest.approx(two["progress"]["audio_seconds"])
    for a, b in zip(harness.evals(tmp_path / "one"), harness.evals(tmp_path / "two"), strict=True):
        assert a["values"] == pytest.approx(b["values"], rel=1e-5)


@pytest.mark.parametrize(("number", "world"), [(signal.SIGINT, 1), (signal.SIGTERM, 2)])
def test_a_signal_stops_cleanly(tmp_path: Path, manifest: Path, number: signal.Signals, world: int) -> None:
    run_dir = tmp_path / "run"
    command = [str(HERE / "toy.py"), f"run_dir={run_dir}", f"manifest={manifest}", "steps=1000000", "save_every=50"]
    with harness.job(command, tmp_path / "output.txt", world, fork=world == 1) as job:
        job.wait_until(lambda: any(run_dir.glob("checkpoints/*.pt")), "the first checkpoint")
        os.kill(job.pid, number)  # torchrun passes it on
        code = job.wait()
        text = job.text()
    step = harness.newest(run_dir)["progress"]["step"]
    assert f"{number.name}: finishing the step" in text
    assert f"stopped by {number.name} after step {step} of 1000000; the same command resumes" in text
    assert not any(run_dir.glob("checkpoints/.*.part"))
    assert world > 1 or code == 0  # torchrun's own code is 1


def test_ranks_cannot_change(tmp_path: Path, manifest: Path) -> None:
    toy.train(tmp_path, manifest, steps=4)
    path = next(tmp_path.glob("checkpoints/*.pt"))
    content = harness.newest(tmp_path)
    content["recipe"]["ranks"] = "2"
    torch.save(content, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    path.with_name(path.name + ".sha256").write_text(f"{digest}  {path.name}\n")
    with pytest.raises(ValueError, match="ranks was 2, is 1"):
        toy.train(tmp_path, manifest, steps=4)
