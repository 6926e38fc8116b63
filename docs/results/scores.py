"""Does the score for search order subnets as the whole probe does? python docs/results/scores.py --corpus corpus

From the project's folder, into docs/results/raw/scores.jsonl: the phone probe of largest, middle, smallest and eight
random subnets of the shipped supernet, with all clips, three seeds and layers 1 to 3, and as `lighthubert.probes.score`
has it, on fewer clips. What is measured is not measured again.
"""

from __future__ import annotations

import argparse
import time

import torch
from raw import archs, read, write

import lighthubert as lh
from lighthubert.probes import hidden_states, load_probe, run_probe, score

SUPERNET = "checkpoints/lighthubert-mini.safetensors"
CLIPS = ("all", "60 + 40", "200 + 100")  # to train on + held out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", default="corpus")
    args = parser.parse_args()
    torch.set_num_threads(1)
    probe, supernet = load_probe("phones", args.corpus), lh.load(SUPERNET)
    done = {(row["net"], row["clips"]) for row in read("scores")}
    for clips in CLIPS:
        for name, arch in archs(supernet, 8).items():
            if (name, clips) in done:
                continue
            net, start = supernet.sample(arch), time.process_time()
            if clips == "all":
                accuracy = run_probe(probe, hidden_states(net), layers=(1, 2, 3)).mean
            else:
                accuracy = score(net, probe, *map(int, clips.split(" + ")))
            seconds = round(time.process_time() - start, 1)
            write(
                "scores", ("net", "clips"), {"net": name, "clips": clips, "accuracy": accuracy, "cpu_seconds": seconds}
            )
            print(f"{name}, {clips}: {accuracy:.4f}, {seconds} s", flush=True)


if __name__ == "__main__":
    main()
