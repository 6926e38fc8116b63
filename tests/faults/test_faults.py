"""The campaign of `make faults`, a few of each kind; kills, ranks and folders in use are in tests/pretrain."""

import gc
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from mutate import Canary
from readers import READERS, Reader, read_one

SOME = (
    "^(fuzz|damaged checkpoint: (a bit|with a|of an older).* 0|disk full: [a-z0-9_]+[.]"
    "|hostile file: .*: (nested|a call|itself|a bomb|a pipe|digits|a device|a million|a rate|a width|a ratio|a score"
    "|a NUL))"
)


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_a_short_campaign(tmp_path: Path) -> None:
    """With a seed of its own each time; the report says which."""
    script, text = Path(__file__).with_name("campaign.py"), tmp_path / "reliability.md"
    words = ["--folder", tmp_path / "run", "--report", text, "--chunks", "1", "--size", "10", "--only", SOME]
    env = {**os.environ, "TMPDIR": str(tmp_path)}
    done = subprocess.run([sys.executable, script, *words], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:] + text.read_text()
    rows = [json.loads(line) for line in (tmp_path / "run/rows.jsonl").read_text().splitlines()[1:]]
    assert sum(row.get("inputs", 0) for row in rows) == 10 * len(READERS)
    assert len(rows) > 60
    assert text.read_text().startswith("# Reliability")


@pytest.mark.parametrize("name", READERS)
def test_valid_files_are_read(tmp_path: Path, name: str) -> None:
    for path in READERS[name].write(tmp_path):
        cost = read_one(READERS[name], path)
        assert (cost.outcome, cost.problem) == ("read", "")


def test_what_is_wrong_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that breaks every law. What earlier tests left is freed first: memory is counted beyond it."""
    gc.collect()
    (tmp_path / "x").write_text("x")

    def problem(read) -> str:
        return read_one(Reader(lambda folder: [], read, bool), tmp_path / "x").problem

    def refuse(path: Path) -> None:
        raise SystemExit("x\ny")

    kept: list[bytes] = []
    assert problem(refuse) == "raises SystemExit: x\ny"
    assert problem(lambda path: kept.append(b"x" * 300_000_000)).startswith("took 3")
    monkeypatch.setattr("readers.SECONDS", 0.0)
    assert problem(lambda path: sum(range(10_000_000))).startswith("took 0.")
    assert Canary().__reduce__() == (os.mkdir, ("canary",))
