"""Does the search beat random search and the uniform arch? python docs/results/searches.py --corpus corpus

From the project's folder, into docs/results/raw/searches.jsonl. Subnets of the shipped supernet under four budgets of
MACs with five seeds each, and four of every other cost with one. Archs are searched on the dev clips and reported on
the test clips: the best that the search found, the best of as many random archs, and the uniform arch. All runs are on
the same clips, so an arch is scored once for all of them: runs/searches/*.jsonl keep the scores. What is done is not
done again.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import torch
from raw import read, write

import lighthubert as lh
from lighthubert import checkpoint
from lighthubert.cost import Latency, costs
from lighthubert.data import DataConfig, Manifest
from lighthubert.elastic import SearchSpace
from lighthubert.models import Arch
from lighthubert.search.run import run_search
from lighthubert.search.score import HeldOutLoss, draw_clips

SUPERNET, TEACHER = "checkpoints/lighthubert-mini.safetensors", "checkpoints/hubert-mini.safetensors"
SHARES = (0.1, 0.25, 0.45, 0.7)  # of the way from the smallest to the largest subnet's cost
SEEDS = {"macs": (1, 2, 3, 4, 5)}  # one elsewhere
DATA = DataConfig(max_seconds=16, max_clip_seconds=15)


class Scores:
    """HeldOutLoss of archs on one draw of clips, kept in a file."""

    def __init__(self, supernet: lh.Supernet, manifest: Path, seconds: float, kept: Path) -> None:
        clips = draw_clips(Manifest.read(manifest), seconds, DATA)
        self.supernet, self.kept = supernet, kept.with_name(f"{kept.name}_{clips.digest[:12]}.jsonl")
        self.score: Callable[[lh.Hubert], float] = HeldOutLoss(supernet, checkpoint.read(TEACHER).hubert, clips, DATA)
        kept.parent.mkdir(parents=True, exist_ok=True)
        lines = self.kept.read_text().splitlines() if self.kept.exists() else []
        self.known = {supernet.space.arch(row["arch"]): row["score"] for row in map(json.loads, lines)}

    def __call__(self, arch: Arch) -> float:
        if arch not in self.known:
            self.known[arch] = self.score(self.supernet.sample(arch))
            with self.kept.open("a") as file:
                file.write(json.dumps({"arch": arch.to_dict(), "score": self.known[arch]}) + "\n")
        return self.known[arch]


def limits(space: SearchSpace, cost: str, latency: Latency | None) -> list[float]:
    """Four budgets, in round numbers."""
    low, high = (float(value) for value in costs(space, [space.smallest(), space.largest()], [cost], latency)[cost])
    return [float(f"{low + share * (high - low):.2g}") for share in SHARES]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, default=Path("corpus"))
    parser.add_argument("--kinds", default="macs,params,milliseconds")
    parser.add_argument("--evaluations", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=20, help="of dev clips")
    parser.add_argument("--test-seconds", type=float, default=300)
    parser.add_argument("--scores", type=Path, default=Path("runs/searches"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    supernet = lh.load(SUPERNET)
    assert isinstance(supernet, lh.Supernet)
    dev = Scores(supernet, args.corpus / "dev.tsv", args.seconds, args.scores / "dev")
    test = Scores(supernet, args.corpus / "test.tsv", args.test_seconds, args.scores / "test")
    key = ("kind", "limit", "seed")
    done = {tuple(row[k] for k in key) for row in read("searches")}
    for kind in args.kinds.split(","):
        latency = Latency.here(supernet.space) if kind == "milliseconds" else None
        for limit in limits(supernet.space, kind, latency):
            for seed in SEEDS.get(kind, (1,)):
                if (kind, limit, seed) in done:
                    continue
                found = run_search(
                    supernet.space, {kind: limit}, dev,
                    evaluations=args.evaluations, population=20, seed=seed, latency=latency,
                )  # fmt: skip
                named = {"searched": found.best, "random": found.random, "uniform": found.uniform}
                row = {"kind": kind, "limit": limit, "seed": seed, "evaluations": found.num_random}
                row |= {"dev_seconds": args.seconds, "test_seconds": args.test_seconds}
                for name, scored in named.items():
                    sizes = {"arch": scored.arch.to_dict(), "costs": scored.costs}
                    row[name] = {"dev": scored.score, "test": test(scored.arch), **sizes}
                write("searches", key, row)
                told = ", ".join(f"{name} {row[name]['dev']:.4f} / {row[name]['test']:.4f}" for name in named)
                print(f"{kind} {limit:g}, seed {seed}, dev / test: {told}", flush=True)


if __name__ == "__main__":
    main()
