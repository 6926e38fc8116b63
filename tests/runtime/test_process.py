"""A command whose terminal goes, and Ctrl-C before it has begun. In processes of their own, as people start them."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tiny import recipe_values, write_yaml

from lighthubert.runtime.stop import StopRequest


@pytest.fixture(scope="module")
def recipe(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a run of a second, with much to say."""
    train = {"steps": 3, "warmup_steps": 0, "eval_every": 9, "log_every": 1}
    return write_yaml(tmp_path_factory.mktemp("recipe") / "r.yaml", recipe_values(world, eval_archs=0, train=train))


def shell(text: str, recipe: Path, run: Path) -> subprocess.CompletedProcess[str]:
    command = f"{sys.executable} -m lighthubert.pretrain {recipe} run_dir={run}"
    return subprocess.run(["bash", "-c", text.format(command)], capture_output=True, text=True, check=False)


def test_closed_streams_end_nothing(recipe: Path, tmp_path: Path) -> None:
    """stdout is a pipe that nobody reads any more, and stderr is closed from the start."""
    done = shell("({} 2>&-; echo $? > " + str(tmp_path / "code") + ") | head -c 1", recipe, tmp_path / "run")
    assert (tmp_path / "code").read_text() == "0\n"
    assert len(done.stdout) == 1
    assert (tmp_path / "run/supernet.safetensors").exists()
    assert {path.stem for path in (tmp_path / "run/subnets").iterdir()} == {"largest", "smallest"}
    assert not (tmp_path / "run/error.log").exists()


def test_a_lost_stdout_is_told(tmp_path: Path) -> None:
    done = shell("{} --help | true; exit ${{PIPESTATUS[0]}}", tmp_path, tmp_path)
    assert (done.returncode, done.stderr) == (0, "stdout is closed: goes on without it\n")


def test_a_full_disk_behind_stdout_is_told(recipe: Path, tmp_path: Path) -> None:
    done = shell("{} --check > /dev/full", recipe, tmp_path)
    assert (done.returncode, done.stderr) == (2, "error: [Errno 28] No space left on device: 'stdout'\n")


def test_ctrl_c_while_torch_is_imported(recipe: Path, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "lighthubert.pretrain", str(recipe), f"run_dir={tmp_path / 'run'}"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        maps = Path(f"/proc/{process.pid}/maps")
        while "libtorch_cpu" not in maps.read_text():
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, "", "\nstopped; the same command goes on\n")
    assert not (tmp_path / "run").exists()


def test_sighup_is_a_request_unless_it_is_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    try:
        with StopRequest() as stop:
            signal.raise_signal(signal.SIGHUP)
            assert stop.signal == "SIGHUP"
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as under nohup
        with StopRequest() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not stop.signal
    finally:
        signal.signal(signal.SIGHUP, before)
