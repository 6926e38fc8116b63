"""Probes nets on the Debian corpus: python docs/results/probes.py --corpus corpus [--nets teacher,largest]

From the project's folder, into docs/results/raw/probes.jsonl. The corpus needs `python -m lighthubert.prepare phones`.
"""

from __future__ import annotations

import argparse
import time
from functools import cache

import torch
from raw import archs, write

import lighthubert as lh
from lighthubert.probes import PROBES, Represent, hidden_states, load_probe, mfcc_frames, run_probe

TEACHER, SUPERNET = "checkpoints/hubert-mini.safetensors", "checkpoints/lighthubert-mini.safetensors"
CONTEXTS = {"MFCC": (1, 5, 11), "teacher": (1, 5, 11)}  # frames side by side, not for classes of clips; else one
NETS = ("MFCC", "random", "teacher", "largest", "middle", "smallest")
SEEDS = {"text": (1,)}  # (1, 2, 3) of the others


@cache
def representation(name: str) -> Represent:
    """MFCC, random, teacher, an arch of the shipped supernet, FILE:ARCH of another one, or the FILE of a single net."""
    if name == "MFCC":
        return mfcc_frames
    if name in ("random", "teacher"):
        teacher = lh.load(TEACHER)
        if name == "teacher":
            return hidden_states(teacher)
        torch.manual_seed(0)
        return hidden_states(lh.Hubert(teacher.config))
    if name.endswith(".safetensors"):
        return hidden_states(lh.load(name))
    file, _, arch = name.rpartition(":")
    supernet = lh.load(file or SUPERNET)
    return hidden_states(supernet.sample(archs(supernet, 0)[arch]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", default="corpus")
    parser.add_argument(
        "--nets", default=",".join(NETS),
        help=f"of {', '.join(NETS)}, FILE:ARCH of another supernet, or the FILE of a single net",
    )  # fmt: skip
    parser.add_argument("--tasks", default=",".join(PROBES))
    args = parser.parse_args()
    torch.set_num_threads(1)
    for name in args.tasks.split(","):
        probe = load_probe(name, args.corpus)
        for net in args.nets.split(","):
            layers = None
            seeds = SEEDS.get(name, (1, 2, 3))
            for context in CONTEXTS.get(net, (1,)) if probe.kind != "classes" else (1,):
                start = time.monotonic()
                score = run_probe(probe, representation(net), seeds, context, layers)
                layers = [score.layer]  # a wider context is tried on the layer that is best, or heaviest, without
                details = {key: value for key, value in vars(score).items() if key not in ("metric", "values")}
                row = {"task": name, "net": net, "context": context, "seeds": seeds, score.metric: score.values}
                write("probes", ("task", "net", "context"), row | details)
                print(f"{name}, {net} x{context}: {score.metric} {score.mean:.3f}, layer {score.layer}, "
                      f"{time.monotonic() - start:.0f} s", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
