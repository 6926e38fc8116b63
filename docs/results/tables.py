"""Writes the tables of docs/results.md and checkpoints/README.md anew from docs/results/raw: `make results`.

A table stands between `<!-- table NAME -->` and `<!-- end -->`; what is written there by hand is lost.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean, median, stdev
from typing import Any

from raw import read
from tabulate import tabulate

from lighthubert.probes.scores import METRICS

ROOT = Path(__file__).parents[2]
DOCUMENTS = ("docs/results.md", "checkpoints/README.md")
ARCHS = ("largest", "middle", "smallest")
BLOCK = re.compile(r"(<!-- table (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)

NAMES = {
    "shares": "stage 1, then shares of `[largest, smallest, random]`",
    "one_stage": "one stage of the same shares",
    "all_clips": "all clips for each of `[largest, smallest, random]`",
    "random_only": "`[random]`, the paper's",
    "masked_frames": "loss on masked frames only",
    "random_init": "stage 1 from random weights",
    "ordered": "the same shares, units ordered by importance",
    "ordered_one_stage": "one stage of shares, ordered",
    "ordered_random_only": "`[random]`, ordered",
    "ordered_turns": "`[largest, random, smallest, random]` in turns, ordered",
    "one_stage_turns": "as the teacher has them",
    "ordered_one_stage_turns": "by importance",
    "gates": "by gates, that pruning has learnt in 200 steps",
    "last_layer": "the last layer's FFN output alone",
    "layer_outputs": "outputs of the last four layers",
    "not_normalised": "no normalisation",
    "instance_norm": "instance norm over time",
}


def spread(values: Sequence[float]) -> str:
    """Mean and standard deviation; a single value is marked."""
    return f"{fmean(values):.3f} ± {stdev(values):.3f}" if len(values) > 1 else f"{values[0]:.3f} (1 seed)"


def table(headers: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    align = ["left", *["right"] * (len(headers) - 1)]
    return tabulate(rows, headers, tablefmt="pipe", colalign=align, disable_numparse=True) + "\n"


def losses(rows: Sequence[dict[str, Any]], kind: str) -> list[str]:
    """Of largest, middle, smallest, and the mean of the ten random archs, over seeds."""
    cells = [[row["losses"][arch][kind] for row in rows] for arch in ARCHS]
    randoms = [fmean(v[kind] for name, v in row["losses"].items() if name.startswith("random")) for row in rows]
    return [spread(values) for values in (*cells, randoms)]


def study(arms: Sequence[str], kind: str = "clean") -> str:
    rows = []
    for arm in arms:
        runs = [row for row in read("studies") if row["arm"] == arm]
        steps = " + ".join(map(str, runs[0]["steps"]))
        seconds = fmean(sum(run["cpu_seconds"]) for run in runs)
        rows.append([NAMES[arm], steps, f"{seconds:.0f}", *losses(runs, kind)])
    return table(["", "steps", "CPU s", *ARCHS, "ten random"], rows)


def alone() -> str:
    """Subnets of a supernet beside nets distilled alone."""
    rows = []
    everything = read("studies")
    for arm in ("ordered", "ordered_random_only", "ordered_turns"):
        runs = [row for row in everything if row["arm"] == arm]
        cells = [spread([run["losses"][arch]["clean"] for run in runs]) for arch in ("smallest", "middle")]
        rows.append([f"subnet: {NAMES[arm]}", " + ".join(map(str, runs[0]["steps"])), *cells])
    for what, name in {"clips": "alone, as many clips", "time": "alone, as much time"}.items():
        runs = {a: [r for r in everything if r["arm"] == f"{a}_alone_{what}"] for a in ("smallest", "middle")}
        cells = [spread([run["losses"]["alone"]["clean"] for run in found]) for found in runs.values()]
        rows.append([name, " / ".join(str(found[0]["steps"][0]) for found in runs.values()), *cells])
    return table(["", "steps", "smallest", "middle"], rows)


def targets() -> str:
    """Phones: losses of other targets cannot be compared."""
    rows = []
    for arm in ("shares", "last_layer", "layer_outputs", "not_normalised", "instance_norm"):
        name = "FFN outputs of the last four layers, layer norm" if arm == "shares" else NAMES[arm]
        nets = {f"runs/studies/{seed}/{arm}/supernet.safetensors:middle" for seed in (1, 2, 3)}
        found = [fmean(row["accuracy"]) for row in read("probes") if row["net"] in nets and row["task"] == "phones"]
        if found:
            rows.append([name, spread(found)])
    return table(["target", "phones, middle subnet"], rows)


NETS = ("MFCC", "random", "teacher", "largest", "middle", "smallest")
ALONE = {
    f"runs/mini/alone_{net}_clips/supernet.safetensors:alone": f"{net} alone, as many clips"
    for net in ("middle", "smallest")
}
TASKS = {"phones_narrow": "phones, narrowband", "text": "character error rate"}


def probes(nets: Sequence[str], tasks: Sequence[str] = ("characters", "intents", "phones", "phones_narrow")) -> str:
    """Accuracy on held-out clips, or character error rate; the chosen or heaviest layer in brackets."""
    scores = {(row["net"], row["context"], row["task"]): row for row in read("probes")}
    rows = []
    for net in nets:
        for context in (1, 5, 11):
            found = [scores.get((net, context, task)) for task in tasks]
            if any(found):
                name = f"{net}, {context} frames side by side" if context > 1 else ALONE.get(net, net)
                rows.append([name, *(f"{spread(metric(s))} ({s['layer']})" if s else "" for s in found)])
    return table(["", *(TASKS.get(task, task) for task in tasks)], rows)


def scores() -> str:
    """What the cheap score, the loss and MACs say of subnets, against the whole phone probe."""
    from scipy.stats import spearmanr

    found = {(row["clips"], row["net"]): row for row in read("scores")}
    shipped = {row["net"]: row for row in read("shipped")}
    nets = [net for clips, net in found if clips == "all"]
    rows = []
    for clips in ("60 + 40", "200 + 100", "all"):
        same = [net for net in nets if (clips, net) in found]
        pairs = [(found["all", net]["accuracy"], found[clips, net]["accuracy"]) for net in same]
        seconds = [found[clips, net]["cpu_seconds"] for net in same]
        name = f"probe, {clips} clips" + (", three seeds" if clips == "all" else "")
        cost = f"{min(seconds):.0f} to {max(seconds):.0f}"
        rows.append([name, len(same), "" if clips == "all" else f"{spearmanr(pairs).statistic:.2f}", cost])
    for name, values in {"held-out loss": "clean", "MACs": "macs"}.items():
        pairs = [(found["all", net]["accuracy"], shipped[net][values]) for net in nets]
        rows.append([name, len(nets), f"{abs(spearmanr(pairs).statistic):.2f}", ""])
    return table(["score", "subnets", "rank correlation", "CPU s a net"], rows)


def metric(row: dict[str, Any]) -> list[float]:
    """A probe's values over seeds, whatever it measures."""
    values: list[float] = next(row[name] for name in METRICS if name in row)
    return values


CURVE = ("masked_loss/units", "masked_accuracy/units", "unmasked_accuracy/units")


def teacher_curve(name: str) -> str:
    rows = [
        [
            str(row["step"]),
            f"{row['audio_seconds'] / 3600:.1f}",
            f"{row['wall_seconds'] / 60:.0f}",
            *(f"{row['values'][key]:.3f}" for key in CURVE),
        ]
        for row in read(name)
    ]  # fmt: skip
    return table(
        ["step", "hours of audio", "minutes", "masked cross-entropy", "masked accuracy", "unmasked accuracy"], rows
    )


def units() -> str:
    """What clusters say of phones."""
    rows = [
        [
            row["features"] if row["features"] == "MFCC" else f"{row['features']}, layer {row['layer']}",
            str(row["num_units"]),
            *(f"{row[task]:.3f}" for task in ("phones", "phones_narrow")),
        ]
        for row in read("units")
    ]
    return table(["features", "units", "phones", "phones, narrowband"], rows)


def shipped() -> str:
    """The shipped supernet's archs, and nets alone."""
    rows = [
        [
            row["net"],
            f"{row['params'] / 1e6:.2f}",
            f"{row['macs'] / 1e9:.2f}",
            f"{row['clean']:.3f}",
            f"{row['masked']:.3f}",
        ]
        for row in sorted(read("shipped"), key=lambda row: -row["macs"])
    ]
    return table(["net", "M parameters", "GMACs / 10 s", "clean", "masked"], rows)


METHODS = {
    "unpruned": "unpruned",
    "size": "Size",
    "sepsize": "SepSize",
    "macs": "MACs",
    "dphubert": "DPHuBERT-style",
    "uniform": "uniform widths, important units",
    "random": "Size's widths, random units",
}
PHASES = ("before", "after")
ERRORS = {"cer": "CER %,", "wer": "WER %,", "accuracy": "wrong %,"}


def pruning(task: str, errors: Sequence[str]) -> str:
    """Every method at every sparsity: costs, and errors in percent after each phase, over seeds."""
    found = [row for row in read("pruning") if row["task"] == task]
    times = [row for row in read("pruning_latency") if row["task"] == task]
    rows = []
    for sparsity in sorted({row["sparsity"] for row in found}):
        for method, name in METHODS.items():
            if not (runs := [r for r in found if (r["sparsity"], r["method"]) == (sparsity, method)]):
                continue
            timed = [t["milliseconds"] for t in times if (t["sparsity"], t["method"]) == (sparsity, method)]
            costs = [
                f"{fmean(run['params'] for run in runs) / 1e6:.2f}",
                f"{fmean(run['macs'] for run in runs) / 1e9:.2f}",
                f"{fmean(timed):.0f}",
            ]
            cells = [percents([wrong(r[phase], error) for r in runs]) for error in errors for phase in PHASES]
            rows.append([f"{sparsity:.0%}" if sparsity else "", name, *costs, *cells])
    names = [f"{ERRORS[error]} {name}" for error in errors for name in ("pruned", "second phase")]
    return table(["gone", "method", "M parameters", "G MACs", "ms", *names], rows)


def wrong(values: dict[str, float], error: str) -> float:
    return 1 - values[error] if error == "accuracy" else values[error]


def percents(values: Sequence[float]) -> str:
    """As `spread`, in percent."""
    percent = [100 * value for value in values]
    return f"{fmean(percent):.1f} ± {stdev(percent):.1f}" if len(percent) > 1 else f"{percent[0]:.1f}"


def latency() -> str:
    """How far predicted latency is from measured latency."""
    rows = []
    for which, name in {
        "unseen": "random archs",
        "front": "front of a search, its own table",
        "front_anew": "front of a search, table measured with it",
    }.items():
        for precision in ("fp32", "bf16"):
            found = [row for row in read("latency") if (row["set"], row["precision"]) == (which, precision)]
            errors = [abs(row["predicted"] / row["measured"] - 1) for row in found]
            if found:
                times = [row["measured"] for row in found]
                rows.append([
                    f"{name}, {precision}",
                    len(found),
                    f"{min(times):.0f} to {max(times):.0f}",
                    f"{median(errors):.1%}",
                    f"{max(errors):.1%}",
                    f"{sum(error <= 0.1 for error in errors)} of {len(found)}",
                ])  # fmt: skip
    return table(["", "archs", "measured, ms", "median error", "largest error", "within 10 %"], rows)


NOT_YET = "(not measured yet)\n"
COST_UNITS = {"macs": (1e9, "GMACs"), "params": (1e6, "M parameters"), "milliseconds": (1, "ms")}


def searches() -> str:
    """Test losses of what a search found, of the best of as many random archs, and of the uniform arch."""
    budgets: dict[tuple[str, float], list[dict[str, Any]]] = {}
    for row in read("searches"):
        budgets.setdefault((row["kind"], row["limit"]), []).append(row)
    rows = []
    for (kind, limit), runs in budgets.items():
        unit, name = COST_UNITS[kind]
        cells = [spread([run[found]["test"] for run in runs]) for found in ("searched", "random")]
        ahead = sum(run["searched"]["test"] < run["random"]["test"] for run in runs)
        rows.append(
            [f"{limit / unit:g} {name}", *cells, f"{runs[0]['uniform']['test']:.3f}", f"{ahead} of {len(runs)}"]
        )
    headers = ["at most", "searched", "best of as many random", "uniform", "ahead of random"]
    return table(headers, rows) if rows else NOT_YET


def adapted() -> str:
    """Spearman's rank correlation of what is known before with the loss after further distillation."""
    from scipy.stats import spearmanr

    runs = [row for row in read("adapted") if row["steps"] == 500]
    if len(runs) < 3:
        return NOT_YET
    after = [run["after"] for run in runs]
    rows = [
        [name, len(runs), f"{abs(spearmanr([run[key] for run in runs], after).statistic):.2f}"]
        for key, name in (("before", "loss with shared weights"), ("macs", "MACs"), ("params", "parameters"))
    ]
    return table(["known before", "subnets", "rank correlation with the loss after 500 steps"], rows)


TABLES: dict[str, Callable[[], str]] = {
    "stages": lambda: study(("shares", "one_stage", "ordered", "ordered_one_stage")),
    "subnets": lambda: study(("shares", "all_clips", "random_only", "ordered", "ordered_random_only", "ordered_turns")),
    "frames_clean": lambda: study(("shares", "masked_frames")),
    "frames_masked": lambda: study(("shares", "masked_frames"), "masked"),
    "init": lambda: study(("shares", "random_init", "ordered")),
    "alone": alone,
    "targets": targets,
    "gates": lambda: study(("one_stage_turns", "ordered_one_stage_turns", "gates")),
    "pruning_ctc": lambda: pruning("ctc", ("cer", "wer")),
    "pruning_intent": lambda: pruning("intent", ("accuracy",)),
    "probes": lambda: probes(NETS),
    "probes_text": lambda: probes(NETS, ("text",)),
    "probes_teacher": lambda: probes(("MFCC", "random", "teacher")),
    "probes_supernet": lambda: probes(("MFCC", "teacher", "largest", "middle", "smallest", *ALONE)),
    "scores": scores,
    "units": units,
    "latency": latency,
    "teacher_1": lambda: teacher_curve("teacher_1"),
    "teacher_2": lambda: teacher_curve("teacher_2"),
    "shipped": shipped,
    "searches": searches,
    "adapted": adapted,
}


def written(text: str) -> str:
    """A document with its tables made anew."""
    return BLOCK.sub(lambda block: f"{block[1]}{TABLES[block[2]]()}{block[3]}", text)


def main() -> int:
    for name in DOCUMENTS:
        path = ROOT / name
        before = path.read_text()
        after = written(before)
        path.write_text(after)
        print(f"{name}: {len(BLOCK.findall(after))} tables, {'changed' if before != after else 'as before'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
