"""Held-out losses of the shipped supernet and of nets alone: python docs/results/shipped.py [NAME=RUN_DIR ...]

From the project's folder, into docs/results/raw/shipped.jsonl. RUN_DIR: where a net alone was distilled.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from raw import archs, held_out, write

import lighthubert as lh

SUPERNET, RECIPE = "checkpoints/lighthubert-mini.safetensors", Path("recipes/mini/release_stage2.yaml")


def measure(names: dict[str, str], supernet: lh.Supernet, recipe: Path) -> None:
    """Rows of some archs. names: what each is called in the table."""
    losses, sizes = held_out(supernet, recipe), archs(supernet)
    for arch, name in names.items():
        config = supernet.space.config(sizes[arch])
        row = {"net": name, "params": lh.cost.num_params(config), "macs": lh.cost.macs(config), **losses[arch]}
        write("shipped", ("net",), row)
        print(row, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("alone", nargs="*", metavar="NAME=RUN_DIR", help="nets alone; the shipped supernet without any")
    args = parser.parse_args()
    torch.set_num_threads(1)
    for item in args.alone:
        name, folder = item.split("=", 1)
        net = lh.load(Path(folder) / "supernet.safetensors")
        measure({"alone": name}, net, Path(folder) / "config.yaml")
    if not args.alone:
        supernet = lh.load(SUPERNET)
        measure({name: name for name in archs(supernet)}, supernet, RECIPE)


if __name__ == "__main__":
    main()
