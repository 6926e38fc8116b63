"""What all tests share."""

import os
from pathlib import Path

# One thread for each process, those that tests start included: two test workers then fill two cores, and sums
# come out in one order. Set before anything imports torch.
os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import pytest
from tiny import write_world


@pytest.fixture(scope="session")
def repo_root() -> Path:
    """The checkout."""
    return Path(__file__).resolve().parents[1]


@pytest.fixture
def rng() -> np.random.Generator:
    """A generator that every test starts anew."""
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny teacher, spaces, a supernet, and a few clips of the embedded corpus."""
    return write_world(tmp_path_factory.mktemp("world"))
