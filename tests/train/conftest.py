"""The clips that the tests of this folder train on."""

from pathlib import Path

import pytest
from toy import write_clips


@pytest.fixture(scope="session")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A manifest of 24 short wav files of noise."""
    return write_clips(tmp_path_factory.mktemp("clips"))
