"""How much k-means units say of phones: python docs/results/units.py --corpus corpus

Clusters of MFCC and of a net's layers, fitted on training clips and held against the phones of held-out ones, by
phone-normalised mutual information (Hsu et al. 2021), into docs/results/raw/units.jsonl. From the project's folder.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from raw import write
from sklearn.metrics import mutual_info_score

import lighthubert as lh
from lighthubert.data import DataConfig, Manifest, eval_batches, mfcc
from lighthubert.objectives.units import assign, fit_kmeans
from lighthubert.probes import Represent, hidden_states, load_probe

BATCH = DataConfig(max_seconds=32, max_clip_seconds=15)
FIT_CLIPS = 700


def centred_mfcc(batch: lh.data.Batch) -> list[list[torch.Tensor]]:
    """MFCC as the first iteration clusters them: without their mean over the clip."""
    return [[mfcc(w[:n], lh.HubertConfig()) for w, n in zip(batch.waveform, batch.lengths.tolist(), strict=True)]]


def frames(clips: Manifest, represent: Represent, layer: int) -> tuple[list[torch.Tensor], list[int]]:
    """Features of a layer (T, D) of each clip, and the rows they belong to."""
    found, rows = [], []
    for batch in eval_batches(clips, BATCH, represent.net):
        found += [f.clone() for f in represent(batch)[layer]]
        rows += batch.rows
    return found, rows


def score(name: str, represent: Represent, layer: int, num_units: int, train: Manifest, corpus: str) -> None:
    centres = torch.from_numpy(fit_kmeans(frames(train, represent, layer)[0], num_units, seed=0))
    row: dict[str, object] = {"features": name, "layer": layer, "num_units": num_units}
    for probe in (load_probe("phones", corpus), load_probe("phones_narrow", corpus)):
        held_out = [i for i, clip in enumerate(probe.clips) if clip.held_out]
        features, rows = frames(probe.manifest.take(held_out), represent, layer)
        units = np.concatenate([assign(f, centres) for f in features])
        pairs = zip(rows, features, strict=True)
        labels = np.concatenate([probe.labels(held_out[r], len(f), represent.net) for r, f in pairs])
        row[probe.name] = mutual_info_score(labels, units) / mutual_info_score(labels, labels)
    write("units", ("features", "layer", "num_units"), row)
    print(row, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", default="corpus")
    parser.add_argument("--first", default="runs/studies/teacher.safetensors", help="the net of the first iteration")
    args = parser.parse_args()
    torch.set_num_threads(1)
    clips = Manifest.read(f"{args.corpus}/train.tsv")
    rows = np.flatnonzero((clips.samples > 12800) & (clips.samples < 160000))
    train = clips.take(sorted(np.random.default_rng(0).permutation(rows)[:FIT_CLIPS].tolist()))
    nets = {"iteration 1": args.first, "iteration 2": "checkpoints/hubert-mini.safetensors"}
    for num_units in (100, 200):
        score("MFCC", Represent(centred_mfcc, lh.HubertConfig()), 0, num_units, train, args.corpus)
        for name, path in nets.items():
            for layer in (1, 3, 5) if num_units == 100 else (3,):
                score(name, hidden_states(lh.load(path)), layer, num_units, train, args.corpus)


if __name__ == "__main__":
    main()
