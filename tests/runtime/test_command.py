"""A job from its arguments to its exit code, and what its errors leave."""

import errno
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from tiny import write_yaml

from lighthubert.config import Recipes
from lighthubert.runtime.command import Work, report_errors, run_job
from lighthubert.runtime.errors import StateError, UserError
from lighthubert.schema import Checked


@dataclass(frozen=True)
class Toy(Checked):
    """A toy."""

    run_dir: str
    """Where it works."""


def toy_job(folder: Path, run: Callable[[], int | None], *arguments: str) -> int:
    """A job whose work is `run`."""
    path = write_yaml(folder / "toy.yaml", {"run_dir": str(folder / "run")})
    about = ["a toy", "nothing more"]
    return run_job("toy", "A toy.", Recipes(Toy), lambda recipe, device: Work(about, run), [str(path), *arguments])


def failing(error: BaseException) -> Callable[[], int]:
    def run() -> int:
        raise error

    return run


@pytest.mark.parametrize(("answer", "code"), [(None, 0), (0, 0), (3, 3)])
def test_a_job_that_ends_well(tmp_path: Path, answer: int | None, code: int) -> None:
    assert toy_job(tmp_path, lambda: answer) == code
    assert not (tmp_path / "run/error.log").exists()


@pytest.mark.parametrize("error", [UserError("lr: too high"), StateError("run: damaged")])
def test_a_users_error(tmp_path: Path, capsys: pytest.CaptureFixture[str], error: UserError) -> None:
    assert toy_job(tmp_path, failing(error)) == 2
    assert capsys.readouterr().err == f"error: {error}\n"
    assert not (tmp_path / "run/error.log").exists()


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (RuntimeError("no\nluck"), 1),
        (ValueError("no luck"), 1),
        (OSError(errno.ENOSPC, "no luck"), 2),
        (ImportError("no luck"), 2),
    ],
)
def test_an_error_inside_leaves_its_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], error: Exception, code: int
) -> None:
    log = tmp_path / "run/error.log"
    assert toy_job(tmp_path, failing(error)) == code
    message = capsys.readouterr().err
    assert message.startswith(f"error: {type(error).__name__}: ")
    assert message.endswith(f"no luck (traceback in {log})\n")
    assert message.count("\n") == 1
    text = log.read_text()
    assert "Traceback (most recent call last):" in text
    assert "raise error" in text
    assert toy_job(tmp_path, failing(error)) == code
    assert log.read_text().startswith(text)
    assert log.read_text().count("Traceback (most") == 2


def test_ctrl_c(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert toy_job(tmp_path, failing(KeyboardInterrupt())) == 130
    assert capsys.readouterr().err == "stopped; the same command goes on\n"
    assert not (tmp_path / "run/error.log").exists()


def test_what_prepare_refuses_is_a_users_to_mend(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def prepare(recipe: Toy, device: torch.device) -> Work:
        raise ValueError(f"{Path(recipe.run_dir).name}: no good on {device}")

    path = write_yaml(tmp_path / "toy.yaml", {"run_dir": str(tmp_path / "run")})
    for arguments in ([], ["--check"]):
        assert run_job("toy", "A toy.", Recipes(Toy), prepare, [str(path), *arguments]) == 2
        assert capsys.readouterr().err.startswith("error: run: no good on c")
    assert not (tmp_path / "run/error.log").exists()


def test_check_runs_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert toy_job(tmp_path, failing(RuntimeError("it ran")), "--check") == 0
    assert capsys.readouterr().out == "a toy\nnothing more\n"
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("outcome", "code", "message"),
    [
        (None, 0, ""),
        (4, 4, ""),
        (ValueError("no such key"), 2, "error: no such key\n"),
        (FileNotFoundError(2, "No such file", "x"), 2, "error: [Errno 2] No such file: 'x'\n"),
        (ImportError("no s3prl"), 2, "error: no s3prl\n"),
        (KeyboardInterrupt(), 130, "stopped; the same command goes on\n"),
    ],
)
def test_exit_codes(
    capsys: pytest.CaptureFixture[str], outcome: int | BaseException | None, code: int, message: str
) -> None:
    command = failing(outcome) if isinstance(outcome, BaseException) else lambda: outcome
    assert report_errors(command) == code
    assert capsys.readouterr().err == message


def test_other_errors_are_not_swallowed() -> None:
    with pytest.raises(RuntimeError, match="a bug"):
        report_errors(failing(RuntimeError("a bug")))
    with pytest.raises(ValueError, match="a bug"):
        report_errors(failing(ValueError("a bug")), (StateError,))


def test_other_ranks_say_who_they_are(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "3")
    assert report_errors(failing(UserError("no luck"))) == 2
    assert capsys.readouterr().err == "error on rank 3: no luck\n"
