"""What a finished distillation shows: a table, a picture, and subnets as files that agree with the supernet."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from lighthubert import cost
from lighthubert.checkpoint import load, save
from lighthubert.config import read_yaml
from lighthubert.data import Batch, DataConfig, Manifest, eval_batches
from lighthubert.elastic import OneArch, Supernet
from lighthubert.models import Arch
from lighthubert.pretrain.distill import eval_archs, outputs_agree
from lighthubert.pretrain.plots import stages
from lighthubert.runtime import plots, tables

COMPARABLE = ("teacher", "space", "valid_manifest", "target", "distance")  # what a held-out loss depends on


def report(supernet: Supernet, run_dir: Path, valid: Manifest, data: DataConfig, num_archs: int) -> None:
    """Print the held-out losses of this run and of those it started from; write report.png and subnets/."""
    archs = eval_archs(supernet, num_archs)
    moments = history(run_dir)
    rows = [describe(supernet, name, arch, moments) for name, arch in archs.items()]
    plots.save(stages(rows, list(moments)), run_dir / "report.png")
    print_table(rows, list(moments))
    print(f"\nPicture: {run_dir / 'report.png'}\n")
    if isinstance(supernet.space, OneArch):
        print(f"{run_dir / 'hubert.safetensors'}: the trained net")
        return
    batch = next(eval_batches(valid, data, supernet.config))
    for name, arch in archs.items():
        path = run_dir / "subnets" / f"{name}.safetensors"
        difference = extract_and_compare(supernet, arch, path, batch)
        size = path.stat().st_size / 1e6
        print(f"{path}: {size:.1f} MB, loaded; largest difference from the supernet: {difference:g}")


def history(run_dir: Path) -> dict[str, dict[str, float]]:
    """The held-out losses at the start of the first run of a chain, and after each run, by column name."""
    chain: list[tuple[Path, list[dict[str, Any]]]] = []
    folder, own = run_dir.resolve(), read_yaml(run_dir / "config.yaml")
    while folder not in dict(chain) and all((folder / name).is_file() for name in ("evals.jsonl", "config.yaml")):
        config = read_yaml(folder / "config.yaml")
        if any(config.get(key) != own[key] for key in COMPARABLE):
            break
        lines = (folder / "evals.jsonl").read_text().splitlines()
        chain.insert(0, (folder, [json.loads(line)["values"] for line in lines]))
        if config["init"] in ("random", "teacher"):
            break
        folder = Path(config["init"]).resolve().parent
    names = [folder.name for folder, _ in chain]
    unique = len(set(names)) == len(names)
    after = {f"after {folder.name if unique else folder}": values[-1] for folder, values in chain}
    return {"start": chain[0][1][0]} | after


def describe(supernet: Supernet, name: str, arch: Arch, moments: dict[str, dict[str, float]]) -> dict[str, Any]:
    config = supernet.space.config(arch)
    losses = {column: values.get(f"clean_loss/{name}") for column, values in moments.items()}
    return {"name": name, "params": cost.num_params(config), "macs": cost.macs(config)} | losses


def print_table(rows: list[dict[str, Any]], columns: list[str]) -> None:
    cells = []
    for row in sorted(rows, key=lambda row: -row["params"]):
        losses = ("-" if row[column] is None else f"{row[column]:.3f}" for column in columns)
        cells.append([row["name"], f"{row['params'] / 1e6:.2f}", f"{row['macs'] / 1e9:.2f}", *losses])
    tables.print_table("Held-out loss, clean speech", ["arch", "M parameters", "GMACs / 10 s", *columns], cells)


@torch.no_grad()
def extract_and_compare(supernet: Supernet, arch: Arch, path: Path, batch: Batch) -> float:
    """Write a subnet, read it back, and give its largest difference from the supernet on held-out clips."""
    path.parent.mkdir(exist_ok=True)
    save(supernet.eval().sample(arch), path)
    subnet = load(path)
    clips = (batch.waveform, batch.lengths)
    return outputs_agree(subnet(*clips), supernet(*clips, arch))
