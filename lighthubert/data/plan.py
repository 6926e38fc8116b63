"""Which clips make which batch: a pure function of lengths, settings, seed and epoch.

All ranks compute the same plan and take every world-th batch, so nothing needs to be exchanged.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple

import numpy as np

from lighthubert.models import SAMPLE_RATE, HubertConfig, receptive_field
from lighthubert.runtime.errors import UserError
from lighthubert.schema import NOT_NEGATIVE, SHARE, Checked, Count, Rule

MIN_WINDOWS = 2  # one sorted window would hold the same batches in every epoch
# Purposes of random numbers.
STREAMS = {"order": 1, "crops": 2, "masks": 3, "channels": 4, "gates": 5, "gate_start": 6, "clips": 7}


FINITE = Rule("must be finite", math.isfinite)


@dataclass(frozen=True)
class DataConfig(Checked):
    """How clips become batches."""

    max_seconds: Annotated[float, FINITE] = 32.0
    """Audio of one batch, padding included."""
    max_clip_seconds: float = 15.6
    """Longer clips are cropped to this, at a random start."""
    min_clip_seconds: float = 0.4
    """Shorter clips are left out of training."""
    window: Count = 3000
    """Clips that are sorted by length together: more means less padding and less mixing."""
    threads: Annotated[int, NOT_NEGATIVE] = 1
    """Decoding threads (the torch reader has one at most); 0 decodes in line."""
    reader: Literal["auto", "fairseq2", "torch"] = "auto"
    """fairseq2, torch, or auto: fairseq2 where it can be imported."""
    max_bad_share: Annotated[float, SHARE] = 0.01
    """The run fails once a larger share of the clips was unusable."""

    def problems(self) -> Iterator[str]:
        if not 0 < self.min_clip_seconds <= self.max_clip_seconds <= self.max_seconds:
            yield (
                f"min_clip_seconds, max_clip_seconds, max_seconds: must be positive and not fall, "
                f"got {self.min_clip_seconds}, {self.max_clip_seconds}, {self.max_seconds}"
            )

    @property
    def max_samples(self) -> int:
        return round(self.max_seconds * SAMPLE_RATE)

    @property
    def max_clip_samples(self) -> int:
        return round(self.max_clip_seconds * SAMPLE_RATE)

    @property
    def min_clip_samples(self) -> int:
        return round(self.min_clip_seconds * SAMPLE_RATE)


class PlannedBatch(NamedTuple):
    """One batch: manifest rows, where each crop starts (samples, whole frames), and the epoch."""

    rows: tuple[int, ...]
    starts: tuple[int, ...]
    epoch: int


def stream(purpose: str, *key: int) -> np.random.Generator:
    """Random numbers of one purpose and key: no two purposes share any, whatever their keys."""
    return np.random.default_rng([STREAMS[purpose], *key])


def plan(samples: np.ndarray, config: DataConfig, net: HubertConfig, seed: int, epoch: int) -> list[PlannedBatch]:
    """The batches of an epoch in global order; rank r of w takes batches[r::w] of the first len // w * w.

    samples: (rows,) clip lengths at 16 kHz. net: a clip has one of its frames or more, and crops start on them. A crop
    depends on (seed, epoch, row) only, never on its batch or rank.
    """
    rng = stream("order", seed, epoch)
    order = rng.permutation(len(samples))
    order = order[samples[order] >= max(config.min_clip_samples, one_frame(net, config))]
    if not len(order):
        return []
    widths = np.minimum(samples, config.max_clip_samples)
    starts = crop_starts(samples - widths, net.hop, seed, epoch)
    batches: list[list[int]] = []
    for window in np.array_split(order, max(math.ceil(len(order) / config.window), min(MIN_WINDOWS, len(order)))):
        batches += fill(window[np.argsort(widths[window], kind="stable")], widths, config.max_samples)
    order = rng.permutation(len(batches))
    return [PlannedBatch(tuple(batches[i]), tuple(starts[batches[i]].tolist()), epoch) for i in order]


def one_frame(net: HubertConfig, config: DataConfig) -> int:
    """Samples that a net needs for one frame. Raises ValueError where longer clips are cropped to less."""
    shortest = receptive_field(net)
    if config.max_clip_samples < shortest:
        raise UserError(f"data.max_clip_seconds: one frame of the net needs {shortest / SAMPLE_RATE:g}, "
                        f"got {config.max_clip_seconds:g}")  # fmt: skip
    return shortest


def fill(rows: np.ndarray, widths: np.ndarray, max_samples: int) -> list[list[int]]:
    """Cut rows of ascending width into batches of at most max_samples with their padding."""
    batches: list[list[int]] = []
    batch: list[int] = []
    for row, width in zip(rows.tolist(), widths[rows].tolist(), strict=True):
        if batch and (len(batch) + 1) * width > max_samples:  # the last width is the widest: what all are padded to
            batches.append(batch)
            batch = []
        batch.append(row)
    return [*batches, batch] if batch else batches


def crop_starts(spare: np.ndarray, hop: int, seed: int, epoch: int) -> np.ndarray:
    """A start in [0, spare] for every row, on whole frames: so frame targets made for whole clips stay in step."""
    draws = stream("crops", seed, epoch).random(len(spare))
    return (draws * (spare // hop + 1)).astype(np.int64) * hop
