"""Lets the tests of this folder import what those of pre-training share: `small` and `harness`."""

import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
sys.path[:0] = [str(TESTS / "pretrain"), str(TESTS / "train")]


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny teacher and a few clips of the embedded corpus."""
    from small import write_world

    return write_world(tmp_path_factory.mktemp("world"))
