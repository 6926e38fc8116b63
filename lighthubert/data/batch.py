"""Batches: reading the clips of a planned batch, and what is done about files that cannot be used.

B clips, S samples of the longest.
"""

from __future__ import annotations

import logging
import math
import os
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.utils.data import Dataset

from lighthubert.data.audio import SAMPLE_RATE, AudioError, Decoder, decode_clip
from lighthubert.data.manifest import Manifest
from lighthubert.data.plan import DataConfig, PlannedBatch
from lighthubert.runtime import ranks
from lighthubert.runtime.errors import UserError, one_line

MP3_SLACK = 2304  # two MP3 frames at the native rate: decoders count the encoder's padding differently
MIN_CLIPS_TO_JUDGE = 100  # before this many, one bad file is a large share

logger = logging.getLogger("lighthubert")


class BadDataError(UserError):
    """More of the audio than `max_bad_share` cannot be used."""


@dataclass(frozen=True, eq=False)
class Batch:
    """Clips of one step, padded with zeros to the longest."""

    waveform: Tensor  # (B, S) float32, 16 kHz
    lengths: Tensor  # (B,) int64, samples
    rows: tuple[int, ...]  # of the manifest
    starts: tuple[int, ...]  # of the crops in samples, whole frames
    epoch: int

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on a device."""
        return replace(self, waveform=self.waveform.to(device), lengths=self.lengths.to(device))

    @property
    def seconds(self) -> float:
        """Audio without padding."""
        return int(self.lengths.sum()) / SAMPLE_RATE


@dataclass(frozen=True)
class Loaded:
    """A batch and the files it lost, one for each row, with the reasons."""

    batch: Batch
    bad: list[tuple[str, str]]


@dataclass(frozen=True)
class Loader(Dataset[Loaded]):
    """Reads planned batches, in any thread: loader[planned]."""

    manifest: Manifest
    config: DataConfig
    min_samples: int
    decode: Decoder

    def __getitem__(self, planned: PlannedBatch) -> Loaded:
        """Read a batch; clips that cannot be used are left out and named."""
        clips, rows, starts, bad = [], [], [], []
        for row, start in zip(planned.rows, planned.starts, strict=True):
            try:
                clip = self.read(row)
            except AudioError as error:
                bad.append((self.manifest.files[row], error.reason))
                continue
            clips.append(clip[start : start + self.config.max_clip_samples])
            rows.append(row)
            starts.append(start)
        lengths = torch.tensor([len(clip) for clip in clips], dtype=torch.int64)
        waveform = torch.zeros(len(clips), max(map(len, clips), default=0))
        for i, clip in enumerate(clips):
            waveform[i, : len(clip)] = clip
        return Loaded(Batch(waveform, lengths, tuple(rows), tuple(starts), planned.epoch), bad)

    def read(self, row: int) -> Tensor:
        """One whole clip, (S,); raises AudioError where it is not what the manifest says."""
        path, expected = self.manifest.file_path(row), int(self.manifest.samples[row])
        clip, rate = decode_clip(path, self.decode)
        if len(clip) < self.min_samples:
            raise AudioError(path, f"too short: {len(clip)} samples at 16 kHz, fewer than {self.min_samples}")
        is_mp3 = os.path.splitext(path)[1].lower() == ".mp3"
        slack = math.ceil(MP3_SLACK * SAMPLE_RATE / rate) if is_mp3 else 1  # 1: lengths rounded the other way
        if abs(len(clip) - expected) > slack:
            raise AudioError(path, f"wrong length: {len(clip)} samples at 16 kHz, but the manifest says {expected}")
        return clip[:expected]


class Tally:
    """Counts delivered clips; names each bad file once and gives up when there are too many."""

    def __init__(self, manifest: Manifest, max_bad_share: float) -> None:
        self.manifest, self.max_bad_share = manifest, max_bad_share
        self.skipped: dict[str, str] = {}
        self.num_clips = self.num_bad = 0

    def add(self, loaded: Loaded) -> None:
        """Count a delivered batch; raises BadDataError where the share of bad clips is too large."""
        for file, reason in loaded.bad:
            if file not in self.skipped:
                logger.warning("%s", one_line(f"skipped {os.path.join(self.manifest.root, file)}: {reason}"))
            self.skipped[file] = reason
        self.num_bad += len(loaded.bad)
        self.num_clips += len(loaded.batch.rows) + len(loaded.bad)
        if self.num_clips >= min(MIN_CLIPS_TO_JUDGE, len(self.manifest)):
            self.check()

    def add_others(self) -> None:
        """Count what all ranks have met, once each of them is done, and check it."""
        others = ranks.gather((self.skipped, self.num_bad, self.num_clips))
        self.num_bad, self.num_clips = (sum(counts) for counts in zip(*(o[1:] for o in others), strict=True))
        self.skipped = {file: reason for skipped, _, _ in others for file, reason in skipped.items()}
        self.check()

    def check(self) -> None:
        """Raise BadDataError where the share of bad clips is too large."""
        if self.num_bad <= self.max_bad_share * self.num_clips:
            return
        examples = "; ".join(f"{file}: {reason}" for file, reason in list(self.skipped.items())[:5])
        raise BadDataError(
            f"{self.manifest.path}: {self.num_bad} of the first {self.num_clips} clips cannot be used, more than "
            f"max_bad_share {self.max_bad_share:g} allows; for example {examples}"
        )
