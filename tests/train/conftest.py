"""Lets the tests of this folder import `toy` and `harness`, and makes the clips that they train on."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A manifest of 24 short wav files of noise."""
    from toy import write_clips

    return write_clips(tmp_path_factory.mktemp("clips"))
