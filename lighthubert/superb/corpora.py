"""Files of a task that are not there: which, and under what setting they were looked for."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lighthubert.data import AudioError
from lighthubert.runtime.errors import UserError
from lighthubert.superb.benchmark import BENCHMARK

EXPERT = "config.downstream_expert"
# The benchmark's ten tasks need every file that their settings name. Those of other tasks may be theirs to write.
TASKS = {benchmark.downstream for benchmark in BENCHMARK.values()}


class CorpusError(UserError):
    """A file of a task's data that is missing or cannot be read."""


@contextlib.contextmanager
def watched(runner: Any) -> Iterator[None]:
    """While the context lasts, s3prl's runner (the module `run_downstream`) looks for the files of its settings before
    it starts, and an error that names a file below one of them becomes a CorpusError. Other errors stay as they are."""
    read = runner.get_downstream_args
    named: dict[str, list[str]] = {}

    def checked() -> tuple[Any, dict[str, Any], list[str]]:
        args, config, backup = read()
        named.update(paths(config.get("downstream_expert", {})))
        if args.downstream in TASKS:
            check(named)
        return args, config, backup

    runner.get_downstream_args = checked
    try:
        yield
    except (OSError, AssertionError, AudioError, RuntimeError) as error:
        line = explain(error, named)
        if line is None:
            raise
        raise CorpusError(line) from error
    finally:
        runner.get_downstream_args = read


def paths(settings: Mapping[str, Any], key: str = EXPERT) -> dict[str, list[str]]:
    """Every setting that names files or folders, by its whole key. A text with a slash does."""
    named: dict[str, list[str]] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            if value.get("decoder_type", "kenlm") == "kenlm":  # a language model that is not used need not be there
                named |= paths(value, f"{key}.{name}")
        else:
            names = [text for text in (value if isinstance(value, list) else [value]) if "/" in str(text)]
            named |= {f"{key}.{name}": names} if names else {}
    return named


def check(named: Mapping[str, list[str]]) -> None:
    """Raises CorpusError, which names all that are missing."""
    problems = [
        f"{key}: {name}: no such file or folder" + ("" if Path(name).is_absolute() else f" in {Path.cwd()}")
        for key, names in named.items()
        for name in names
        if not Path(name).exists()
    ]
    if problems:
        raise CorpusError("; ".join([*problems, '-o "KEY=PATH,,KEY=PATH" names others']))


def explain(error: Exception, named: Mapping[str, list[str]]) -> str | None:
    """An error in one line, and the setting whose file or folder it is about; None if it is about none of them."""
    if type(error) is RuntimeError and "in DataLoader worker" not in str(error):
        return None
    line = str(error).strip().rpartition("\n")[2]
    line = re.sub(r"^(\w+\.)*\w+Error: ", "", line)  # how a worker process tells it
    keys = {len(name): key for key, names in named.items() for name in names if name in line}
    return f"{line} (looked for under {keys[max(keys)]})" if keys else None
