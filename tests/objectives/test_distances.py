"""Distances, masks and the weights of frames against plain loops."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from lighthubert import HubertConfig
from lighthubert.data import Batch
from lighthubert.objectives import DistanceConfig, FrameConfig, distance, draw_mask, frame_weights

NET = HubertConfig()


def batch_of(clips: dict[int, int], epoch: int = 3) -> Batch:
    """rows: samples of each clip."""
    lengths = torch.tensor(list(clips.values()))
    return Batch(torch.zeros(len(clips), int(lengths.max())), lengths, tuple(clips), (0,) * len(clips), epoch)


@pytest.fixture
def pair() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(3, 7, 11, generator=generator), torch.randn(3, 7, 11, generator=generator)


@pytest.mark.parametrize("weights", [(1, 0, 0), (0, 1, 0), (0, 0, 1), (0.5, 2, 3)])
def test_distance_is_a_weighted_sum(pair: tuple[Tensor, Tensor], weights: tuple[float, float, float]) -> None:
    actual = distance(*pair, DistanceConfig(*weights))
    assert actual.shape == (3, 7)
    for b in range(3):
        for t in range(7):
            x, y = pair[0][b, t], pair[1][b, t]
            parts = F.l1_loss(x, y), F.mse_loss(x, y), 1 - (x @ y) / (x.norm() * y.norm())
            torch.testing.assert_close(actual[b, t], sum(w * part for w, part in zip(weights, parts, strict=True)))


def test_distance_is_float32_under_autocast(pair: tuple[Tensor, Tensor]) -> None:
    """Half precision sums over a wide D would lose the small differences: 0.001 beside 1 is nothing in bfloat16."""
    wide = torch.ones(1, 1, 4096)
    with torch.autocast("cpu", torch.bfloat16):
        value = distance(wide * 1.001, wide, DistanceConfig(1, 1, 1))
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(0.001, rel=1e-2)
    assert distance(pair[0].bfloat16(), pair[1], DistanceConfig()).dtype == torch.float32


def test_distance_has_gradients_where_states_are_equal_or_zero() -> None:
    x = torch.zeros(1, 2, 4, requires_grad=True)
    distance(x, torch.zeros(1, 2, 4), DistanceConfig(1, 1, 1)).sum().backward()
    assert x.grad is not None
    assert torch.isfinite(x.grad).all()


@pytest.mark.parametrize("bad", [{"l1": 0.0}, {"l1": -1.0}, {"l1": 1.0, "cosine": -0.5}, {"l2": -1.0}])
def test_weights_without_sense_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must not be negative nor all zero"):
        DistanceConfig(**bad)


def test_frame_values_without_sense_are_refused_together() -> None:
    with pytest.raises(ValueError, match=r"mask_prob: .* 1\.5; mask_length: .* 0; masked_weight, .* 0\.0 and 0\.0"):
        FrameConfig(mask_prob=1.5, mask_length=0, masked_weight=0.0, unmasked_weight=0.0)


@pytest.mark.parametrize(("masked", "unmasked"), [(1.0, 0.0), (0.0, 1.0), (1.0, 1.0), (0.25, 2.0)])
def test_frame_weights_by_loops(rng: np.random.Generator, masked: float, unmasked: float) -> None:
    mask, frames = torch.from_numpy(rng.random((5, 9)) < 0.5), torch.tensor([9, 1, 4, 8, 2])
    weights = frame_weights(mask, frames, FrameConfig(masked_weight=masked, unmasked_weight=unmasked))
    for b in range(5):
        for t in range(9):
            expected = 0.0 if t >= frames[b] else masked if mask[b, t] else unmasked
            assert weights[b, t].item() == pytest.approx(expected)


CLIPS = {11: 16000, 4: 9000, 25: 31999, 7: 560, 0: 24000}


@pytest.mark.parametrize("order", [[0, 7, 25, 4, 11], [25, 0], [11], [7, 4]])
def test_a_clip_has_one_mask_in_every_batch(order: list[int]) -> None:
    """Other batch-mates, another order, another width of the padding."""
    config = FrameConfig()
    frames = {row: (samples - 400) // 320 + 1 for row, samples in CLIPS.items()}
    whole = dict(zip(CLIPS, draw_mask(batch_of(CLIPS), NET, config, seed=5), strict=True))
    part = draw_mask(batch_of({row: CLIPS[row] for row in order}), NET, config, seed=5)
    assert part.shape == (len(order), max(frames[row] for row in order))
    for row, mask in zip(order, part, strict=True):
        assert torch.equal(mask[: frames[row]], whole[row][: frames[row]])
        assert not mask[frames[row] :].any()
        assert mask.any() == (frames[row] > 1)


def test_masks_differ_by_seed_epoch_and_clip() -> None:
    """All clips alike: only the three names can tell their masks apart. Where a crop starts does not matter."""
    clips = batch_of(dict.fromkeys(range(8), 32000))
    rows = [
        tuple(mask.tolist())
        for seed in (1, 2)
        for epoch in (1, 2)
        for mask in draw_mask(replace(clips, epoch=epoch), NET, FrameConfig(), seed)
    ]
    assert len(set(rows)) == len(rows) == 32
    moved = replace(clips, starts=(320,) * 8)
    assert torch.equal(draw_mask(moved, NET, FrameConfig(), 1), draw_mask(clips, NET, FrameConfig(), 1))


def test_the_global_generators_are_left_alone() -> None:
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002
    before = torch.get_rng_state(), np.random.get_state()[1].tolist()  # noqa: NPY002
    draw_mask(batch_of(CLIPS), NET, FrameConfig(), 1)
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1] == np.random.get_state()[1].tolist()  # noqa: NPY002


def test_how_much_is_masked() -> None:
    """Spans of 10 that would cover 65 % without overlaps leave exp(-0.65) unmasked where there are many frames."""
    clips = batch_of(dict.fromkeys(range(40), 320 * 1000 + 80))
    share = draw_mask(clips, NET, FrameConfig(mask_prob=0.65, mask_length=10), 1).float().mean().item()
    assert share == pytest.approx(1 - np.exp(-0.65), abs=0.015)
    assert not draw_mask(clips, NET, FrameConfig(mask_prob=0.0), 1).any()
