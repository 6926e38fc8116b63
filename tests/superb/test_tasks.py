"""SUPERB tasks from end to end: the command trains one on a tiny net and tiny data, and evaluates what it saved."""

import os
import re
import shutil
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import pytest
import tiny_tasks
import torch

import lighthubert as lh

FAST = ["KS"]  # the tests of sweeps train IC
ACCURACY = ["KS", "IC"]  # told, of the lines of a file
CHECKOUT = ["PR", "SF"]  # the published package lacks parts of them
CACHING = ["SID", "ASV"]  # s3prl keeps lists of files inside its own package


def launch(folder: Path, package: Path, *arguments: str) -> str:
    """What the command printed. It may warn: s3prl calls much that is deprecated."""
    command = [sys.executable, "-m", "lighthubert.superb", *arguments, "--device", "cpu"]
    environment = os.environ | {"S3PRL_ROOT": str(package.parent)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(params=[pytest.param(t, marks=[] if t in FAST else pytest.mark.slow) for t in tiny_tasks.TASKS])
def task(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_train_and_evaluate(task: str, files: Path, package: Path) -> None:
    if task in CHECKOUT and not (package / "downstream/ctc/corpus").is_dir():
        pytest.skip("needs a git checkout of s3prl (S3PRL_ROOT)")
    if task in CACHING:
        package = shutil.copytree(package, files / "root" / "s3prl", ignore=shutil.ignore_patterns(".cache", ".wav*"))
    made = tiny_tasks.write(task, files / "data")
    net = ("-k", "supernet.safetensors", "--arch", "arch.yaml")
    settings = ("-d", made.downstream, "-c", "data/settings.yaml", "-p", "run")
    if task == "QbE":
        launch(files, package, "-m", "evaluate", "-t", made.split, *net, *settings, "-l", "-1")
        assert (files / "run" / made.results[0]).stat().st_size
        return
    launch(files, package, "-m", "train", *net, *settings)
    with torch.serialization.safe_globals([Namespace]):
        checkpoint = torch.load(files / "run/states-4.ckpt", weights_only=True)
    assert "Upstream" not in checkpoint  # frozen: its file is named instead
    assert checkpoint["Args"].upstream_ckpt == str(files / "supernet.safetensors")
    weights = checkpoint["Featurizer"]["weights"]
    assert weights.shape == (3,)  # the projection and two layers
    assert weights.any()  # all 0 at first

    printed = launch(files, package, "-m", "evaluate", "-e", "run/states-4.ckpt", "-t", made.split)
    pattern, number = made.results
    found = list((files / "run").glob(pattern))
    assert (len(found) if "*" in pattern else len(found[0].read_text().splitlines())) == number
    if task in ACCURACY:
        assert accuracy(printed) == pytest.approx(agreement(files / "run"), abs=1e-6)


@pytest.mark.slow
def test_the_net_is_trained_too(files: Path, package: Path) -> None:
    """-f: gradients reach all of it but the mask's embedding, and the task's checkpoint holds it."""
    made = tiny_tasks.write("IC", files / "data")
    net = ("-k", "net.safetensors", "-f")
    launch(files, package, "-m", "train", *net, "-d", made.downstream, "-c", "data/settings.yaml", "-p", "run")
    with torch.serialization.safe_globals([Namespace]):
        learnt = torch.load(files / "run/states-4.ckpt", weights_only=True)["Upstream"]
    before = lh.load(files / "net.safetensors").state_dict()
    assert learnt.keys() == {f"net.{name}" for name in before}
    assert all(weight.isfinite().all() for weight in learnt.values())
    same = [name for name, weight in before.items() if torch.equal(weight, learnt[f"net.{name}"])]
    assert same == ["mask_embed"]


def accuracy(printed: str) -> float:
    (value,) = re.findall(r"^test acc: ([\d.]+)$", printed, re.MULTILINE)
    return float(value)


def agreement(run: Path) -> float:
    """The share of lines in which prediction and truth agree."""
    predicted, true = (sorted(run.glob(f"test_{kind}.*"))[0].read_text().splitlines() for kind in ("predict", "truth"))
    return sum(a == b for a, b in zip(predicted, true, strict=True)) / len(true)
