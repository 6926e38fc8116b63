"""The command `lighthubert`: a table of verbs, each the same as its `python -m`."""

import ast
import subprocess
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

from lighthubert.__main__ import VERBS, main

COMMAND = Path(sys.executable).with_name("lighthubert")


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*map(str, command)], capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=120)


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_lists_its_verbs(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["lighthubert", *arguments])
    main()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines if line.startswith("  ")] == list(VERBS)


def test_unknown_verb() -> None:
    done = run(sys.executable, "-m", "lighthubert", "pretrian", "--help")
    assert (done.returncode, done.stdout) == (2, "")
    assert "no verb 'pretrian'" in done.stderr
    assert "  pretrain" in done.stderr


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_is_its_module(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Installed and in a process of its own, it says what the module says."""
    room = f"lighthubert.{verb}"
    module = import_module(f"{room}.__main__" if find_spec(room).submodule_search_locations else room)  # type: ignore[union-attr]
    with pytest.raises(SystemExit) as stopped:
        module.main(["--help"])
    usage = capsys.readouterr().out
    assert not stopped.value.code
    assert usage.startswith("usage: ")
    command = run(COMMAND, verb, "--help")
    assert (command.returncode, command.stdout) == (0, usage), command.stderr


def test_a_verbs_exit_status_is_the_commands() -> None:
    done = run(COMMAND, "extract", "no-such-file.safetensors", "--largest", "-o", "subnet.safetensors")
    assert done.returncode == 2
    assert "no-such-file.safetensors" in done.stderr


def test_every_job_is_a_verb(repo_root: Path) -> None:
    package = repo_root / "lighthubert"
    folders = {path.parent.name for path in package.glob("*/__main__.py")}
    modules = {path.stem for path in package.glob("*.py") if "if __name__ ==" in path.read_text()} - {"__main__"}
    assert folders | modules == set(VERBS)


def test_the_command_itself_is_light(repo_root: Path) -> None:
    tree = ast.parse((repo_root / "lighthubert/__main__.py").read_text())
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    assert {alias.name for node in imports for alias in node.names} <= sys.stdlib_module_names
