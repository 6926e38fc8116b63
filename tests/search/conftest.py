"""Lets the tests of this folder import `small` and the training room's `harness`; the files that they share."""

import sys
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "train")]


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny supernet, its teacher, and a few clips of the embedded corpus."""
    from tiny_space import write_world

    return write_world(tmp_path_factory.mktemp("search"))
