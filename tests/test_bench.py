"""`make bench` still runs: nothing else calls it, and what it calls changes."""

import importlib
import re

import pytest

ROWS = ["stage", "fp32", "bf16", "forward", "largest", "smallest", "a", "largest", "smallest", "space", "mini", "base"]


@pytest.mark.slow
def test_every_table_has_its_rows(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    bench = importlib.import_module("bench")
    monkeypatch.setattr(bench, "STEPS", 4)
    monkeypatch.setattr(bench, "WARM", 1)
    bench.main()
    rows = [line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines() if re.match(r"\| \w", line)]
    assert [row[0].split()[0] for row in rows] == ROWS
    for row in rows:
        if row[0] in ("fp32", "bf16", "largest", "smallest", "mini", "base"):
            assert all(float(cell.rstrip("%")) >= 0 for cell in row[1:])
