"""Files of tiny nets; s3prl, if it is there."""

import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from tiny import write_nets

from lighthubert.superb.__main__ import find_s3prl
from lighthubert.superb.upstream import lighthubert


def pytest_configure(config: pytest.Config) -> None:
    """s3prl's own tests, which one test here runs, carry a mark that must be known."""
    config.addinivalue_line("markers", "upstream: s3prl's, unused here")


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder with net.safetensors, supernet.safetensors and arch.yaml, an arch of the latter."""
    write_nets(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def package() -> Path:
    """The folder of s3prl: S3PRL_ROOT, or the package that `make` installs."""
    return find_s3prl(os.environ.get("S3PRL_ROOT"))


@pytest.fixture(scope="module")
def s3prl(package: Path) -> Iterator[ModuleType]:
    """s3prl.nn with our upstream among its own, while the patches last."""
    from lighthubert.superb.compat import patched

    with patched(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its imports are full of deprecated calls
        from s3prl import hub, nn

        hub.lighthubert = lighthubert
        yield nn
