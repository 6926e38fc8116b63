"""Do scores with shared weights order subnets as further training does? python docs/results/adapted.py --corpus corpus

From the project's folder, into docs/results/raw/adapted.jsonl: random subnets of the shipped supernet, extracted and
distilled alone for 500 steps by recipes/mini/adapt.yaml on the corpus' training clips, in runs/adapted/. Both losses
are of clean speech, on the embedded corpus' held-out clips: before a step they are those of the supernet. What is done
is not done again, and a run that was stopped goes on.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import subprocess
import sys
from pathlib import Path

from raw import read, write

import lighthubert as lh

SUPERNET = "checkpoints/lighthubert-mini.safetensors"
ROOT = Path("runs/adapted")


def adapt(subnet: Path, corpus: Path, steps: int, folder: Path) -> tuple[float, float, float]:
    """Loss before and after, and CPU seconds, of one run of pretrain."""
    settings = {
        "run_dir": folder,
        "init": subnet,
        "train_manifest": corpus / "train.tsv",
        "train.steps": steps,
        "train.warmup_steps": min(30, steps // 10),
        "train.eval_every": steps,
    }
    command = [sys.executable, "-m", "lighthubert.pretrain", "recipes/mini/adapt.yaml"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with folder.with_suffix(".log").open("w") as log:
        given = [f"{key}={value}" for key, value in settings.items()]
        subprocess.run(
            [*command, *given], check=True, stdout=log, stderr=log, env=os.environ | {"OMP_NUM_THREADS": "1"}
        )
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    evals = [
        json.loads(line)["values"]["clean_loss/alone"] for line in (folder / "evals.jsonl").read_text().splitlines()
    ]
    return evals[0], evals[-1], used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, default=Path("corpus"))
    parser.add_argument("--archs", type=int, default=20)
    parser.add_argument("--steps", type=int, default=500)
    args = parser.parse_args()
    supernet = lh.load(SUPERNET)
    assert isinstance(supernet, lh.Supernet)
    folder = ROOT / str(args.steps)
    folder.mkdir(parents=True, exist_ok=True)
    done = {(row["draw"], row["steps"]) for row in read("adapted")}
    for draw in range(args.archs):
        if (draw, args.steps) in done:
            continue
        net, path = supernet.sample(rng=random.Random(draw)), folder / f"{draw}.safetensors"
        lh.save(net, path)
        before, after, seconds = adapt(path, args.corpus, args.steps, folder / str(draw))
        assert net.config.arch is not None
        row = {"draw": draw, "steps": args.steps, "before": before, "after": after, "cpu_seconds": round(seconds, 1)}
        row |= {"macs": lh.cost.macs(net.config), "params": lh.cost.num_params(net.config)}
        write("adapted", ("draw", "steps"), row | {"arch": net.config.arch.to_dict()})
        print(f"arch {draw}: {before:.4f} -> {after:.4f}, {seconds:.0f} CPU s", flush=True)


if __name__ == "__main__":
    main()
