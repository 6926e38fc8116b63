"""A linear probe: logistic regression on frozen features, its layer and penalty chosen without the held-out clips."""

# N items (clips, or frames), D dimensions

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lighthubert.data import DataConfig, eval_batches
from lighthubert.probes.features import Represent, pool, stack
from lighthubert.probes.tasks import Task

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

PENALTIES = (0.01, 0.1, 1.0)  # sklearn's C: smaller is stronger
CHOOSE = 5  # each fifth training clip judges layers and penalties
SHARE = 0.8  # of the training clips, drawn anew by each seed
MAX_FRAMES = 20_000  # of all training clips: more do not change the order of the nets
BATCH = DataConfig(max_seconds=32, max_clip_seconds=15)


@dataclass(frozen=True)
class Score:
    """Accuracies on the held-out clips by seed, the chosen layer and penalty, and each layer's accuracy in choosing."""

    accuracy: tuple[float, ...]
    layer: int
    penalty: float
    by_layer: tuple[float, ...]
    num_train: int
    num_test: int

    @property
    def mean(self) -> float:
        return float(np.mean(self.accuracy))


@dataclass(frozen=True)
class Items:
    """features: (N, D) of each layer. labels: (N,) strings. clip: (N,) the row each item belongs to."""

    features: list[np.ndarray]
    labels: np.ndarray
    clip: np.ndarray


def probe(task: Task, represent: Represent, seeds: Sequence[int] = (1, 2, 3), context: int = 1,
          layers: Sequence[int] | None = None) -> Score:  # fmt: skip
    """How well a linear classifier on a representation tells the task's labels.

    context: so many neighbouring frames side by side, for tasks with labels of frames. layers: those to choose from,
    all without any. Each seed trains on its own 80 % of the training clips.
    """
    items = collect(task, represent, context, layers)
    held_out = np.array([clip.held_out for clip in task.clips])
    train, test = np.flatnonzero(~held_out[items.clip]), np.flatnonzero(held_out[items.clip])
    train = np.random.default_rng(0).permutation(train)[: MAX_FRAMES if task.per_frame else None]
    judges = items.clip[train] % CHOOSE == 0
    fit, judge = train[~judges], train[judges]
    first = [accuracy(items, layer, PENALTIES[1], fit, judge) for layer in range(len(items.features))]
    layer = int(np.argmax(first))
    tried = {c: first[layer] if c == PENALTIES[1] else accuracy(items, layer, c, fit, judge) for c in PENALTIES}
    penalty = max(tried, key=tried.__getitem__)
    scores = []
    for seed in seeds:
        clips = np.unique(items.clip[train])
        kept = np.random.default_rng([1, seed]).permutation(clips)[: round(SHARE * len(clips))]
        scores.append(accuracy(items, layer, penalty, train[np.isin(items.clip[train], kept)], test))
    chosen = layers[layer] if layers else layer
    return Score(tuple(scores), chosen, penalty, tuple(first), len(train), len(test))


def collect(task: Task, represent: Represent, context: int, layers: Sequence[int] | None) -> Items:
    """Features and labels of all clips."""
    features: list[list[np.ndarray]] = []
    labels, clip = [], []
    for batch in eval_batches(task.manifest, BATCH):
        states = represent(batch)
        states = [states[layer] for layer in layers] if layers else states
        features = features or [[] for _ in states]
        for layer, clips in zip(features, states, strict=True):
            layer += [(stack(c, context) if task.per_frame else pool(c)[None]).float().numpy() for c in clips]
        for row, frames in zip(batch.rows, states[0], strict=True):
            labels.append(task.labels(row, len(frames)))
            clip.append(np.full(len(labels[-1]), row))
    tables = [np.concatenate(layer) for layer in features]
    return Items(tables, np.concatenate(labels).astype(str), np.concatenate(clip))


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
