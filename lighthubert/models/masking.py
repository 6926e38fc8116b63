"""Span masks of frames, as HuBERT and wav2vec 2.0 draw them, but with each row's own count of spans."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def span_mask(
    num_frames: Sequence[int], prob: float, length: int, rngs: Sequence[np.random.Generator], min_spans: int = 2
) -> Tensor:
    """Draw masked spans for each clip of a batch.

    num_frames: valid frames of each row; prob: share of frames that spans would cover if they did not overlap;
    length: frames per span; rngs: one generator per row, so that a clip's mask does not depend on its batch.
    Returns (B, T) bool, True where masked, T the largest count. Spans are shortened in clips that one would fill,
    and one frame at least stays unmasked in clips of two frames or more; a clip of one frame is never masked.
    Same rule as fairseq's compute_mask_indices with mask_other 0, overlaps allowed, except for the count per row.
    """
    if not 0 <= prob <= 1 or length < 1:
        raise ValueError(f"span_mask: prob must be within 0 and 1 and length positive, got {prob} and {length}")
    mask = np.zeros((len(num_frames), max(num_frames, default=0)), dtype=bool)
    for row, (n, rng) in enumerate(zip(num_frames, rngs, strict=True)):
        span = min(length, n - 1)
        if span < 1 or prob == 0:
            continue
        num_spans = max(int(prob * n / length + rng.random()), min_spans)  # random rounding keeps the mean
        num_starts = n - span
        starts = rng.choice(num_starts, min(num_spans, num_starts), replace=False)
        mask[row, (starts[:, None] + np.arange(span)).ravel()] = True
    return torch.from_numpy(mask)
