"""kill -9 at random moments, in the writing of a checkpoint too: the run ends with the bits of an uninterrupted one."""

from pathlib import Path

import pytest
from harness import Series


def command(manifest: Path, **changes: object) -> list[str]:
    """About a second of training with dropout, and 24 MB a checkpoint, so that kills land in writing."""
    recipe = {"steps": 48, "save_every": 3, "eval_every": 8, "log_every": 5, "dropout": 0.2, "ballast": 6_000_000}
    arguments = [f"{key}={value}" for key, value in {**recipe, **changes}.items()]
    return [str(Path(__file__).with_name("toy.py")), f"manifest={manifest}", *arguments]


@pytest.mark.slow  # tests/pretrain kills real runs in the same way
@pytest.mark.parametrize("ranks", [1, 2])
def test_two_kills(tmp_path: Path, manifest: Path, ranks: int) -> None:
    Series(command(manifest), str(tmp_path), kills=2, ranks=ranks).prove()


@pytest.mark.slow
@pytest.mark.parametrize(("ranks", "precision"), [(1, "fp16"), (2, "fp32")])
def test_ten_kills(tmp_path: Path, manifest: Path, ranks: int, precision: str) -> None:
    """With a new Python for every run, as people start them."""
    Series(command(manifest, steps=192, precision=precision), str(tmp_path), kills=10, ranks=ranks, fork=False).prove()
