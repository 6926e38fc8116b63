"""The tables of the documents are those that docs/results makes of the raw files."""

import json
import re
import runpy
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest


@pytest.fixture(scope="module")
def tables(repo_root: Path) -> dict[str, Any]:
    """The names of docs/results/tables.py."""
    patch = pytest.MonkeyPatch()
    patch.syspath_prepend(repo_root / "docs/results")
    names = runpy.run_path(str(repo_root / "docs/results/tables.py"))
    patch.undo()
    return names


@pytest.mark.parametrize("document", ["docs/results.md", "checkpoints/README.md"])
def test_documents_hold_the_tables_of_the_raw_files(repo_root: Path, tables: dict[str, Any], document: str) -> None:
    text = (repo_root / document).read_text()
    assert "<!-- table " in text
    assert tables["written"](text) == text, "run `make results`"


def test_every_table_is_shown(repo_root: Path, tables: dict[str, Any]) -> None:
    text = "".join((repo_root / document).read_text() for document in tables["DOCUMENTS"])
    assert set(re.findall(r"<!-- table (\w+) -->", text)) == set(tables["TABLES"])


def test_a_changed_number_is_mended(repo_root: Path, tables: dict[str, Any]) -> None:
    text = (repo_root / "docs/results.md").read_text()
    changed = re.sub(r"(\d)\.(\d\d\d) ±", r"\1.999 ±", text)
    assert changed != text
    assert tables["written"](changed) == text


def test_a_cell_by_hand(repo_root: Path) -> None:
    """One number, worked out anew from the raw file."""
    lines = (repo_root / "docs/results/raw/studies.jsonl").read_text().splitlines()
    runs = [row for row in map(json.loads, lines) if row["arm"] == "ordered"]
    assert len({row["seed"] for row in runs}) == len(runs) > 1
    mean = fmean(row["losses"]["smallest"]["clean"] for row in runs)
    lines = (repo_root / "docs/results.md").read_text().splitlines()
    cells = [line.split("|") for line in lines if line.startswith("| the same shares, units ordered")]
    assert {cell[6].split("±")[0].strip() for cell in cells} == {f"{mean:.3f}"}


def test_every_number_says_where_it_is_from(repo_root: Path) -> None:
    for path in sorted((repo_root / "docs/results/raw").glob("*.jsonl")):
        for row in map(json.loads, path.read_text().splitlines()):
            if not path.stem.startswith("teacher_"):  # evals.jsonl as the run wrote it; its card says the rest
                assert re.fullmatch(r"[0-9a-f]{7,}", row["commit"]), path
                assert re.fullmatch(r"20\d\d-\d\d-\d\d", row["date"]), path
                assert "CPU" in row["device"] or "CUDA" in row["device"], path
