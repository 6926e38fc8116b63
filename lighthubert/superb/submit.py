"""lighthubert superb submit RUN_DIR: pack the predictions of a sweep as the leaderboard takes them."""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lighthubert.runtime.command import report_errors
from lighthubert.runtime.files import read_text, write_text
from lighthubert.superb.benchmark import BENCHMARK, FOLDS
from lighthubert.superb.package import LaunchError

ABOUT = """\
Pack the predictions of a sweep as the leaderboard takes them, the layout of s3prl/submit/submit.py.

Writes RUN_DIR/submit/NET/predict.zip for each net, and beside it net.json: parameters and MACs, which the leaderboard
asks for in its form."""


def main(argv: Sequence[str]) -> int:
    """Exit status 2 and one line on stderr for what cannot be packed."""
    parser = argparse.ArgumentParser(
        prog="lighthubert superb submit",
        description=ABOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run_dir", type=Path, metavar="RUN_DIR", help="of a sweep")
    parser.add_argument("--net", help="this one only")
    args = parser.parse_args(argv)
    return report_errors(lambda: submit(args.run_dir, args.net))


def submit(run_dir: Path, net: str | None) -> None:
    """Pack the finished jobs of a sweep, of all nets or of one."""
    rows = read_rows(run_dir)
    names = list(dict.fromkeys(row["net"] for row in rows))
    if net is not None and net not in names:
        raise LaunchError(f"--net {net}: the run has finished jobs of {', '.join(names)}")
    for name in names if net is None else [net]:
        pack(run_dir, name, [row for row in rows if row["net"] == name])


def read_rows(run_dir: Path) -> list[dict[str, Any]]:
    """The finished jobs of a sweep."""
    path = run_dir / "results.jsonl"
    if not path.is_file():
        raise LaunchError(f"{path}: no such file; RUN_DIR is the run_dir of a sweep")
    rows = [json.loads(line) for line in read_text(path, LaunchError).splitlines()]
    if not rows:
        raise LaunchError(f"{path}: no job is finished yet")
    return rows


def pack(run_dir: Path, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write submit/NAME/predict.zip and net.json, and say what is in there and what is not."""
    if problems := [problem for row in rows for problem in _problems(run_dir, row)]:
        raise LaunchError("; ".join(problems))
    folder = run_dir / "submit" / name
    shutil.rmtree(folder, ignore_errors=True)
    for row in rows:
        source, target = _source(run_dir, row), folder / "predict" / _fill(BENCHMARK[row["task"]].packed, row)
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():  # diarization: a file for each recording, and how long a frame is
            shutil.copytree(source, target)
            shutil.copyfile(source.parents[1] / "frame_shift", target.parents[1] / "frame_shift")
        else:
            shutil.copyfile(source, target)
    archive = shutil.make_archive(str(folder / "predict"), "zip", folder, "predict")
    about = {key: rows[0][key] for key in ("net", "params", "macs", "checkpoint", "arch", "weights")}
    write_text(folder / "net.json", json.dumps(about, indent=1) + "\n")
    print(f"{archive}: {', '.join(_label(row) for row in rows)}")
    _say_what_is_missing(rows)


def _say_what_is_missing(rows: Sequence[Mapping[str, Any]]) -> None:
    done = {row["task"] for row in rows}
    folds = {row["fold"] for row in rows if row["task"] == "ER"}
    if missing := [task for task in BENCHMARK if task not in done]:
        print(f"  not in it: {', '.join(missing)}")
    if folds and folds != {*FOLDS}:
        print(f"  ER is scored with all five folds only; missing: {', '.join(sorted({*FOLDS} - folds))}")


def _problems(run_dir: Path, row: Mapping[str, Any]) -> list[str]:
    benchmark = BENCHMARK[row["task"]]
    if row["split"] != benchmark.split:
        return [f"{_label(row)} of {row['net']}: evaluated on {row['split']}, the leaderboard wants {benchmark.split}"]
    source = _source(run_dir, row)
    return [] if source.exists() else [f"{source}: no such file; the predictions of {_label(row)} of {row['net']}"]


def _source(run_dir: Path, row: Mapping[str, Any]) -> Path:
    return run_dir / str(row["predictions"]) / _fill(BENCHMARK[row["task"]].prediction, row)


def _fill(name: str, row: Mapping[str, Any]) -> str:
    return name.replace("FOLD", row["fold"] or "")


def _label(row: Mapping[str, Any]) -> str:
    return f"{row['task']} {row['fold']}" if row["fold"] else str(row["task"])
