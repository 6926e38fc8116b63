"""s3prl itself: where it is, and how it is opened."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

from lighthubert.superb.upstream import lighthubert

CHECKOUT = "set S3PRL_ROOT to the folder of a git checkout of s3prl"
INSTALL = "pip install 'lighthubert[superb]'"


class LaunchError(ValueError):
    """A command that cannot be started, and what to do about it."""


def find_s3prl(root: str | None) -> Path:
    """The folder of the package; a checkout (S3PRL_ROOT) is put before an installed one. Raises LaunchError."""
    if root is not None:
        if not Path(root, "s3prl", "run_downstream.py").is_file():
            raise LaunchError(f"S3PRL_ROOT={root}: holds no s3prl/run_downstream.py; {CHECKOUT}")
        sys.path.insert(0, str(Path(root).resolve()))
    spec = find_spec("s3prl")
    if spec is None or not spec.submodule_search_locations:
        raise LaunchError(f"s3prl is not installed: {INSTALL}, or {CHECKOUT}")
    return Path(spec.submodule_search_locations[0])


@contextmanager
def opened() -> Iterator[ModuleType]:
    """s3prl.run_downstream, with what it lacks, and our nets among its upstreams, for as long as the context lasts."""
    from lighthubert.superb.compat import patched  # needs torchaudio, which the checks before do not

    with patched():
        from s3prl import hub, run_downstream

        hub.lighthubert = lighthubert
        yield run_downstream


def missing(error: ModuleNotFoundError) -> str:
    """What to do about a module that is not there."""
    if error.name and error.name.startswith("s3prl."):
        return f"{error}: no such task, or one that the published package of s3prl lacks ({CHECKOUT})"
    return f"{error}, which s3prl needs: {INSTALL}"
