"""Endless batches over epochs, on one rank of many, resumable at any batch; and one pass over a held-out set."""

from __future__ import annotations

import functools
import itertools
import logging
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from lighthubert.data import fairseq2_pipeline
from lighthubert.data.audio import Decoder, decode_soundfile
from lighthubert.data.batch import BadDataError, Batch, Loaded, Loader, Tally
from lighthubert.data.manifest import Manifest
from lighthubert.data.plan import DataConfig, PlannedBatch, fill, one_frame, plan
from lighthubert.models import SAMPLE_RATE, HubertConfig
from lighthubert.runtime.errors import UserError

logger = logging.getLogger("lighthubert")


@dataclass(frozen=True)
class RankPlan:
    """What one rank of `world` loads, epoch by epoch. (Apart from the reader, which its own iterator must not hold.)"""

    manifest: Manifest
    config: DataConfig
    net: HubertConfig
    seed: int
    rank: int
    world: int

    def batches(self, epoch: int) -> list[PlannedBatch]:
        """As many batches as every other rank has; raises ValueError where there is none for each."""
        batches = plan(self.manifest.samples, self.config, self.net, self.seed, epoch)
        if len(batches) < self.world:
            raise UserError(
                f"{self.manifest.path}: epoch {epoch} has {len(batches)} batches for {self.world} ranks "
                f"({self.manifest.seconds:.0f} s of audio, {self.config.max_seconds:g} s a batch)"
            )
        return batches[: len(batches) // self.world * self.world][self.rank :: self.world]

    @property
    def key(self) -> str:
        """All that the plan depends on but the rank, readable."""
        config = self.config
        return (
            f"manifest={self.manifest.digest} seed={self.seed} world={self.world} max_seconds={config.max_seconds:g} "
            f"max_clip_seconds={config.max_clip_seconds:g} min_clip_seconds={config.min_clip_seconds:g} "
            f"window={config.window}"
        )


class Reader:
    """The batches of one rank, epoch after epoch (from 1): the same on every machine and with either backend."""

    def __init__(self, manifest: Manifest, config: DataConfig, net: HubertConfig, *, seed: int, rank: int = 0,
                 world: int = 1) -> None:  # fmt: skip
        """Start at epoch 1, batch 0. net: whose frames the clips are read for. Raises ValueError where an epoch has no
        batch for every rank."""
        self.name = choose(config.reader)
        self.epoch, self.batch = 1, 0  # the next to deliver; what is read ahead does not count
        self._plan = RankPlan(manifest, config, net, seed, rank, world)
        self._plan.batches(1)
        self._key = self._plan.key
        self._tally = Tally(manifest, config.max_bad_share)
        self._batches: Iterator[Loaded] | None = None
        self._shortest = max(config.min_clip_samples, one_frame(net, config))
        short = int((manifest.samples < self._shortest).sum())
        if rank == 0 and short:
            logger.info("%s: %d of %d clips are shorter than %g s and left out",
                        manifest.path, short, len(manifest), self._shortest / SAMPLE_RATE)  # fmt: skip

    def __iter__(self) -> Reader:
        return self

    def __next__(self) -> Batch:
        """The next batch; it may have lost clips that cannot be read, even all. Raises BadDataError for too many."""
        if self._batches is None:
            self._batches = self._open()
        loaded = next(self._batches)
        self.batch = self.batch + 1 if loaded.batch.epoch == self.epoch else 1
        self.epoch = loaded.batch.epoch
        self._tally.add(loaded)
        return loaded.batch

    @property
    def skipped(self) -> dict[str, str]:
        """The files that could not be used so far, with the reasons."""
        return self._tally.skipped

    def state_dict(self) -> dict[str, Any]:
        """Where to go on: batches delivered in this epoch, and what the plan depends on."""
        return {"epoch": self.epoch, "batch": self.batch, "key": self._key}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on after a saved state; raises ValueError where the plan it counts in is another one."""
        if state["key"] != self._key:
            saved, now = (dict(part.split("=", 1) for part in key.split()) for key in (state["key"], self._key))
            changed = [f"{k} was {saved.get(k)} and is {now.get(k)}" for k in saved | now if saved.get(k) != now.get(k)]
            raise UserError(f"{self._plan.manifest.path}: cannot go on with other data: {'; '.join(changed)}")
        self.epoch, self.batch, self._batches = int(state["epoch"]), int(state["batch"]), None

    def _open(self) -> Iterator[Loaded]:
        """Start loading at the current position."""
        share = self._plan
        rest = share.batches(self.epoch)[self.batch :]
        epochs = itertools.chain([rest], map(share.batches, itertools.count(self.epoch + 1)))
        stream, decode = BACKENDS[self.name]
        loader = Loader(share.manifest, share.config, self._shortest, decode)
        return stream(epochs, loader, share.config.threads)


def torch_stream(epochs: Iterator[Sequence[PlannedBatch]], loader: Loader, threads: int) -> Iterator[Loaded]:
    """Load with a DataLoader, in a thread of this process: decoding is C code, and far faster than training."""
    planned = itertools.chain.from_iterable(epochs)
    generator = torch.Generator()  # or it draws from the global one
    batches = iter(DataLoader(loader, batch_size=None, sampler=planned, generator=generator))
    return ahead(batches) if threads else batches


def ahead(batches: Iterator[Loaded]) -> Iterator[Loaded]:
    """The same endless batches, a few of them taken ahead in a thread."""
    pool = ThreadPoolExecutor(1)
    try:
        futures = deque(pool.submit(next, batches) for _ in range(fairseq2_pipeline.PREFETCH))
        while True:
            yield futures.popleft().result()
            futures.append(pool.submit(next, batches))
    finally:
        pool.shutdown(wait=False, cancel_futures=True)  # not waiting: this may run in that thread, by the collector


BACKENDS: dict[str, tuple[Callable[..., Iterator[Loaded]], Decoder]] = {
    "fairseq2": (fairseq2_pipeline.stream, fairseq2_pipeline.decode_fairseq2),
    "torch": (torch_stream, decode_soundfile),
}


def choose(reader: str) -> str:
    """The backend that `auto` means here, said once; raises ImportError where fairseq2 is demanded and missing."""
    if reader == "torch":
        return reader
    reason = fairseq2_pipeline.reason_unavailable()
    if reader == "fairseq2" and reason:
        raise ImportError(f"data: reader is fairseq2, which cannot be imported ({reason})")
    if reader == "auto":
        announce(reason)
    return "torch" if reason else "fairseq2"


@functools.cache
def announce(reason: str | None) -> None:
    """Say which reader `auto` has chosen, once in a process."""
    if reason:
        logger.info("audio is read by a torch DataLoader, the same batches as fairseq2's (not here: %s)", reason)
    else:
        logger.info("audio is read by fairseq2's pipeline")


def eval_batches(
    manifest: Manifest, config: DataConfig, net: HubertConfig, rank: int = 0, world: int = 1
) -> Iterator[Batch]:
    """Every clip once, short ones first, from its start and cut at max_clip_seconds; epoch 0. Of several ranks each
    reads every world-th batch, and all go on to the end.

    Files that cannot be used, or are too short for a frame of the net, are left out as in training; raises
    BadDataError for too many, or if nothing is left.
    """
    loader = Loader(manifest, config, one_frame(net, config), decode_soundfile)
    tally = Tally(manifest, config.max_bad_share)
    widths = np.minimum(manifest.samples, config.max_clip_samples)
    for rows in fill(np.argsort(widths, kind="stable"), widths, config.max_samples)[rank::world]:
        loaded = loader[PlannedBatch(tuple(rows), (0,) * len(rows), epoch=0)]
        tally.add(loaded)
        if loaded.batch.rows:
            yield loaded.batch
    if world > 1:
        tally.add_others()
    if tally.num_bad == tally.num_clips:
        raise BadDataError(f"{manifest.path}: none of its {len(manifest)} clips can be used")
    if tally.num_bad and rank == 0:
        logger.warning("%s: %d of %d clips left out", manifest.path, tally.num_bad, tally.num_clips)
