"""A submission against what s3prl's own submit.py makes of the same folders."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from lighthubert.superb.submit import main

FOLDS = [f"fold{number}" for number in range(1, 6)]
THEIRS = {"PR": "pr", "ASR": "asr_no_lm", "KS": "ks", "QbE": "qbe", "SID": "sid", "ASV": "sv", "SD": "sd", "IC": "ic",
          "SF": "sf"} | {f"ER {fold}": f"er_{fold}" for fold in FOLDS}  # fmt: skip
FILES = {"PR": "test-hyp.ark", "ASR": "test-clean-noLM-hyp.ark", "KS": "test_predict.txt", "IC": "test_predict.csv",
         "QbE": "benchmark.stdlist.xml", "SID": "test_predict.txt", "ASV": "test_predict.txt", "SF": "test-hyp.ark",
         "SD": "scoring/predictions/one.h5"} | {f"ER {fold}": f"test_{fold}_predict.txt" for fold in FOLDS}  # fmt: skip


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A finished sweep of all tasks on one net: each prediction is its task's name."""
    rows = []
    for name, file in FILES.items():
        task, _, fold = name.partition(" ")
        folder = tmp_path / "run/jobs/a" / task / fold / "eval/best"
        (folder / file).parent.mkdir(parents=True)
        (folder / file).write_text(name)
        if task == "SD":
            (folder / "scoring/predictions/two.h5").write_text("another")
            (folder / "frame_shift").write_text("320")
        rows.append({"net": "a", "task": task, "fold": fold or None, "split": "test-clean" if task == "ASR" else "test",
                     "predictions": folder.relative_to(tmp_path / "run").as_posix(), "params": 7, "macs": 9,
                     "checkpoint": "f", "arch": None, "weights": "w"})  # fmt: skip
    (tmp_path / "run/results.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path / "run"


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_is_packed(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(run)]) == 0
    assert "not in it" not in capsys.readouterr().out
    with zipfile.ZipFile(run / "submit/a/predict.zip") as archive:
        packed = {name: archive.read(name).decode() for name in archive.namelist() if not name.endswith("/")}
    assert packed["predict/sd_public/scoring/predictions/two.h5"] == "another"
    assert packed["predict/sd_public/frame_shift"] == "320"
    assert packed["predict/er_fold3_public/predict.txt"] == "ER fold3"
    assert packed["predict/ic_public/predict.csv"] == "IC"
    assert len(packed) == len(FILES) + 2
    assert json.loads((run / "submit/a/net.json").read_text()) == {
        "net": "a", "params": 7, "macs": 9, "checkpoint": "f", "arch": None, "weights": "w"}  # fmt: skip


def test_a_missing_fold_is_told(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = (run / "results.jsonl").read_text().splitlines()
    (run / "results.jsonl").write_text("\n".join(row for row in rows if '"fold2"' not in row and '"KS"' not in row))
    assert main([str(run)]) == 0
    printed = capsys.readouterr().out
    assert "  not in it: KS\n  ER is scored with all five folds only; missing: fold2\n" in printed


def test_against_s3prls_own(run: Path, package: Path, tmp_path: Path) -> None:
    program = package / "submit/submit.py"
    if not program.is_file():
        pytest.skip("needs a git checkout of s3prl (S3PRL_ROOT)")
    folders = [word for name in FILES for word in (f"--{THEIRS[name]}", str(_folder(run, name)))]
    command = [sys.executable, str(program), "--output_dir", str(tmp_path / "theirs"), *folders]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    assert main([str(run)]) == 0
    expected = contents(tmp_path / "theirs/predict")
    assert len(expected) == len(FILES) + 2
    assert contents(run / "submit/a/predict") == expected


def _folder(run: Path, name: str) -> Path:
    return run.joinpath("jobs/a", *name.split(), "eval/best")
