"""What a sweep shows: scores, ranks, the SUPERB score, and a picture against cost."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lighthubert.runtime import plots
from lighthubert.runtime.files import write_text
from lighthubert.superb.benchmark import BENCHMARK
from lighthubert.superb.plan import Evaluation
from lighthubert.superb.recipe import Reference

Scores = Mapping[str, Mapping[str, float]]  # task -> metric's label -> value


def write_tables(
    run_dir: Path, jobs: Sequence[Evaluation], rows: Sequence[Mapping[str, Any]], reference: Reference | None
) -> list[Path]:
    """table.md, table.csv and report.png of the jobs that are done; gives their names.

    A job's folds count as one: the mean. Of a task with folds that are not all done nothing is shown.
    """
    tasks = list(dict.fromkeys(job.task for job in jobs))
    nets = {job.net: job.candidate for job in jobs}
    scores = {net: gather(net, jobs, rows) for net in nets}
    lines = [{"net": name, "params": net.params, "macs": net.macs} | line
             for (name, net), line in zip(nets.items(), compare(scores, tasks, reference), strict=True)]  # fmt: skip
    markdown, table, picture = (run_dir / name for name in ("table.md", "table.csv", "report.png"))
    write_text(markdown, as_markdown(lines, tasks, reference))
    write_text(table, as_csv(lines))
    written = [markdown, table]
    if shown := best_summary(lines, tasks):
        plots.save(against_macs(lines, *shown), picture)
        written.append(picture)
    return written


def gather(net: str, jobs: Sequence[Evaluation], rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """The scores of one net, of tasks that are done."""
    scores = {}
    for task in dict.fromkeys(job.task for job in jobs):
        wanted = sum((job.net, job.task) == (net, task) for job in jobs)
        done = [row["metrics"] for row in rows if (row["net"], row["task"]) == (net, task)]
        if len(done) == wanted:
            scores[task] = {m.label: sum(fold[m.label] for fold in done) / wanted for m in BENCHMARK[task].metrics}
    return scores


def compare(scores: Mapping[str, Scores], tasks: Sequence[str], reference: Reference | None) -> list[dict[str, Any]]:
    """A line for each net: "KS acc", "KS rank", ... "mean rank", "score"; None where a job is missing."""
    lines: list[dict[str, Any]] = [{"net": net} for net in scores]
    measured = [task for task in tasks if BENCHMARK[task].metrics]
    for task in measured:
        metrics = BENCHMARK[task].metrics
        columns = [[scores[net].get(task, {}).get(m.label) for net in scores] for m in metrics]
        ranks = [rank(values, m.higher_is_better) for values, m in zip(columns, metrics, strict=True)]
        for row, line in enumerate(lines):
            line |= {f"{task} {m.label}": values[row] for values, m in zip(columns, metrics, strict=True)}
            line[f"{task} rank"] = mean([column[row] for column in ranks])
    for line in lines:
        line["mean rank"] = mean([line[f"{task} rank"] for task in measured])
        if reference is not None:
            line["score"] = superb_score(scores[line["net"]], measured, reference)
    return lines


def mean(values: Sequence[float | None]) -> float | None:
    """None if there is none, or one of them is None."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else None


def rank(values: Sequence[float | None], higher_is_better: bool) -> list[float | None]:
    """1 for the best; equal values share the mean of their places."""
    known = [value for value in values if value is not None]
    return [
        None
        if value is None
        else 1 + sum((v > value) if higher_is_better else (v < value) for v in known) + (known.count(value) - 1) / 2
        for value in values
    ]


def superb_score(scores: Scores, tasks: Sequence[str], reference: Reference) -> float | None:
    """1000 x the mean over tasks of the mean over metrics of (value - fbank) / (sota - fbank), over the tasks of the
    sweep that the reference names. None if one is missing."""
    counted = [task for task in tasks if task in reference.tasks]
    if not counted or any(task not in scores for task in counted):
        return None
    of_tasks = []
    for task in counted:
        shares = [(scores[task][label] - bounds.fbank) / (bounds.sota - bounds.fbank)
                  for label, bounds in reference.tasks[task].items()]  # fmt: skip
        of_tasks.append(sum(shares) / len(shares))
    return 1000 * sum(of_tasks) / len(of_tasks)


def as_csv(lines: Sequence[Mapping[str, Any]]) -> str:
    """All numbers in full."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([lines[0], *(line.values() for line in lines)])
    return text.getvalue()


def as_markdown(lines: Sequence[Mapping[str, Any]], tasks: Sequence[str], reference: Reference | None) -> str:
    """A table, ranks in brackets, and below it what the columns mean."""
    headings = ["net", "M params", "G MACs"]
    headings += [f"{task} {m.label} {'↓↑'[m.higher_is_better]}" for task in tasks for m in BENCHMARK[task].metrics]
    headings += ["mean rank", "score"] if reference else ["mean rank"]
    body = []
    for line in lines:
        cells = [line["net"], _number(line["params"], 1e-6), _number(line["macs"], 1e-9, 0)]
        for task in tasks:
            cells += [_number(line[f"{task} {metric.label}"]) for metric in BENCHMARK[task].metrics]
            if line.get(f"{task} rank"):  # one for all metrics of the task
                cells[-1] += f" ({line[f'{task} rank']:g})"
        cells.append(_number(line["mean rank"]))
        cells += [_number(line["score"], digits=0)] if reference else []
        body.append(cells)
    rule = ["---", *["---:"] * (len(headings) - 1)]
    table = "\n".join("| " + " | ".join(cells) + " |" for cells in [headings, rule, *body])
    return "\n\n".join([table, *_notes(tasks, reference)]) + "\n"


def _number(value: float | None, scale: float = 1.0, digits: int = 2) -> str:
    return "-" if value is None else f"{value * scale:.{digits}f}"


def _notes(tasks: Sequence[str], reference: Reference | None) -> list[str]:
    notes = [
        "Parameters: all of the evaluated net. MACs: the sum over the 32 utterances of the SUPERB challenge. In "
        "brackets the rank within a task (the mean, where it has several metrics; equal values share a place). A dash: "
        "not done, or not known."
    ]
    if "QbE" in tasks:
        notes.append("QbE: predictions only; NIST's program makes the MTWV of them.")
    if "SD" in tasks:
        notes.append("SD: the error rate of frames; the leaderboard's comes from dscore.")
    if reference is not None:
        counted = [task for task in tasks if task in reference.tasks]
        notes.append(f"Score: over {', '.join(counted) or 'no task'} ({len(counted)} of SUPERB's 10 tasks). "
                     f"Reference: {reference.source}")  # fmt: skip
    return notes


def best_summary(lines: Sequence[Mapping[str, Any]], tasks: Sequence[str]) -> tuple[str, str, bool] | None:
    """(column, label, whether higher is better) of what the picture shows: the score, else the mean rank of several
    tasks, else the one metric."""
    metrics = [(task, metric) for task in tasks for metric in BENCHMARK[task].metrics]
    choices = [("score", "SUPERB score", True)]
    if len(lines) > 1 and len({task for task, _ in metrics}) > 1:
        choices.append(("mean rank", "mean rank (1 is best)", False))
    choices += [(f"{task} {m.label}", f"{task} {m.label}", m.higher_is_better) for task, m in metrics]
    for choice in choices:
        if any(line["macs"] and line.get(choice[0]) is not None for line in lines):
            return choice
    return None


def against_macs(lines: Sequence[Mapping[str, Any]], column: str, label: str, higher_is_better: bool) -> plots.Figure:
    """Each net as a point; nets without MACs (filter banks) as a dashed line. Better is always higher up."""
    figure, (ax,) = plots.new_figure()
    points = sorted((line["macs"] / 1e9, line[column], line["net"]) for line in lines
                    if line["macs"] and line[column] is not None)  # fmt: skip
    ax.plot([x for x, _, _ in points], [y for _, y, _ in points], "o", clip_on=False)
    low, high = (points[0][0], points[-1][0]) if points else (0, 0)
    for x, y, name in points:  # names point inwards
        right = high > low and x > low + 0.7 * (high - low)
        ax.annotate(name, (x, y), xytext=(-7 if right else 7, 0), textcoords="offset points",
                    ha="right" if right else "left", va="center", fontsize=8)  # fmt: skip
    for line in lines:
        if line["macs"] is None and line[column] is not None:
            ax.axhline(line[column], color="gray", linestyle="--", linewidth=1)
            ax.annotate(line["net"], (0, line[column]), xycoords=("axes fraction", "data"), xytext=(4, 3),
                        textcoords="offset points", fontsize=8, color="gray")  # fmt: skip
    ax.set(xlabel="GMACs, as the SUPERB challenge counts them", ylabel=label)
    ax.margins(0.15)
    if not higher_is_better:
        ax.invert_yaxis()
    return figure
