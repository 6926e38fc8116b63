"""Missing files of a task: one line that names them and the setting, before the task starts or when it meets them."""

import os
import subprocess
import sys
from argparse import Namespace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import tiny_tasks
import torch
from torch.utils.data import DataLoader

from lighthubert.config import read_yaml
from lighthubert.data import AudioError
from lighthubert.superb.compat import load
from lighthubert.superb.corpora import TASKS, CorpusError, check, paths, watched

KEY = "config.downstream_expert.datarc.root"


@pytest.mark.parametrize("task", tiny_tasks.TASKS)
def test_every_setting_that_names_a_file(task: str, tmp_path: Path) -> None:
    """Where the data are there, nothing is said; where they have gone, each key is."""
    made = tiny_tasks.write(task, tmp_path / "data")
    assert made.downstream in TASKS
    settings = read_yaml(tmp_path / "data/settings.yaml")["downstream_expert"]
    named = paths(settings)
    assert str(settings).count(str(tmp_path)) == sum(map(len, named.values()))  # none is overlooked
    check(named)
    (tmp_path / "data").rename(tmp_path / "gone")
    with pytest.raises(CorpusError) as caught:
        check(named)
    *problems, advice = str(caught.value).split("; ")
    assert problems == [f"{key}: {name}: no such file or folder" for key, names in named.items() for name in names]
    assert advice == '-o "KEY=PATH,,KEY=PATH" names others'


def test_a_relative_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """s3prl's settings hold names that are meant from one folder."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CorpusError, match=f"x: ./a/b.txt: no such file or folder in {tmp_path};"):
        check(paths({"x": "./a/b.txt"}))


def test_a_language_model_that_is_not_used() -> None:
    decoder = {"decoder_type": "None", "lexicon": "/none/lexicon.lst"}
    assert paths({"decoder_args": decoder}) == {}
    assert list(paths({"decoder_args": decoder | {"decoder_type": "kenlm"}}).values()) == [["/none/lexicon.lst"]]


class Clips:
    """A data set of one clip, read as s3prl's tasks read theirs."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __len__(self) -> int:
        return 1

    def __getitem__(self, _: int) -> torch.Tensor:
        return load(self.path)[0] if self.path.suffix == ".wav" else torch.tensor(len(self.path.read_text()))


def run(root: Path, task: Any, downstream: str = "emotion") -> None:
    config = {"downstream_expert": {"datarc": {"root": str(root), "meta": str(root / "lists")}}}
    runner = SimpleNamespace(get_downstream_args=lambda: (Namespace(downstream=downstream), config, []))
    with watched(runner):
        runner.get_downstream_args()
        task()


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a.txt", "[Errno 2] No such file or directory: '{path}' (looked for under {key})"),
        ("a.wav", "{path}: cannot be decoded: No such file or directory (looked for under {key})"),
    ],
)
def test_a_file_below_a_setting(tmp_path: Path, name: str, message: str, workers: int) -> None:
    """In the process of the task, and in those that read for it."""
    (tmp_path / "lists").mkdir()
    path = tmp_path / name
    with pytest.raises(CorpusError) as caught:
        run(tmp_path, lambda: list(DataLoader(Clips(path), num_workers=workers)))
    assert str(caught.value) == message.format(path=path, key=KEY)


def test_the_nearest_setting(tmp_path: Path) -> None:
    (tmp_path / "lists").mkdir()
    with pytest.raises(CorpusError, match=r"looked for under config.downstream_expert.datarc.meta\)"):
        run(tmp_path, (tmp_path / "lists" / "train.json").read_text)


def fail(error: Exception) -> None:
    raise error


@pytest.mark.parametrize(
    "error",
    [
        FileNotFoundError(2, "No such file", "/elsewhere/x"),
        AssertionError("shape"),
        RuntimeError("in {root}: size mismatch"),
        KeyError("{root}/a.wav"),
        AudioError("/elsewhere/a.wav", "is short"),
    ],
)
def test_other_errors_stay(tmp_path: Path, error: Exception) -> None:
    """Those about no file of the task, and those that are not about files."""
    (tmp_path / "lists").mkdir()
    told = type(error)(*(str(part).format(root=tmp_path) for part in error.args))
    with pytest.raises(type(error)) as caught:
        run(tmp_path, lambda: fail(told))
    assert caught.value is told


def test_files_of_other_tasks_may_be_missing(tmp_path: Path) -> None:
    """They may be what the task writes."""
    run(tmp_path / "none", lambda: None, downstream="mosei")
    with pytest.raises(CorpusError):
        run(tmp_path / "none", lambda: None)


def test_what_the_command_says(files: Path, package: Path) -> None:
    made = tiny_tasks.write("IC", files / "data")
    (files / "data/data/valid_data.csv").unlink()
    command = [sys.executable, "-m", "lighthubert.superb", "-m", "train", "-k", "net.safetensors"]
    command += ["-d", made.downstream, "-c", "data/settings.yaml", "-p", "run", "--device", "cpu"]
    environment = os.environ | {"S3PRL_ROOT": str(package.parent)}
    done = subprocess.run(command, cwd=files, env=environment, capture_output=True, text=True, timeout=300)
    line = f"error: [Errno 2] No such file or directory: '{files}/data/data/valid_data.csv' (looked for under "
    assert (done.returncode, done.stderr.splitlines()[-1]) == (2, f"{line}config.downstream_expert.datarc.file_path)")
    assert "Traceback" not in done.stderr
