"""s3prl itself: where it is, and how it is opened."""

from __future__ import annotations

import builtins
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

from lighthubert.runtime.errors import UserError
from lighthubert.superb.corpora import watched
from lighthubert.superb.upstream import lighthubert

CHECKOUT = "set S3PRL_ROOT to the folder of a git checkout of s3prl"
INSTALL = "pip install 'lighthubert[superb]'"


class LaunchError(UserError):
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
    """s3prl.run_downstream, with what it lacks, and our nets among its upstreams, for as long as the context lasts.

    Modules that are not there, now or later in the context, are a LaunchError.
    """
    try:
        from lighthubert.superb.compat import patched  # needs torchaudio, which the checks before do not

        with patched():
            from s3prl import hub, run_downstream

            hub.lighthubert = lighthubert
            yield run_downstream
    except ModuleNotFoundError as error:
        if error.name and error.name.startswith("s3prl."):
            advice = f": no such task, or one that the published package of s3prl lacks ({CHECKOUT})"
        else:
            advice = f", which s3prl needs: {INSTALL}"
        raise LaunchError(f"{error}{advice}") from error


def call(s3prl: Any, arguments: Sequence[str]) -> None:
    """Hand over to s3prl's runner, which reads sys.argv. Raises CorpusError if the task's data are not there."""
    isinstance_ = builtins.isinstance  # it wraps this once more each time
    sys.argv = ["lighthubert superb", *arguments]
    with watched(s3prl):
        s3prl.main()
    builtins.isinstance = isinstance_


def options(values: Mapping[str, Any]) -> list[str]:
    """The words of a command line, without values that are None."""
    return [word for name, value in values.items() if value is not None for word in (name, str(value))]


def absolute(path: str | None) -> str | None:
    """A task's checkpoint remembers the name of the net's file: one that holds in any folder. Other names stay."""
    return str(Path(path).resolve()) if path is not None and Path(path).exists() else path
