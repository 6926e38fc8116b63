"""Ranks, scores and tables against numbers worked out by hand."""

import csv
from pathlib import Path

import pytest

from lighthubert.superb.plan import Candidate, Evaluation
from lighthubert.superb.recipe import Bounds, Reference
from lighthubert.superb.table import compare, gather, rank, write_tables

SCORES = {
    "a": {"KS": {"acc": 96.0}, "SF": {"F1": 88.0, "CER": 26.0}, "ASR": {"WER": 8.0}},
    "b": {"KS": {"acc": 96.0}, "SF": {"F1": 86.0, "CER": 25.0}, "ASR": {"WER": 6.0}},
    "c": {"KS": {"acc": 90.0}, "SF": {"F1": 87.0, "CER": 30.0}},
}
INVENTED = Reference(
    "invented for this test",
    {
        "KS": {"acc": Bounds(80.0, 100.0)},
        "SF": {"F1": Bounds(70.0, 90.0), "CER": Bounds(50.0, 20.0)},
        "ASR": {"WER": Bounds(23.0, 3.0)},
        "PR": {"PER": Bounds(80.0, 3.0)},  # not in the sweep
    },
)


def test_ranks() -> None:
    assert rank([3.0, 1.0, 2.0], higher_is_better=True) == [1, 3, 2]
    assert rank([3.0, 1.0, 2.0], higher_is_better=False) == [3, 1, 2]
    assert rank([5.0, None, 5.0, 1.0], higher_is_better=True) == [1.5, None, 1.5, 3]
    assert rank([None], higher_is_better=True) == [None]


def test_the_superb_score_by_hand() -> None:
    a, b, c = compare(SCORES, ["KS", "SF", "QbE", "ASR"], INVENTED)
    # a: KS (96-80)/20 = 0.8; SF ((88-70)/20 + (26-50)/-30)/2 = (0.9+0.8)/2 = 0.85; ASR (8-23)/-20 = 0.75
    assert a["score"] == pytest.approx(800.0)
    # b: 0.8; (0.8 + 25/30)/2 = 49/60; 0.85
    assert b["score"] == pytest.approx(1000 * (0.8 + 49 / 60 + 0.85) / 3)
    assert c["score"] is None
    assert [line["KS rank"] for line in (a, b, c)] == [1.5, 1.5, 3]
    assert [line["SF rank"] for line in (a, b, c)] == [1.5, 2, 2.5]  # F1: 1, 3, 2; CER: 2, 1, 3
    assert [line["ASR rank"] for line in (a, b, c)] == [2, 1, None]
    assert [line["mean rank"] for line in (a, b, c)] == [pytest.approx(5 / 3), 1.5, None]


def test_folds_are_averaged_when_all_are_done(tmp_path: Path) -> None:
    candidate = Candidate("lighthubert", "f", None, "w", 1000, 2_000_000_000)
    jobs = [Evaluation("a", "ER", fold, candidate, {}, "test", None, 1, "cpu", str(tmp_path))
            for fold in ("fold1", "fold2")]  # fmt: skip
    rows = [{"net": "a", "task": "ER", "metrics": {"acc": acc}} for acc in (60.0, 64.0)]
    assert gather("a", jobs, rows[:1]) == {}
    assert gather("a", jobs, rows) == {"ER": {"acc": 62.0}}


def test_the_files(tmp_path: Path) -> None:
    candidates = {"a": Candidate("lighthubert", "f", None, "w", 26_873_600, 860_700_000_000),
                  "b": Candidate("lighthubert", "g", None, "x", 94_371_584, 1_669_156_022_848),
                  "c": Candidate("fbank", None, None, None, None, None)}  # fmt: skip
    jobs = [Evaluation(net, task, None, candidate, {}, "test", None, 1, "cpu", str(tmp_path))
            for task in ("KS", "SF", "ASR") for net, candidate in candidates.items()]  # fmt: skip
    rows = [
        {"net": net, "task": task, "metrics": metrics} for net, of in SCORES.items() for task, metrics in of.items()
    ]
    written = write_tables(tmp_path, jobs, rows, INVENTED)
    assert [path.name for path in written] == ["table.md", "table.csv", "report.png"]
    lines = (tmp_path / "table.md").read_text().splitlines()
    assert lines[:5] == [
        "| net | M params | G MACs | KS acc ↑ | SF F1 ↑ | SF CER ↓ | ASR WER ↓ | mean rank | score |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
        "| a | 26.87 | 861 | 96.00 (1.5) | 88.00 | 26.00 (1.5) | 8.00 (2) | 1.67 | 800 |",
        "| b | 94.37 | 1669 | 96.00 (1.5) | 86.00 | 25.00 (2) | 6.00 (1) | 1.50 | 822 |",
        "| c | - | - | 90.00 (3) | 87.00 | 30.00 (2.5) | - | - | - |",
    ]
    assert "Score: over KS, SF, ASR (3 of SUPERB's 10 tasks). Reference: invented for this test" in lines
    with (tmp_path / "table.csv").open() as file:
        a, b, c = csv.DictReader(file)
    assert (a["params"], b["macs"], c["macs"]) == ("26873600", "1669156022848", "")
    assert (float(a["score"]), float(b["SF CER"]), c["ASR WER"]) == (pytest.approx(800.0), 25.0, "")
    assert (tmp_path / "report.png").read_bytes().startswith(b"\x89PNG")
