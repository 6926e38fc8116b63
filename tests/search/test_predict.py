"""Predicted scores: of archs that were not scored, and what a search gains by them."""

import random

import numpy as np
from scipy.stats import spearmanr

from lighthubert import Arch, SearchSpace, cost
from lighthubert.search.predict import Predictor
from lighthubert.search.run import run_search

MINI = SearchSpace.load("mini")


def hardness(arch: Arch) -> float:
    """Not linear in what the predictor sees: wide nets are better, the last layers want heads, the first FFN."""
    heads = sum(n / (6 - i) for i, n in zip(arch.layers, arch.num_heads, strict=True))
    ffn = sum(n / (1 + i) for i, n in zip(arch.layers, arch.ffn_dim, strict=True))
    return 30 / arch.embed_dim + 1 / heads + 20 / ffn + 1 / sum(arch.conv_channels)


def test_unseen_archs_are_ranked() -> None:
    archs = list(dict.fromkeys(MINI.sample(random.Random(i)) for i in range(240)))
    predict = Predictor(MINI, {arch: hardness(arch) for arch in archs[:40]})
    assert spearmanr(predict(archs[40:]), list(map(hardness, archs[40:]))).statistic > 0.9


def test_a_sum_over_layers_is_learned() -> None:
    """It is linear in what the predictor sees, and the kernel is long."""
    archs = list(dict.fromkeys(MINI.sample(random.Random(i)) for i in range(300)))
    scores = [sum(n * (1 + i) for i, n in zip(a.layers, a.num_heads, strict=True)) - len(a.layers) for a in archs]
    predict = Predictor(MINI, dict(zip(archs[:200], scores[:200], strict=True)))
    missed = predict(archs[200:]) - np.array(scores[200:])
    assert missed.var() < 0.01 * np.var(scores[200:])


def test_prediction_beats_random_search() -> None:
    limit = 0.5 * cost.macs(MINI.config(MINI.largest()))
    for seed in (1, 2):
        found = run_search(MINI, {"macs": limit}, hardness, evaluations=80, population=20, seed=seed)
        assert found.best.score < found.random.score
