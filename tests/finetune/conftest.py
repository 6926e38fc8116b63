"""Lets the tests of this folder import `labelled_world`, pretraining's `small` and training's `harness`."""

import sys
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).parent), *(str(Path(__file__).parents[1] / name) for name in ("pretrain", "train"))]


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny net and manifests of real clips with texts and classes."""
    from labelled_world import write_labelled_world

    return write_labelled_world(tmp_path_factory.mktemp("labelled"))
