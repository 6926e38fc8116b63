"""Masked spans against a brute force and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from lighthubert.models import span_mask


def rngs(*seeds: int) -> list[np.random.Generator]:
    return [np.random.default_rng(seed) for seed in seeds]


def draw(num_frames: int, prob: float, length: int, times: int, min_spans: int = 2) -> Tensor:
    return span_mask([num_frames] * times, prob, length, rngs(*range(times)), min_spans)


def expected_per_frame(num_frames: int, prob: float, length: int, min_spans: int = 2) -> np.ndarray:
    """The chance of every frame to be masked: k of the n starts without replacement, k rounded at random.

    A frame stays free if no start falls in the window of `length` starts that would cover it.
    """
    span, starts = min(length, num_frames - 1), num_frames - min(length, num_frames - 1)
    mean = prob * num_frames / length
    chances = {int(mean): 1 - mean % 1, int(mean) + 1: mean % 1}
    result = np.zeros(num_frames)
    for count, chance in chances.items():
        k = min(max(count, min_spans), starts)
        for t in range(num_frames):
            window = sum(1 for s in range(starts) if s <= t < s + span)
            free = np.prod([(starts - window - j) / (starts - j) for j in range(k)]) if starts - window >= k else 0.0
            result[t] += chance * (1 - free)
    return result


@pytest.mark.parametrize(
    ("num_frames", "prob", "length"),
    [(100, 0.65, 10), (49, 0.8, 10), (60, 0.3, 5), (30, 0.1, 4), (12, 0.65, 10), (5, 0.65, 10)],
)
def test_every_frame_is_masked_as_often_as_it_should_be(num_frames: int, prob: float, length: int) -> None:
    times = 4000
    found = draw(num_frames, prob, length, times).double().mean(0).numpy()
    expected = expected_per_frame(num_frames, prob, length)
    deviation = np.sqrt(np.maximum(expected * (1 - expected), 1e-9) / times)
    assert (np.abs(found - expected) < 4.5 * deviation + 1e-9).all()


def test_the_share_of_hubert_s_masks() -> None:
    """.65 of the frames in spans of 10 cover 49 % of a clip, says the wav2vec 2.0 paper (section 4.2)."""
    share = float(draw(500, 0.65, 10, 300).double().mean())
    assert share == pytest.approx(float(expected_per_frame(500, 0.65, 10).mean()), abs=0.005)
    assert share == pytest.approx(0.49, abs=0.005)


def spans(row: Tensor) -> list[int]:
    """Lengths of the runs of masked frames."""
    padded = np.diff(np.concatenate([[0], row.int().numpy(), [0]]))
    return (np.flatnonzero(padded == -1) - np.flatnonzero(padded == 1)).tolist()


def test_masks_are_made_of_whole_spans() -> None:
    mask = draw(200, 0.3, 7, 200)
    assert all(run >= 7 for row in mask for run in spans(row))
    assert any(run == 7 for row in mask for run in spans(row))
    assert any(run % 7 for row in mask for run in spans(row))  # spans overlap


def test_rounding_keeps_the_mean_number_of_spans() -> None:
    """Spans of one frame cannot overlap: the number of masked frames is the number of spans."""
    counts = draw(25, 0.1, 1, 4000, min_spans=0).sum(1).double()
    assert set(counts.tolist()) == {2.0, 3.0}
    assert float(counts.mean()) == pytest.approx(2.5, abs=4.5 * 0.5 / 4000**0.5)


@pytest.mark.parametrize("min_spans", [1, 2, 5])
def test_at_least_so_many_spans(min_spans: int) -> None:
    assert int(draw(50, 0.001, 1, 50, min_spans).sum(1).min()) == min_spans


def test_each_row_has_its_own_count_and_no_mask_in_its_padding() -> None:
    counts = [300, 1, 2, 3, 40, 0, 11]
    mask = span_mask(counts, 0.65, 10, rngs(*range(7)))
    assert mask.shape == (7, 300)
    assert mask.dtype == torch.bool
    for row, n in zip(mask, counts, strict=True):
        assert not row[n:].any()
        assert n < 2 or 0 < int(row.sum()) < n  # something is masked, something stays
        assert n > 1 or not row.any()
    assert int(mask[0].sum()) > 5 * int(mask[4].sum()) > 0


def test_a_row_does_not_depend_on_its_batch_mates() -> None:
    together = span_mask([120, 30, 77], 0.65, 10, rngs(5, 6, 7))
    for row, (n, seed) in enumerate([(120, 5), (30, 6), (77, 7)]):
        assert torch.equal(span_mask([n], 0.65, 10, rngs(seed))[0], together[row, :n])
    again = span_mask([77, 200, 120], 0.65, 10, rngs(7, 1, 5))
    assert torch.equal(again[0, :77], together[2, :77])
    assert torch.equal(again[2, :120], together[0, :120])


def test_another_seed_gives_another_mask() -> None:
    assert len({tuple(row.tolist()) for row in draw(100, 0.65, 10, 100)}) == 100


def test_nothing_to_mask() -> None:
    assert not span_mask([50, 10], 0.0, 10, rngs(0, 1)).any()
    assert span_mask([], 0.65, 10, []).shape == (0, 0)


@pytest.mark.parametrize(("prob", "length"), [(-0.1, 10), (1.1, 10), (0.5, 0), (float("nan"), 10)])
def test_wrong_settings(prob: float, length: int) -> None:
    with pytest.raises(ValueError, match=r"span_mask: prob must be within 0 and 1 and length positive, got"):
        span_mask([10], prob, length, rngs(0))


def test_a_generator_for_each_row() -> None:
    with pytest.raises(ValueError, match="shorter"):
        span_mask([10, 20], 0.65, 10, rngs(0))
