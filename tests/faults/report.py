"""docs/reliability.md from the rows of a campaign."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

HEAD = """# Reliability

Written by `make faults` (tests/faults/campaign.py): faults of every kind, many times over. A short form of each is in
`make test`. Campaign of {date}, commit {commit}, torch {torch}, seed {seed}; {minutes:.0f} minutes in two processes.

**{wrong} of {all} went wrong.**

| kind | tried | wrong | what is right |
|---|---|---|---|
"""
KINDS = {
    "kill -9": "the run ends with the bits of one that was let alone: tensors, losses and files",
    "a rank killed": "the other rank ends, and the same command goes on to the same bits",
    "a rank stopped for 30 s": "the run goes on by itself to the same bits",
    "two runs in one folder": "the second is refused in one line, the first ends as ever",
    "disk full": "the file is named, nothing half-written is left, what was there stays",
    "damaged checkpoint": "an older one is used, and the run ends with the same bits",
    "hostile file": "as for changed files",
    "fuzz": "one of the readers' own exceptions, one line of at most 1,000 characters with the file's name, at most "
    "10 s, at most twice the file's bytes and 100 MB, and no code that is run",
}


def write(rows: Path, target: Path) -> list[str]:
    """Write the report; gives what went wrong."""
    head, *done = map(json.loads, rows.read_text().replace(str(rows.parent), "...").splitlines())
    kinds: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in done:
        kinds[row["task"].partition(":")[0]].append(row)
    counts = {kind: (sum(map(_tried, kinds[kind])), sum(len(_wrong(row)) for row in kinds[kind])) for kind in KINDS}
    wrong = [f"{row['task']}: {what}" for row in done for what in _wrong(row)]
    total = {"wrong": len(wrong), "all": f"{sum(tried for tried, _ in counts.values()):,}"}
    lines = [HEAD.format(**head, **total, minutes=sum(row["took"] for row in done) / 60 / 2).rstrip("\n")]
    lines += [
        f"| {kind.replace('fuzz', 'changed files')} | {tried:,} | {bad} | {KINDS[kind]} |"
        for kind, (tried, bad) in counts.items()
    ]
    lines += ["", "## Kills", "", "| run | kills | how |", "|---|---|---|"]
    lines += [f"| {row['task'].partition(': ')[2]} | {row['kills']} | {row['said']} |" for row in kinds["kill -9"]]
    lines += ["", "## Disks and ranks", "", "| what | what was said |", "|---|---|"]
    for kind in ("disk full", "a rank killed", "a rank stopped for 30 s", "two runs in one folder"):
        lines += [
            f"| {row['task']} | {row.get('said', '')}{', by ' + row['by'] if 'by' in row else ''} |"
            for row in kinds[kind]
        ]
    lines += [
        "",
        "## Changed files",
        "",
        "Flipped bytes, pieces cut out or doubled, odd values by hypothesis.",
        "",
        "| reader | files | past the header or magic number | refused | read | slowest | most memory |",
        "|---|---|---|---|---|---|---|",
        *_fuzz(kinds["fuzz"]),
    ]
    lines += [
        "",
        "## Hostile files",
        "",
        "| file | answer | seconds | MB of memory | MB of file |",
        "|---|---|---|---|---|",
    ]
    for row in kinds["hostile file"]:
        name = row["task"].partition(": ")[2]
        sizes = [f"{row.get(key, 0) / 1e6:.1f}" for key in ("memory", "size")]
        lines.append(f"| {name} | {row.get('outcome')} | {row.get('seconds', 0):.1f} | {' | '.join(sizes)} |")
    if wrong:
        lines += ["", "## Wrong", "", *(f"- {' '.join(text.split())[:600]}" for text in wrong[:200])]
    target.write_text("\n".join(lines) + "\n")
    return wrong


def _tried(row: dict[str, Any]) -> int:
    return int(row.get("inputs", row.get("kills", 1)))


def _wrong(row: dict[str, Any]) -> list[str]:
    found = [text if isinstance(text, str) else f"{text['problem']} ({text['file']})" for text in row.get("wrong", [])]
    return found + ([row["problem"]] if row.get("problem") else [])


def _fuzz(rows: list[dict[str, Any]]) -> list[str]:
    readers: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        readers[row["task"].partition(": ")[2].rpartition(" ")[0]].append(row)
    lines = []
    for name, chunks in readers.items():
        files, past = (sum(row.get(key, 0) for row in chunks) for key in ("inputs", "past"))
        outcomes = sum((Counter(row.get("outcomes", {})) for row in chunks), Counter())
        refused = ", ".join(f"{kind} {number:,}" for kind, number in outcomes.items() if kind != "read")
        slowest, memory = (max(row.get(key, 0) for row in chunks) for key in ("slowest", "memory"))
        lines.append(
            f"| {name} | {files:,} | {past:,} ({100 * past / max(files, 1):.0f} %) | {refused} | "
            f"{outcomes['read']:,} | {slowest:.1f} s | {memory / 1e6:.0f} MB |"
        )
    return lines
