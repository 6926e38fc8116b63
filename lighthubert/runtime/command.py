"""A command from its arguments to its exit code: 0, 2 for what a user can mend, 1 for what failed inside, 130 after
Ctrl-C."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

import torch

from lighthubert.runtime import process, ranks
from lighthubert.runtime.errors import UserError, one_line
from lighthubert.runtime.files import locked

MENDABLE = (ValueError, OSError, ImportError)  # of values and sizes, files, packages that are not installed


class JobRecipe(Protocol):
    """What the recipes of all jobs have; they are dataclasses."""

    @property
    def run_dir(self) -> str: ...


R = TypeVar("R", bound=JobRecipe)
R_co = TypeVar("R_co", bound=JobRecipe, covariant=True)


class Recipes(Protocol[R_co]):
    """The kinds of recipes that a job takes."""

    def read(self, path: str, overrides: list[str]) -> R_co: ...
    def help(self) -> str: ...


@dataclass(frozen=True)
class Work:
    """What a job is about to do: all files are read, all sizes fit, and nothing is written yet.

    about: lines that say what will run. run: does it; gives the exit code, None for 0.
    """

    about: Sequence[str]
    run: Callable[[], int | None]


def run_job(job: str, about: str, recipes: Recipes[R], prepare: Callable[[R, torch.device], Work],
            argv: Sequence[str] | None = None) -> int:  # fmt: skip
    """`lighthubert JOB RECIPE.yaml [key=value ...]`; returns the exit code.

    prepare: from a recipe to its work, on this rank's device. What it refuses is a user's to mend. The traceback of any
    other error, and of one when the work runs, stands in run_dir/error.log. The run's folder is held all the time.
    """
    parser = argparse.ArgumentParser(prog=f"lighthubert {job}", description=about, epilog=recipes.help(),
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("recipe", metavar="RECIPE.yaml")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="replaces a value of the recipe")
    parser.add_argument("--check", action="store_true", help="read recipe and files, say what would run, and end")
    args = parser.parse_intermixed_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")

    def work() -> int | None:
        recipe = recipes.read(args.recipe, args.overrides)
        if args.check:
            print("\n".join(prepare(recipe, torch.device("cpu")).about))
            return 0
        with ranks.session() as device, locked(Path(recipe.run_dir)):
            foreseen: tuple[type[Exception], ...] = MENDABLE
            try:
                run = prepare(recipe, device).run
                foreseen = (UserError,)
                return run()
            except foreseen:
                raise
            except Exception as error:
                raise _Inside(_write_traceback(Path(recipe.run_dir)), error) from error

    return report_errors(work)


class _Inside(Exception):
    """An error that no rule had foreseen, while a job ran; and where its traceback is."""

    def __init__(self, log: Path | None, error: Exception) -> None:
        super().__init__(log, error)
        self.code = 2 if isinstance(error, (OSError, ImportError)) else 1  # a full disk, a missing package

    def __str__(self) -> str:
        log, error = self.args
        where = f"traceback in {log}" if log else "its traceback could not be written"
        return f"{type(error).__name__}: {' '.join(str(error).split())} ({where})"


def report_errors(command: Callable[[], int | None], mendable: tuple[type[Exception], ...] = MENDABLE) -> int:
    """Run a command and give its exit code. Errors that a user can mend are one line on stderr."""
    process.started()
    try:
        code = command() or 0
        sys.stdout.flush()
        return code
    except _Inside as error:
        _say(f"error: {error}")
        return error.code
    except mendable as error:
        _say(f"error: {error}")
        return 2
    except KeyboardInterrupt:
        _say(process.STOPPED)
        return 130


def _say(message: str) -> None:
    """Most errors are the same on all ranks, but torchrun ends the slower ones before they can say theirs."""
    rank, message = os.environ.get("RANK", "0"), one_line(message)
    print(message if rank == "0" else message.replace("error:", f"error on rank {rank}:", 1), file=sys.stderr)


def _write_traceback(run_dir: Path) -> Path | None:
    """Add the traceback of the error at hand to run_dir/error.log, which all ranks share; None if the disk is full."""
    path = run_dir / "error.log"
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')}, rank {ranks.rank()}\n{traceback.format_exc()}\n")
    except OSError:
        return None
    return path
