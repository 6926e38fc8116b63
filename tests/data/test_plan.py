"""The batch plan against its promises, over many settings and corpora."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tiny import HUBERT

from lighthubert.data import DataConfig, plan

HOP = 320


def lengths(num_clips: int, seed: int = 0) -> np.ndarray:
    """Clip lengths as in the 11-hour corpus: 0.42 s at 1 %, 2.2 s in the middle, 10 s at 99 %, the longest far out."""
    return (np.exp(np.random.default_rng(seed).normal(0.733, 0.677, num_clips)) * 16000).astype(np.int64)


def padding(samples: np.ndarray, batches: list, config: DataConfig) -> float:
    widths = np.minimum(samples, int(config.max_clip_seconds * 16000))
    padded = sum(len(b.rows) * max(widths[list(b.rows)]) for b in batches)
    return 1 - sum(widths[list(b.rows)].sum() for b in batches) / padded


@pytest.mark.parametrize("seed", range(12))
def test_promises(seed: int) -> None:
    rng = np.random.default_rng(seed)
    samples = lengths(int(rng.integers(1, 700)), seed)
    max_clip = float(rng.uniform(0.5, 12))
    config = DataConfig(
        max_seconds=max_clip * float(rng.uniform(1, 6)),
        max_clip_seconds=max_clip,
        min_clip_seconds=float(rng.uniform(0.1, 0.5)),
        window=int(rng.integers(1, 900)),
    )
    longest, shortest = round(config.max_clip_seconds * 16000), round(config.min_clip_seconds * 16000)
    batches = plan(samples, config, HUBERT, seed, 1)
    rows = [row for batch in batches for row in batch.rows]
    assert sorted(rows) == [row for row in range(len(samples)) if samples[row] >= shortest]
    for batch in batches:
        assert len(batch.rows) == len(batch.starts) > 0
        widths = [min(samples[row], longest) for row in batch.rows]
        assert len(widths) * max(widths) <= round(config.max_seconds * 16000)
        for row, start in zip(batch.rows, batch.starts, strict=True):
            assert start % HOP == 0
            assert 0 <= start <= max(samples[row] - longest, 0)
    assert plan(samples, config, HUBERT, seed, 1) == batches


def test_epochs_and_seeds_differ() -> None:
    samples = lengths(1500)
    for window in (100, 2000, 10**6):
        config = DataConfig(window=window)
        first, second, other = (
            {frozenset(batch.rows) for batch in plan(samples, config, HUBERT, *key)} for key in ((0, 1), (0, 2), (1, 1))
        )
        assert len(first & second) <= 0.05 * len(first)
        assert len(first & other) <= 0.05 * len(first)


def test_order_is_not_by_length() -> None:
    samples = lengths(2000)
    means = [samples[list(batch.rows)].mean() for batch in plan(samples, DataConfig(), HUBERT, 0, 1)]
    assert abs(np.corrcoef(np.arange(len(means)), means)[0, 1]) < 0.2


def test_crops_depend_on_seed_epoch_and_clip_alone() -> None:
    samples = lengths(3000) * 4

    def crops(config: DataConfig, seed: int = 0, epoch: int = 1, rows: int = 3000) -> dict[int, int]:
        batches = plan(samples[:rows], config, HUBERT, seed, epoch)
        return {row: start for batch in batches for row, start in zip(batch.rows, batch.starts, strict=True)}

    config = DataConfig(max_clip_seconds=5, min_clip_seconds=0.2)
    base = crops(config)
    assert base == crops(replace(config, window=50, max_seconds=87.5))
    long = [row for row in base if samples[row] > 5 * 16000 + 100 * HOP]
    for other in (crops(config, seed=1), crops(config, epoch=2)):
        assert np.mean([other[row] == base[row] for row in long]) < 0.05
    shares = np.array([base[row] / (samples[row] - 5 * 16000) for row in long])
    assert abs(shares.mean() - 0.5) < 0.03  # evenly over the clip
    assert shares.min() < 0.02
    assert shares.max() > 0.98


@pytest.mark.parametrize("max_seconds", [32, 87.5])
def test_padding_of_eleven_hours(max_seconds: float) -> None:
    samples, config = lengths(15_154), DataConfig(max_seconds=max_seconds)
    assert 10.5 < samples.sum() / 16000 / 3600 < 11.5
    batches = plan(samples, config, HUBERT, 0, 1)
    assert padding(samples, batches, config) < 0.03
    unsorted = plan(samples, replace(config, window=1), HUBERT, 0, 1)  # the measure can fail
    assert len(unsorted) > 3 * len(batches)


def test_the_shortest_clip_counts() -> None:
    batches = plan(np.array([6399, 6400]), DataConfig(min_clip_seconds=0.4), HUBERT, 0, 1)
    assert [batch.rows for batch in batches] == [(1,)]


def test_nothing_long_enough_makes_no_batch() -> None:
    assert plan(np.array([100, 200]), DataConfig(), HUBERT, 0, 1) == []


def test_wrong_settings_are_listed_at_once() -> None:
    with pytest.raises(ValueError, match="DataConfig: ") as caught:
        DataConfig(
            min_clip_seconds=3, max_clip_seconds=2, max_seconds=1, window=0, threads=-1, reader="x", max_bad_share=2
        )
    assert str(caught.value) == (
        "DataConfig: window: must be at least 1, got 0; threads: must not be negative, got -1; "
        "reader: must be one of auto, fairseq2, torch, got 'x'; max_bad_share: must lie within 0 and 1, got 2; "
        "min_clip_seconds, max_clip_seconds, max_seconds: must be positive and not fall, got 3, 2, 1"
    )
    with pytest.raises(ValueError, match="max_seconds: must be finite, got inf"):
        DataConfig(max_seconds=float("inf"))
