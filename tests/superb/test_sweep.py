"""A sweep through the real s3prl: two nets on three tasks, one after another, and what a second call does."""

import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import sweeps
from tiny import FEW, random_supernet, write_nets

from lighthubert import cost, save
from lighthubert.config import read_yaml, write_yaml
from lighthubert.superb import submit
from lighthubert.superb.__main__ import main

NETS = {"narrow": sweeps.NETS["narrow"], "fbank": {"upstream": "fbank"}}
Run = tuple[Path, subprocess.CompletedProcess[str]]


def launch(folder: Path, package: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "lighthubert.superb", *words]
    environment = os.environ | {"S3PRL_ROOT": str(package.parent)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=1800)


def rows(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "run/results.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory, package: Path) -> Run:
    """IC and a task whose training fails, on a net and filter banks."""
    folder = tmp_path_factory.mktemp("sweep")
    write_nets(folder)
    sweeps.write(folder, {"IC": {}, "ER": {"folds": ["fold1"]}}, nets=NETS)
    (folder / "ER/meta/Session1/test_meta_data.json").unlink()
    return folder, launch(folder, package, "sweep", "recipe.yaml")


def test_what_failed_is_told_by_name_and_the_rest_is_done(swept: Run) -> None:
    folder, done = swept
    assert done.returncode == 1, done.stdout + done.stderr
    assert "error: 2 of 4 jobs failed; the same command tries them again:" in done.stderr
    for net in NETS:
        setting = "config.downstream_expert.datarc.meta_data"
        told = rf"^  ER fold1 of {net}: .*test_meta_data.json.* \(looked for under {setting}\)"
        assert re.search(told, done.stderr, re.MULTILINE), done.stderr
    assert [(row["task"], row["net"]) for row in rows(folder)] == [("IC", net) for net in NETS]


def test_the_numbers_are_s3prls(swept: Run) -> None:
    """The metric is the share of lines in which its predictions and its truth agree."""
    folder, _ = swept
    for row in rows(folder):
        predicted, true = (next((folder / "run" / row["predictions"]).glob(f"test_{kind}.*")).read_text().splitlines()
                           for kind in ("predict", "truth"))  # fmt: skip
        share = sum(a == b for a, b in zip(predicted, true, strict=True)) / len(true)
        assert row["metrics"]["acc"] == pytest.approx(100 * share, abs=1e-4)
        if row["net"] == "fbank":
            assert (row["params"], row["macs"], row["arch"]) == (None, None, None)
            continue
        config = random_supernet(FEW).sample(row["arch"]).config
        assert (row["params"], row["macs"]) == (cost.num_params(config), cost.superb_macs(config))
        assert row["params"] == sum(p.numel() for p in random_supernet(FEW).sample(row["arch"]).parameters())
    with (folder / "run/table.csv").open() as file:
        table = list(csv.DictReader(file))
    assert [(line["ER acc"], line["mean rank"]) for line in table] == [("", "")] * 2  # the task that failed


def test_a_process_for_each_job(swept: Run) -> None:
    """Every job was a run of its own, and printed another number of its process."""
    folder, _ = swept
    logs = [path.read_text() for path in (folder / "run/jobs").rglob("log.txt")]
    assert len(logs) == 4
    assert all(text.count("[Runner] - Start a new experiment") == 1 for text in logs)
    assert len({number for text in logs for number in re.findall(r", process (\d+)$", text, re.MULTILINE)}) == 4


def test_the_same_numbers_as_the_command_for_one_task(swept: Run, package: Path) -> None:
    """The threads, the first random numbers, and the rest that s3prl starts with are the same."""
    folder, _ = swept
    words = ["-k", "supernet.safetensors", "--arch", "arch.yaml", "-d", "fluent_commands", "-c", "IC/settings.yaml"]
    done = launch(folder, package, "-m", "train", *words, "-p", "alone", "--device", "cpu")
    assert done.returncode == 0, done.stderr
    for name in ("log.log", "dev_predict.csv", "train_predict.csv"):
        assert (folder / "alone" / name).read_text() == (folder / "run/jobs/narrow/IC/exp" / name).read_text()


def test_a_second_call_redoes_nothing(
    swept: Run, package: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, _ = swept
    monkeypatch.chdir(folder)
    monkeypatch.setenv("S3PRL_ROOT", str(package.parent))
    monkeypatch.setattr(sys, "path", [*sys.path])
    before = {path: path.stat().st_mtime_ns for path in (folder / "run/jobs").rglob("*")}
    values = read_yaml("recipe.yaml")
    del values["tasks"]["ER"]
    write_yaml("two.yaml", values)
    assert main(["sweep", "two.yaml"]) == 0
    assert capsys.readouterr().out.splitlines() == ["run/table.md", "run/table.csv", "run/report.png"]
    assert {path: path.stat().st_mtime_ns for path in (folder / "run/jobs").rglob("*")} == before

    assert main(["sweep", "recipe.yaml", "seed=2"]) == 2
    error = capsys.readouterr().err
    assert "run/jobs/narrow/IC: started with another recipe: seed was 1337, is 2. Use the old" in error
    other = random_supernet(FEW)
    other.hubert.mask_embed.data += 1
    save(other, folder / "other.safetensors")
    assert main(["sweep", "recipe.yaml", "checkpoint=other.safetensors"]) == 2
    assert "started with another recipe: net.weights was " in capsys.readouterr().err


def test_a_submission_of_it(swept: Run, capsys: pytest.CaptureFixture[str]) -> None:
    folder, _ = swept
    assert submit.main([str(folder / "run"), "--net", "narrow"]) == 0
    printed = capsys.readouterr().out
    assert "predict.zip: IC\n  not in it: PR, ASR, KS, QbE, SID, ASV, SD, SF, ER\n" in printed
    packed = folder / "run/submit/narrow/predict"
    assert len((packed / "ic_public/predict.csv").read_text().splitlines()) == 6
