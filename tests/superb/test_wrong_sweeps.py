"""What a sweep and a submission say of wrong recipes and folders, before anything runs."""

import json
import os
import sys
from pathlib import Path

import pytest
import sweeps

from lighthubert.config import write_yaml
from lighthubert.superb.__main__ import main

CHECKOUT = "set S3PRL_ROOT to the folder of a git checkout of s3prl"


@pytest.fixture
def folder(files: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """recipe.yaml, a sweep of KS, and a stand-in for s3prl that can start nothing."""
    (files / "s3prl" / "downstream").mkdir(parents=True)
    for name in ("__init__", "run_downstream"):
        (files / "s3prl" / f"{name}.py").touch()
    for name in ("train", "test"):
        (files / name).mkdir()
    data = {"speech_commands_root": "train", "speech_commands_test_root": "test"}
    write_yaml(files / "ks.yaml", {"runner": {"total_steps": 1}, "downstream_expert": {"datarc": data}})
    recipe = {"run_dir": "run", "checkpoint": "supernet.safetensors", "nets": sweeps.NETS,
              "tasks": {"KS": {"config": "ks.yaml"}}}  # fmt: skip
    write_yaml(files / "recipe.yaml", recipe)
    monkeypatch.chdir(files)
    monkeypatch.setenv("S3PRL_ROOT", str(files))
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "s3prl", raising=False)
    return files


def told(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main([*words]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n"), err[:7]) == ("", 1, "error: ")
    return err[7:-1]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("tasks.XY.split=test", "recipe.yaml: tasks: 'XY': must be one of PR, ASR, KS, QbE, SID, ASV, SD, IC, SF, ER"),
        ("tasks.KS.sett={}", "recipe.yaml: tasks.KS.sett: unknown key; known are config, set, split, layer, folds"),
        ("tasks.KS.folds=[fold1]", "recipe.yaml: tasks.KS.folds: only ER has folds"),
        ("tasks.ER.folds=[six]", "tasks.ER.folds: needs one or more of fold1, fold2, fold3, fold4, fold5, got ['six']"),
        ("tasks.QbE={}", "tasks.QbE.layer: is missing; nothing is trained, so one hidden state is compared"),
        ("tasks=3", "recipe.yaml: tasks: expected keys and values, got 3"),
        ("nets.a.arch=[1]", "recipe.yaml: nets.a.arch: expected text, got [1]"),
        ("nets={a/b: {arch: largest}}", "nets: 'a/b': names hold letters, digits, _, - and ."),
        ("checkpoint=null", "nets.largest: checkpoint: is missing, and the recipe's own too"),
        ("processes=0", "recipe.yaml: processes: must be at least 1, got 0"),
        ("run_dir='a=b'", "recipe.yaml: run_dir: s3prl cannot be told a path with =, ,, or ' in it, got 'a=b'"),
        ("nets.b.upstream=fbank nets.b.arch=largest", "nets.b.arch: chooses a subnet of our own checkpoints"),
        ("reference=none.yaml", "none.yaml: No such file or directory"),
        ("checkpoint=none.pt", "nets.largest: none.pt: no such file or folder; nets.narrow: none.pt: no such file"),
        ("nets.a.checkpoint=net.safetensors nets.a.arch=largest", "nets.a: net.safetensors: holds a single net"),
        ("nets={a: {}}", "nets.a: supernet.safetensors: a supernet: say which of its subnets"),
        ("nets.a.arch=big.yaml", "big.yaml"),
        ("nets.a.arch.embed_dim=20", "nets.a: supernet.safetensors: not in the search space"),
        ("tasks.KS.config=none.yaml", "tasks.KS.config: none.yaml: no such file; name the settings of the task"),
        ("tasks.IC={}", f"fluent_commands/config.yaml: no such file; name the settings of the task, or {CHECKOUT}"),
        ("tasks.PR.config=ks.yaml", "downstream/ctc/corpus: the published package of s3prl lacks it"),
        ("tasks.KS.set.runner.steps=3", "tasks.KS.set.runner.steps: is not in ks.yaml"),
        ("tasks.KS.set.downstream_expert.datarc.speech_commands_root=data",
         "tasks.KS.set.downstream_expert.datarc.speech_commands_root: data: no such file or folder"),
    ],
)  # fmt: skip
def test_wrong_recipes(folder: Path, override: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = [override] if "'" in override or "{" in override else override.split()
    assert message in told(capsys, "sweep", "recipe.yaml", *words)
    assert not (folder / "run/jobs").exists()


def test_a_recipe_without_nets(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_yaml(folder / "empty.yaml", {"run_dir": "run", "nets": {}, "tasks": {}})
    assert told(capsys, "sweep", "empty.yaml") == "empty.yaml: nets: is empty; tasks: is empty"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"source": " ", "tasks": {}}, "source: is empty; say where the numbers come from"),
        ({"tasks": {}}, "source: is missing"),
        ({"source": "x", "tasks": {"KS": {"acc": {"fbank": 1}}}}, "tasks.KS.acc.sota: is missing"),
        ({"source": "x", "tasks": {"KS": {"acc": {"fbank": 1, "sota": 1}}}}, "fbank, sota: must differ, got 1.0"),
        ({"source": "x", "tasks": {"SF": {"F1": {"fbank": 1, "sota": 2}}}}, "tasks.SF: needs F1, CER, got F1"),
        ({"source": "x", "tasks": {"QbE": {}}}, "tasks.QbE: s3prl computes no metric of this task"),
    ],
)
def test_wrong_references(
    folder: Path, values: dict[str, object], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_yaml(folder / "reference.yaml", values)
    error = told(capsys, "sweep", "recipe.yaml", "reference=reference.yaml")
    assert error.startswith("reference.yaml: ")
    assert message in error


def test_no_s3prl(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("S3PRL_ROOT", str(folder / "train"))
    assert "holds no s3prl/run_downstream.py; set S3PRL_ROOT" in told(capsys, "sweep", "recipe.yaml")


def test_wrong_submissions(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert told(capsys, "submit", "run") == "run/results.jsonl: no such file; RUN_DIR is the run_dir of a sweep"
    (folder / "run").mkdir()
    results = folder / "run/results.jsonl"
    os.mkfifo(results)
    assert told(capsys, "submit", "run") == "run/results.jsonl: no such file; RUN_DIR is the run_dir of a sweep"
    results.unlink()
    results.write_bytes(b"\xff")
    assert told(capsys, "submit", "run") == "run/results.jsonl: not UTF-8 text (invalid start byte at byte 0)"
    results.write_bytes(b"")
    assert told(capsys, "submit", "run") == "run/results.jsonl: no job is finished yet"
    row = {"net": "a", "task": "KS", "fold": None, "split": "test", "predictions": "jobs/a/KS/eval/net"}
    results.write_text(json.dumps(row) + "\n")
    assert told(capsys, "submit", "run", "--net", "b") == "--net b: the run has finished jobs of a"
    assert told(capsys, "submit", "run") == (
        "run/jobs/a/KS/eval/net/test_predict.txt: no such file; the predictions of KS of a"
    )
    results.write_text(json.dumps(row | {"split": "dev"}) + "\n")
    assert told(capsys, "submit", "run") == "KS of a: evaluated on dev, the leaderboard wants test"
