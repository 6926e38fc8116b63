"""Files that cannot be used are named, counted and left out, by both readers alike; too many end the run."""

from __future__ import annotations

import itertools
import logging
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from tiny import HUBERT

from lighthubert.data import BadDataError, DataConfig, Manifest, Reader, eval_batches

CONFIG = DataConfig(max_seconds=3, max_clip_seconds=1.2, min_clip_seconds=0.4, window=8, max_bad_share=0.5)


def tone(samples: int) -> np.ndarray:
    return (0.3 * np.sin(np.arange(samples) / 7)).astype(np.float32)


def write_files(folder: Path) -> dict[str, str]:
    """One file for each thing that can be wrong, all listed as 16000 samples; name -> reason."""
    (folder / "empty.wav").write_bytes(b"")
    (folder / "folder.wav").mkdir()
    (folder / "text.flac").write_text("not audio\n" * 100)
    soundfile.write(folder / "cut.flac", tone(16000), 16000)
    (folder / "cut.flac").write_bytes((folder / "cut.flac").read_bytes()[:4000])
    soundfile.write(folder / "nothing.wav", tone(0), 16000)
    soundfile.write(folder / "short.ogg", tone(6399), 16000)
    soundfile.write(folder / "half.wav", tone(8000), 16000)
    soundfile.write(folder / "two fewer.flac", tone(15998), 16000)
    soundfile.write(folder / "rate.wav", tone(16001), 16001)
    soundfile.write(folder / "half.mp3", tone(8000), 16000)
    for name, value in (("nan", math.nan), ("inf", math.inf)):
        wave = tone(16000)
        wave[-1] = value
        soundfile.write(folder / f"{name}.wav", wave, 16000, subtype="FLOAT")
    wrong = "wrong length: {} samples at 16 kHz, but the manifest says 16000"
    return {
        "missing.wav": "No such file or directory",
        "empty.wav": "the file is empty",
        "folder.wav": "not a file",
        "text.flac": "cannot be decoded: Format not recognised.",
        "cut.flac": "cannot be decoded: Error : flac decoder lost sync.",
        "nothing.wav": "holds no audio",
        "short.ogg": "too short: 6399 samples at 16 kHz, fewer than 6400",
        "half.wav": wrong.format(8000),
        "half.mp3": wrong.format(8000),
        "two fewer.flac": wrong.format(15998),
        "rate.wav": "sample rate 16001 Hz is not supported (no large enough common factor with 16000)",
        "nan.wav": "holds NaN or infinite samples",
        "inf.wav": "holds NaN or infinite samples",
    }


def write_manifest(folder: Path, files: list[str]) -> Manifest:
    (folder / "m.tsv").write_text("path\tsamples\n" + "".join(f"{name}\t16000\n" for name in files))
    return Manifest.read(folder / "m.tsv")


@pytest.fixture
def mixed(tmp_path: Path) -> tuple[Manifest, dict[str, str]]:
    """20 usable clips, the bad ones between them."""
    for i in range(17):
        soundfile.write(tmp_path / f"good{i}.flac", tone(16000) * i / 20, 16000)
    soundfile.write(tmp_path / "one fewer.wav", tone(15999), 16000)  # another rounding of the resampled length
    soundfile.write(tmp_path / "one more.wav", tone(16001), 16000)
    soundfile.write(tmp_path / "padded.mp3", tone(16000 + 2304), 16000)  # a decoder that keeps the encoder's padding
    reasons = write_files(tmp_path)
    names = sorted(path.name for path in tmp_path.iterdir()) + ["missing.wav"]
    return write_manifest(tmp_path, names), reasons


def test_named_once_counted_and_left_out(mixed, reader: str, caplog: pytest.LogCaptureFixture) -> None:
    manifest, reasons = mixed
    batches = Reader(manifest, replace(CONFIG, reader=reader), HUBERT, seed=0)
    with caplog.at_level(logging.WARNING, logger="lighthubert"):
        epochs = [list(itertools.takewhile(lambda b, e=e: b.epoch == e, batches)) for e in (1, 2)]
    for epoch in epochs[:1]:
        names = [manifest.files[row] for batch in epoch for row in batch.rows]
        assert sorted(names) == sorted(set(manifest.files) - set(reasons))
    lengths = {manifest.files[r]: int(n) for b in epochs[0] for r, n in zip(b.rows, b.lengths, strict=True)}
    assert {lengths.pop("one fewer.wav"), *lengths.values()} == {15999, 16000}
    assert batches.skipped == reasons
    assert sorted(record.message for record in caplog.records) == sorted(
        f"skipped {manifest.root / name}: {reason}" for name, reason in reasons.items()
    )
    for batch in epochs[0]:
        assert len(batch.waveform) == len(batch.lengths) == len(batch.starts) == len(batch.rows)


def test_a_batch_may_lose_all_clips(tmp_path: Path, reader: str) -> None:
    for i in range(3):
        soundfile.write(tmp_path / f"{i}.flac", tone(16000), 16000)
    manifest = write_manifest(tmp_path, ["0.flac", "gone.flac", "1.flac", "2.flac"])
    config = replace(CONFIG, max_seconds=1.2, reader=reader)
    batches = list(itertools.islice(Reader(manifest, config, HUBERT, seed=0), 4))
    assert sorted(len(batch.rows) for batch in batches) == [0, 1, 1, 1]
    (lost,) = (batch for batch in batches if not batch.rows)
    assert (lost.waveform.shape, lost.lengths.shape, lost.seconds) == ((0, 0), (0,), 0)


def test_too_many_end_the_run(tmp_path: Path, reader: str) -> None:
    for i in range(100):
        soundfile.write(tmp_path / f"{i}.wav", tone(8000), 16000)
    bad = [f"gone{i}.wav" for i in range(100)]
    good = [f"{i}.wav" for i in range(100)]
    (tmp_path / "m.tsv").write_text("path\tsamples\n" + "".join(f"{name}\t8000\n" for name in good + bad))
    manifest = Manifest.read(tmp_path / "m.tsv")
    strict = Reader(manifest, replace(CONFIG, max_bad_share=0.2, reader=reader), HUBERT, seed=0)
    with pytest.raises(BadDataError) as caught:
        list(strict)
    head, _, examples = str(caught.value).partition("; for example ")
    first = re.fullmatch(
        rf"{manifest.path}: (\d+) of the first (\d+) clips cannot be used, "
        "more than max_bad_share 0.2 allows",
        head,
    )
    assert first
    assert int(first[1]) == len(strict.skipped) > 20
    assert 100 <= int(first[2]) < 110  # not before a share means something
    assert examples.split("; ") == [f"{name}: No such file or directory" for name in list(strict.skipped)[:5]]
    patient = Reader(manifest, replace(CONFIG, max_bad_share=0.75, reader=reader), HUBERT, seed=0)
    assert sum(len(batch.rows) for batch in itertools.takewhile(lambda b: b.epoch == 1, patient)) == 100


def test_held_out_clips_too(mixed) -> None:
    manifest, reasons = mixed
    rows = [row for batch in eval_batches(manifest, CONFIG, HUBERT) for row in batch.rows]
    assert sorted(manifest.files[row] for row in rows) == sorted(set(manifest.files) - set(reasons))
    with pytest.raises(BadDataError, match=r"m\.tsv: 13 of the first 33 clips cannot be used"):
        list(eval_batches(manifest, replace(CONFIG, max_bad_share=0.3), HUBERT))


@pytest.mark.parametrize("name", ["gone.wav", "a\0b.wav", "a\ud800.wav"])
def test_every_row_of_a_bad_file_counts(tmp_path: Path, reader: str, name: str) -> None:
    """Also one whose name no file can have; it is told of once."""
    for i in range(6):
        soundfile.write(tmp_path / f"{i}.wav", tone(16000), 16000)
    manifest = write_manifest(tmp_path, [f"{i}.wav" for i in range(6)] + ["x.wav"] * 6)
    manifest.files[6:] = [name] * 6
    with pytest.raises(BadDataError, match=r"6 of the first 12 clips cannot be used") as caught:
        list(Reader(manifest, replace(CONFIG, max_bad_share=0.4, reader=reader), HUBERT, seed=0))
    assert str(caught.value).count(".wav") == 1
    patient = Reader(manifest, replace(CONFIG, max_bad_share=0.5, reader=reader), HUBERT, seed=0)
    assert sum(len(batch.rows) for batch in itertools.takewhile(lambda b: b.epoch == 1, patient)) == 6
    assert list(patient.skipped) == [name]


def test_no_held_out_clip_is_left(tmp_path: Path) -> None:
    manifest = write_manifest(tmp_path, ["gone.flac", "lost.flac"])
    with pytest.raises(BadDataError, match=r"m\.tsv: none of its 2 clips can be used"):
        next(eval_batches(manifest, replace(CONFIG, max_bad_share=1), HUBERT))
