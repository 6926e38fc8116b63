"""What all tests share."""

import os
from pathlib import Path

# One thread for each process, those that tests start included: two test workers then fill two cores, and sums
# come out in one order. Set before anything imports torch.
os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import pytest


@pytest.fixture(scope="session")
def repo_root() -> Path:
    """The checkout."""
    return Path(__file__).resolve().parents[1]


@pytest.fixture
def rng() -> np.random.Generator:
    """A generator that every test starts anew."""
    return np.random.default_rng(0)
