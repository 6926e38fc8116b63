"""A linear classifier: logistic regression on frozen features, its layer and penalty chosen without held-out clips."""

# N items (clips, or frames), D dimensions

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lighthubert.probes.clips import Probe
from lighthubert.probes.features import Represent, collect, pool, stack
from lighthubert.probes.scores import Score

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

PENALTIES = (0.01, 0.1, 1.0)  # sklearn's C: smaller is stronger
CHOOSE = 5  # each fifth training clip judges layers and penalties
SHARE = 0.8  # of the training clips, drawn anew by each seed
MAX_FRAMES = 20_000  # of all training clips: more do not change the order of the nets


@dataclass(frozen=True)
class Items:
    """features: (N, D) of each layer. labels: (N,) strings. clip: (N,) the row each item belongs to."""

    features: list[np.ndarray]
    labels: np.ndarray
    clip: np.ndarray


def classify(probe: Probe, represent: Represent, seeds: Sequence[int], context: int,
             layers: Sequence[int] | None) -> Score:  # fmt: skip
    """How well a linear classifier tells labels of clips or of frames."""
    items = label(probe, represent, context, layers)
    held_out = np.array([clip.held_out for clip in probe.clips])
    train, test = np.flatnonzero(~held_out[items.clip]), np.flatnonzero(held_out[items.clip])
    train = np.random.default_rng(0).permutation(train)[: MAX_FRAMES if probe.kind == "frames" else None]
    judges = items.clip[train] % CHOOSE == 0
    fit, judge = train[~judges], train[judges]
    if len(judge) == 0 or len(test) == 0 or len(np.unique(items.labels[fit])) < 2:
        raise ValueError(f"probe {probe.name}: {len(train)} training and {len(test)} held-out items are too few: "
                         f"a fifth of the training clips chooses the layer, the others need two classes")  # fmt: skip
    first = [accuracy(items, layer, PENALTIES[1], fit, judge) for layer in range(len(items.features))]
    layer = int(np.argmax(first))
    number = layers[layer] if layers else layer
    tried = {c: first[layer] if c == PENALTIES[1] else accuracy(items, layer, c, fit, judge) for c in PENALTIES}
    penalty = max(tried, key=tried.__getitem__)
    scores = []
    for seed in seeds:
        kept = draw(items.clip[train], seed)
        scores.append(accuracy(items, layer, penalty, train[np.isin(items.clip[train], kept)], test))
    return Score("accuracy", tuple(scores), number, penalty, tuple(first), len(train), len(test))


def draw(clips: np.ndarray, seed: int) -> np.ndarray:
    """A seed's share of the training clips."""
    clips = np.unique(clips)
    return np.random.default_rng([1, seed]).permutation(clips)[: round(SHARE * len(clips))]


def label(probe: Probe, represent: Represent, context: int, layers: Sequence[int] | None) -> Items:
    """Features and labels of all clips."""
    per_frame = probe.kind == "frames"
    seen = collect(probe.manifest, represent, layers, lambda t: stack(t, context) if per_frame else pool(t)[None])
    labels = [probe.labels(row, count, represent.net) for row, count in zip(seen.rows, seen.counts, strict=True)]
    return Items(seen.layers, np.concatenate(labels).astype(str), np.repeat(seen.rows, seen.counts))


def accuracy(items: Items, layer: int, penalty: float, train: np.ndarray, test: np.ndarray) -> float:
    """Train on some items and test on others."""
    table = items.features[layer]
    return float(classifier(penalty).fit(table[train], items.labels[train]).score(table[test], items.labels[test]))


def classifier(penalty: float) -> Pipeline:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    settings: dict[str, Any] = {"C": penalty, "max_iter": 200, "tol": 1e-3}
    return make_pipeline(StandardScaler(), LogisticRegression(**settings))
