"""`lighthubert superb`: what it hands to s3prl's runner, and what it says of commands that cannot start.

s3prl is a stand-in here, three files that print what they were called with."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lighthubert.superb import __main__ as superb
from lighthubert.superb import package

RUNNER = """
import json, sys
from argparse import Namespace
from s3prl import hub

def get_downstream_args():
    return Namespace(downstream="task"), {}, []

def main():
    words = sys.argv[1:]
    value = dict(zip(words[::2], words[1::2]))
    upstream = getattr(hub, value["-u"])(ckpt=value["-k"], model_config=value.get("-g"), refresh=False)
    print(json.dumps([value, upstream.net.config.embed_dim]))
"""


@pytest.fixture
def root(files: Path) -> Path:
    """The folder of a stand-in for s3prl, with the settings of one task; nets lie beside it."""
    task = files / "s3prl" / "downstream" / "task"
    task.mkdir(parents=True)
    (task / "config.yaml").write_text("{}")
    for name, text in (("__init__", ""), ("hub", ""), ("run_downstream", RUNNER)):
        (files / "s3prl" / f"{name}.py").write_text(text)
    return files


def launch(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "lighthubert.superb", *arguments]
    environment = os.environ | {"S3PRL_ROOT": str(root), "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=120)


def test_what_the_runner_is_given(root: Path) -> None:
    done = launch(root, "-m", "train", "-k", "supernet.safetensors", "--arch", "arch.yaml", "-d", "task", "-p", "run")
    assert (done.returncode, done.stderr) == (0, "")
    value, embed_dim = json.loads(done.stdout)
    assert value == {
        "-m": "train",
        "-p": "run",
        "-u": "lighthubert",
        "-k": str(root / "supernet.safetensors"),  # whole: the task's checkpoint remembers them
        "-g": str(root / "arch.yaml"),
        "-d": "task",
        "-c": str(root / "s3prl/downstream/task/config.yaml"),
        "--device": "cpu",
    }
    assert embed_dim == 16


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-d", "task"], "-k: is missing; it names the net to evaluate"),
        (["-d", "task", "-k", "none.pt"], "none.pt: no such file or folder"),
        (["-d", "task", "-k", "net.safetensors", "--arch", "smallest"], "holds a single net, not a supernet"),
        (["-d", "task", "-k", "supernet.safetensors"], "say which of its subnets, --arch ARCH.yaml, --arch largest"),
        (["-d", "task", "-k", "supernet.safetensors", "--arch", "none.yaml"], "none.yaml"),
        (["-d", "task", "-u", "fbank", "--arch", "largest"], "not of -u fbank"),
        (["-d", "other", "-k", "net.safetensors"], "other/config.yaml: no such file; give the settings of the task"),
        (["-d", "task", "-k", "net.safetensors", "-c", "none.yaml"], "-c none.yaml: no such file"),
        (["-e", "none.ckpt"], "-e none.ckpt: no such file or folder"),
    ],
)
def test_what_cannot_start(
    root: Path,
    arguments: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(root)
    monkeypatch.setattr(superb, "find_s3prl", lambda _: root / "s3prl")
    assert superb.main(["-m", "train", *arguments]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n"), err[:7]) == ("", 1, "error: ")
    assert message in err


def test_without_s3prl(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("S3PRL_ROOT", raising=False)
    monkeypatch.setattr(package, "find_spec", lambda _: None)
    assert superb.main(["-m", "train"]) == 2
    assert "s3prl is not installed: pip install 'lighthubert[superb]', or set S3PRL_ROOT" in capsys.readouterr().err


def test_a_checkout_that_is_none(tmp_path: Path) -> None:
    done = launch(tmp_path, "-m", "train")
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: S3PRL_ROOT={tmp_path}: holds no s3prl/run_downstream.py")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("import pandaz", "error: No module named 'pandaz', which s3prl needs: pip install 'lighthubert[superb]'\n"),
        ("import s3prl.downstream.ctc", "error: No module named 's3prl.downstream.ctc': no such task, or one that the"),
    ],
)
def test_a_module_that_s3prl_misses(root: Path, line: str, message: str) -> None:
    (root / "s3prl" / "run_downstream.py").write_text(f"get_downstream_args = None\ndef main():\n    {line}\n")
    done = launch(root, "-m", "train", "-k", "net.safetensors", "-d", "task")
    assert done.returncode == 2
    assert done.stderr.startswith(message)


def test_a_net_that_has_moved(root: Path) -> None:
    """The stand-in reads no checkpoint of a task: -k stands for what s3prl finds in one."""
    (root / "states-4.ckpt").touch()
    done = launch(root, "-m", "evaluate", "-e", "states-4.ckpt", "-k", "moved.safetensors")
    assert done.returncode == 2
    assert done.stderr == (
        "error: moved.safetensors: no such file or folder "
        "(so says the task's checkpoint; -o \"args.upstream_ckpt='FILE'\" names another)\n"
    )
