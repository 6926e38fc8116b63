"""Both readers: the same batches as an independent reading of the plan, resumable anywhere, shared by ranks."""

from __future__ import annotations

import gc
import itertools
import logging
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from tiny import HUBERT
from torchaudio.functional import resample

from lighthubert.data import DataConfig, Manifest, Reader, eval_batches, fairseq2_pipeline, plan
from lighthubert.data.fairseq2_pipeline import reason_unavailable

CONFIG = DataConfig(max_seconds=4, max_clip_seconds=1.5, min_clip_seconds=0.4, window=15)


def take(reader: Reader, count: int) -> list:
    return list(itertools.islice(reader, count))


def assert_same(batches: list, others: list) -> None:
    assert len(batches) == len(others)
    for a, b in zip(batches, others, strict=True):
        assert (a.rows, a.starts, a.epoch) == (b.rows, b.starts, b.epoch)
        assert torch.equal(a.lengths, b.lengths)
        assert torch.equal(a.waveform, b.waveform)


def test_batches_hold_what_the_plan_says(corpus: Manifest, reader: str) -> None:
    expected = plan(corpus.samples, CONFIG, HUBERT, 3, 1) + plan(corpus.samples, CONFIG, HUBERT, 3, 2)
    batches = take(Reader(corpus, replace(CONFIG, reader=reader), HUBERT, seed=3), len(expected))
    assert [(b.rows, b.starts) for b in batches] == [(p.rows, p.starts) for p in expected]
    assert [b.epoch for b in batches] == sorted(b.epoch for b in batches)
    for batch in batches:
        lengths = [min(int(corpus.samples[row]), 24000) for row in batch.rows]
        assert batch.lengths.tolist() == lengths
        assert batch.waveform.shape == (len(lengths), max(lengths))
        assert batch.seconds == pytest.approx(sum(lengths) / 16000)
        for waveform, row, start, length in zip(batch.waveform, batch.rows, batch.starts, lengths, strict=True):
            samples, rate = soundfile.read(corpus.file_path(row), dtype="float64", always_2d=True)
            whole = resample(torch.from_numpy(samples.mean(axis=1)), rate, 16000)
            np.testing.assert_allclose(waveform[:length], whole[start : start + length], atol=1e-6)
            assert not waveform[length:].any()
    assert any(start for batch in batches for start in batch.starts)


@pytest.mark.skipif(reason_unavailable() is not None, reason="fairseq2 cannot be imported")
def test_both_readers_give_the_same_bits(corpus: Manifest) -> None:
    readers = [
        Reader(corpus, replace(CONFIG, reader=reader, threads=threads), HUBERT, seed=0)
        for reader, threads in (("fairseq2", 1), ("torch", 0), ("fairseq2", 0), ("fairseq2", 2), ("torch", 1))
    ]
    assert [reader.name for reader in readers] == ["fairseq2", "torch", "fairseq2", "fairseq2", "torch"]
    first, *others = (take(reader, 45) for reader in readers)
    assert first[-1].epoch == 3
    for other in others:
        assert_same(first, other)


def test_resumes_after_every_batch(corpus: Manifest, reader: str) -> None:
    config = replace(CONFIG, reader=reader)
    whole = Reader(corpus, config, HUBERT, seed=0)
    batches, states = [], [whole.state_dict()]
    for batch in itertools.islice(whole, 38):
        batches.append(batch)
        states.append(whole.state_dict())
    assert batches[-1].epoch == 3
    assert states[0] == {"epoch": 1, "batch": 0, "key": states[0]["key"]}
    for done, state in enumerate(states[:-2]):
        again = Reader(corpus, config, HUBERT, seed=0)
        again.load_state_dict(state)
        assert again.state_dict() == state
        assert_same(take(again, 2), batches[done : done + 2])
        assert again.state_dict() == states[done + 2]
    whole.load_state_dict(states[5])  # back again
    assert_same(take(whole, 3), batches[5:8])


def test_ranks_share_the_epoch(corpus: Manifest, reader: str) -> None:
    config, rows = replace(CONFIG, reader=reader), corpus.samples
    for world in (2, 3):
        planned = plan(rows, config, HUBERT, 0, 1)
        count = len(planned) // world
        parts = [take(Reader(corpus, config, HUBERT, seed=0, rank=r, world=world), count + 1) for r in range(world)]
        for part in parts:
            assert [batch.epoch for batch in part] == [1] * count + [2]
        seen = [row for part in parts for batch in part[:-1] for row in batch.rows]
        assert len(seen) == len(set(seen))
        together = [batch.rows for step in zip(*parts, strict=True) for batch in step][: world * count]
        assert together == [batch.rows for batch in planned[: world * count]]
        single = take(Reader(corpus, config, HUBERT, seed=0), world * count)
        assert_same(single, [batch for step in zip(*parts, strict=True) for batch in step][: world * count])


def test_state_of_other_data_is_refused(corpus: Manifest, tmp_path: Path) -> None:
    config = replace(CONFIG, reader="torch")
    state = Reader(corpus, config, HUBERT, seed=0).state_dict()
    longer = replace(corpus, samples=corpus.samples + 1)
    moved = replace(corpus, path=tmp_path / "m.tsv", columns={})
    Reader(moved, replace(config, threads=2, max_bad_share=0.5), HUBERT, seed=0, rank=0).load_state_dict(state)
    digests = f"manifest was {corpus.digest} and is {longer.digest}"
    for reader, change in [
        (Reader(longer, config, HUBERT, seed=0), digests),
        (Reader(corpus, config, HUBERT, seed=1), "seed was 0 and is 1"),
        (Reader(corpus, config, HUBERT, seed=0, world=2), "world was 1 and is 2"),
        (Reader(corpus, replace(config, max_seconds=5, window=9), HUBERT, seed=0),
         "max_seconds was 4 and is 5; window was 15 and is 9"),
        (Reader(corpus, replace(config, min_clip_seconds=0.5), HUBERT, seed=0),
         "min_clip_seconds was 0.4 and is 0.5"),
    ]:  # fmt: skip
        with pytest.raises(ValueError, match="cannot go on") as caught:
            reader.load_state_dict(state)
        assert str(caught.value) == f"{corpus.path}: cannot go on with other data: {change}"


def test_too_little_audio_is_refused(corpus: Manifest) -> None:
    with pytest.raises(
        ValueError, match=r"all\.tsv: epoch 1 has \d+ batches for 99 ranks \(\d+ s of audio, 4 s a batch"
    ):
        Reader(corpus, CONFIG, HUBERT, seed=0, world=99)
    with pytest.raises(ValueError, match="has 0 batches for 1 ranks"):
        Reader(corpus, replace(CONFIG, min_clip_seconds=3, max_clip_seconds=3), HUBERT, seed=0)


def test_global_generators_are_left_alone(corpus: Manifest, reader: str) -> None:
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    take(Reader(corpus, replace(CONFIG, reader=reader), HUBERT, seed=0), 3)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1] == before[1]).all()  # noqa: NPY002


def test_short_clips_are_told(corpus: Manifest, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="lighthubert"):
        Reader(corpus, replace(CONFIG, reader="torch"), HUBERT, seed=0)
    short = int((corpus.samples < 6400).sum())
    assert short > 0
    assert f"{short} of 40 clips are shorter than 0.4 s and left out" in caplog.text


def test_held_out_clips_come_once(corpus: Manifest) -> None:
    batches = list(eval_batches(corpus, replace(CONFIG, max_bad_share=0), HUBERT))
    rows = [row for batch in batches for row in batch.rows]
    assert sorted(rows) == list(range(40))
    lengths = [n for batch in batches for n in batch.lengths.tolist()]
    assert lengths == sorted(lengths) == sorted(min(int(n), 24000) for n in corpus.samples)
    assert {batch.epoch for batch in batches} == {0}
    assert {start for batch in batches for start in batch.starts} == {0}
    assert all(batch.waveform.numel() <= 64000 for batch in batches)
    assert len(batches) < 20


@pytest.mark.skipif(reason_unavailable() is not None, reason="fairseq2 cannot be imported")
def test_a_pipeline_collected_by_its_own_thread_lives_on() -> None:
    """It would wait for the end of the thread that ends it, and the process would abort."""

    class Holder:
        def __init__(self) -> None:
            self.itself = self  # only the garbage collector ends it
            self.batches = fairseq2_pipeline.stream(iter([list(range(1000))]), Collecting(), 1)

    class Collecting:
        def __getitem__(self, batch: int) -> int:
            gc.collect()  # as may happen in any line of Python
            return batch

    gc.collect()  # pipelines of other tests, which their tracebacks hold
    fairseq2_pipeline.ORPHANS.clear()
    gc.disable()
    try:
        assert next(Holder().batches) == 0
        for _ in range(500):
            if fairseq2_pipeline.ORPHANS:
                break
            time.sleep(0.02)
        assert len(fairseq2_pipeline.ORPHANS) == 1
        assert next(fairseq2_pipeline.stream(iter([[5]]), Collecting(), 0)) == 5  # ends it in this thread
        assert not fairseq2_pipeline.ORPHANS
    finally:
        gc.enable()
