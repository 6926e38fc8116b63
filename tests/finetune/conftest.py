"""A world whose clips have labels."""

from pathlib import Path

import pytest
from tiny import write_labelled_world


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny net and manifests of real clips with texts and classes."""
    return write_labelled_world(tmp_path_factory.mktemp("labelled"))
