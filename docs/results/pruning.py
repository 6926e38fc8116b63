"""Runs the pruning study of docs/results.md: python docs/results/pruning.py {ctc,intent} [METHOD ...] [--seeds 1]

From the project's folder, with the corpus of `lighthubert prepare debian` in corpus/. First come the fine-tuned nets:

    lighthubert finetune recipes/mini/finetune_ctc.yaml
    lighthubert finetune recipes/mini/finetune_intent.yaml

Each of them is pruned by every method to every sparsity, then fine-tuned further (the second phase). "uniform" is cut
at once: the same share of every layer's channels, heads and FFN units, of which the most important ones stay; "random"
has the widths that `size` has found and random units. These two, and the net as it is ("unpruned"), have the same steps
of both phases without gates. Errors are those of all held-out clips, dev and test. What is done is not done again.
`python docs/results/pruning.py latency` then measures all nets, batch 1, a clip of 10 s.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import resource
import shutil
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from typing import Any

from raw import read, write

import lighthubert as lh
from lighthubert import cost
from lighthubert.config import read_yaml, write_yaml
from lighthubert.cost.clock import time_nets, typical
from lighthubert.data import DataConfig, Manifest, write_manifest
from lighthubert.elastic import Axis, Subnet, axis_sizes, extract, importance, ranking
from lighthubert.finetune import load
from lighthubert.finetune.__main__ import main as finetune
from lighthubert.models import HubertConfig
from lighthubert.prune.__main__ import main as prune
from lighthubert.runtime.sums import Sums
from lighthubert.schema import parse
from lighthubert.tasks.config import TaskConfig
from lighthubert.tasks.labelled import evaluate_task
from lighthubert.tasks.labels import Labels, labelled

ROOT = Path("runs/pruning")
STEPS, WARMUP, MORE = 200, 60, 100  # of pruning, until the whole sparsity is asked for, of the second phase
START = {"ctc": "runs/mini/finetune_ctc/model.safetensors", "intent": "runs/mini/finetune_intent/model.safetensors"}
METHODS = {
    "size": ["params"],
    "sepsize": ["frontend_params", "transformer_params"],
    "macs": ["macs"],
    "dphubert": ["params"],
}
BASELINES = ("unpruned", "uniform", "random")
AXES = ("conv", "heads", "ffn")
KEY = ("task", "method", "sparsity", "seed")


def phase(task: str, name: str, seed: int, steps: int, /, train: dict[str, Any], **changes: Any) -> Path:
    """The recipe of either phase: the task as it was fine-tuned, in smaller batches. None leaves a key out."""
    tuned = read_yaml(Path(f"recipes/mini/finetune_{task}.yaml"))
    values = {key: tuned[key] for key in ("train_manifest", "task", "masks")}
    values |= {"run_dir": str(ROOT / name), "valid_manifest": str(ROOT / f"{task}.tsv"), "seed": seed}
    values["data"] = {"max_seconds": 16, "max_clip_seconds": 8, "window": 100}
    values["train"] = {
        "steps": steps, "lr": 5.0e-4, "precision": "bf16", "weight_decay": 0.0, "eps": 1.0e-8,
        "save_every": 1000, "eval_every": steps, "log_every": 10, **train,
    }  # fmt: skip
    path = ROOT / f"{name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_yaml(path, {key: value for key, value in (values | changes).items() if value is not None})
    return path


def run(job: Callable[[list[str]], int], recipe: Path) -> None:
    """One command, its output in a file beside its recipe."""
    with recipe.with_suffix(".log").open("w") as log, contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
        code = job([str(recipe)])
    if code:
        raise SystemExit(f"{recipe}: failed, see {recipe.with_suffix('.log')}")


def first_phase(task: str, method: str, sparsity: float, seed: int) -> Path:
    """Pruning, or for the baselines the same training of a net that was cut before."""
    name, changes = f"{task}/{method}_{sparsity:g}_{seed}", {}
    if method in METHODS:
        changes["sparsity"] = dict.fromkeys(METHODS[method], sparsity) | {"warmup_steps": WARMUP}
        changes |= {"gate_lr": 0.2, "init": START[task]}
        if method == "dphubert":
            changes |= {"distill": {"teacher": START[task], "layers": [0, 2, 4, 6]}, "task": None, "masks": None}
    else:
        changes["init"] = str(cut(task, method, sparsity, seed))
    train = {"schedule": "flat_linear", "flat_share": 0.8, "warmup_steps": 10}
    run(prune, phase(task, name, seed, STEPS, train=train, **changes))
    return ROOT / name / "pruned.safetensors"


def cut(task: str, method: str, sparsity: float, seed: int) -> Path:
    """The file of a net without training: the same share of every layer, or random units of the widths that `size`
    has found."""
    path = ROOT / f"{task}/{method}_{sparsity:g}_{seed}_cut.safetensors"
    model = load(START[task])
    net, whole = model.hubert, model.hubert.config
    if method == "uniform":
        widths = uniform(whole, (1 - sparsity) * cost.num_params(whole))
        order = ranking(net, importance(net))
        units = {axis: tuple(sorted(order[axis][:width])) for axis, width in widths.items()}
    elif method == "random":
        sizes = axis_sizes(lh.load(ROOT / f"{task}/size_{sparsity:g}_{seed}/pruned.safetensors").config)
        rng = random.Random(seed)
        widths = {axis: sizes[axis] for axis in axis_sizes(whole) if axis.kind in AXES}
        units = {axis: tuple(sorted(rng.sample(range(axis_sizes(whole)[axis]), n))) for axis, n in widths.items()}
    else:
        units = {}
    model.of(extract(net, Subnet(tuple(range(whole.num_layers)), units))).save(path)
    return path


def uniform(config: HubertConfig, budget: float) -> dict[Axis, int]:
    """As near as can be the same share of every axis; FFN units fill what rounding leaves of the budget."""
    sizes = {axis: n for axis, n in axis_sizes(config).items() if axis.kind in AXES}
    (full,) = {n for axis, n in sizes.items() if axis.kind == "ffn"}
    found: list[tuple[float, dict[Axis, int]]] = []
    for share in (i / 1000 for i in range(1, 1000)):
        widths = {axis: max(1, round(n * share)) for axis, n in sizes.items()}
        prices = [
            cost.num_params(config, axis_sizes(config) | {a: f if a.kind == "ffn" else n for a, n in widths.items()})
            for f in (0, 1)
        ]
        ffn = min(full, int((budget - prices[0]) // (prices[1] - prices[0])))
        if ffn > 0:
            filled = {axis: ffn if axis.kind == "ffn" else n for axis, n in widths.items()}
            found.append((abs(ffn / full - share), filled))
    return min(found, key=lambda pair: pair[0])[1]


def measure(task: str, method: str, sparsity: float, seed: int, held_out: list[Manifest]) -> None:
    """Both phases and their errors, into raw/pruning.jsonl."""
    begin = resource.getrusage(resource.RUSAGE_SELF).ru_utime
    first = first_phase(task, method, sparsity, seed)
    name = f"{task}/{method}_{sparsity:g}_{seed}_second"
    run(finetune, phase(task, name, seed, MORE, init=str(first), train={"schedule": "tri_stage"}))
    second = ROOT / name / "model.safetensors"
    config = load(second).hubert.config
    write("pruning", KEY, {
        "task": task, "method": method, "sparsity": sparsity, "seed": seed, "steps": [STEPS, MORE],
        "params": cost.num_params(config), "macs": cost.macs(config), "arch": widths_of(config),
        "cpu_seconds": round(resource.getrusage(resource.RUSAGE_SELF).ru_utime - begin, 1),
        "frontend_params": cost.num_params(config, part="frontend"),
        "before": errors(first, held_out), "after": errors(second, held_out),
    })  # fmt: skip
    for folder in (first.parent, second.parent):
        shutil.rmtree(folder / "checkpoints")


def widths_of(config: HubertConfig) -> dict[str, int]:
    return {str(axis): int(n) for axis, n in axis_sizes(config).items() if axis.kind in AXES}


def errors(path: Path, held_out: list[Manifest]) -> dict[str, float]:
    model, sums = load(path), Sums()
    for manifest in held_out:
        labels = Labels(labelled(manifest, model.task), model.task, model.vocabulary)
        sums.extend(evaluate_task(model, labels, DataConfig()))
    return {key: value / count for key, (value, count) in sums.items()}


def latency() -> None:
    """Milliseconds of all finished nets, one thread; those of one task and sparsity are measured in turns."""
    rows = sorted(read("pruning"), key=lambda row: (row["task"], row["sparsity"]))
    for _, group in groupby(rows, key=lambda row: (row["task"], row["sparsity"])):
        runs = list(group)
        names = [f"{r['task']}/{r['method']}_{r['sparsity']:g}_{r['seed']}_second" for r in runs]
        nets = [lh.load(ROOT / name / "model.safetensors") for name in names]
        for row, times in zip(runs, time_nets(nets, cost.Conditions(), rounds=25), strict=True):
            milliseconds = round(float(typical(times)[0]), 2)
            write("pruning_latency", KEY, {k: row[k] for k in KEY} | {"milliseconds": milliseconds})


def clips(task: str) -> list[Manifest]:
    """The held-out clips, and a manifest of forty of them, for the runs' own evaluations."""
    recipe = read_yaml(Path(f"recipes/mini/finetune_{task}.yaml"))
    dev = Manifest.read(recipe["valid_manifest"])
    labelled_dev = labelled(dev, parse(TaskConfig, recipe["task"], "task"))
    few = labelled_dev.take(range(0, len(labelled_dev), len(labelled_dev) // 40))
    rows = [
        {"path": Path(few.file_path(i)).absolute(), "samples": few.samples[i]}
        | {k: v[i] for k, v in few.columns.items()}
        for i in range(len(few))
    ]
    write_manifest(ROOT / f"{task}.tsv", ("path", "samples", *few.columns), rows)
    return [dev, Manifest.read(Path(recipe["valid_manifest"]).with_name("test.tsv"))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=(*START, "latency"))
    parser.add_argument("methods", nargs="*", metavar="METHOD", help=f"of {', '.join((*METHODS, *BASELINES))}")
    parser.add_argument("--sparsities", default="0.5,0.1,0.3,0.75")
    parser.add_argument("--seeds", default="1")
    args = parser.parse_args()
    if args.task == "latency":
        latency()
        return
    held_out = clips(args.task)
    done = {tuple(row[k] for k in KEY) for row in read("pruning")}
    for seed in map(int, args.seeds.split(",")):
        for sparsity in map(float, args.sparsities.split(",")):
            for method in args.methods or (*METHODS, *BASELINES):
                at = 0.0 if method == "unpruned" else sparsity
                if (args.task, method, at, seed) in done:
                    continue
                measure(args.task, method, at, seed, held_out)
                done.add((args.task, method, at, seed))
                print(f"{args.task}: {method} {at:g}, seed {seed}: done", flush=True)


if __name__ == "__main__":
    main()
