"""The embedded corpus: what is promised about its size, its voices, its splits and its licence."""

from __future__ import annotations

import hashlib
import unicodedata
from pathlib import Path

import pytest
import soundfile
from tiny import HUBERT

from lighthubert.data import MINI, DataConfig, Manifest, eval_batches, plan

NAMES = ("train", "valid")


@pytest.fixture(scope="module", params=NAMES)
def manifest(request: pytest.FixtureRequest) -> Manifest:
    return Manifest.read(MINI / f"{request.param}.tsv")


def test_size(repo_root: Path) -> None:
    files = [path for path in MINI.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 4_000_000
    listed = {
        Path(m.file_path(row)) for m in (Manifest.read(MINI / f"{n}.tsv") for n in NAMES) for row in range(len(m))
    }
    texts = {MINI / name for name in ("train.tsv", "valid.tsv", "LICENSE.txt", "ATTRIBUTION.md")}
    assert listed | texts == set(files)
    assert MINI == repo_root / "lighthubert" / "data" / "mini"


def test_minutes_voices_and_languages() -> None:
    train, valid = (Manifest.read(MINI / f"{name}.tsv") for name in NAMES)
    assert 10 <= (train.seconds + valid.seconds) / 60 <= 15
    assert 100 <= valid.seconds <= 140
    for part in (train, valid):
        assert len(set(part.columns["speaker"])) >= 4
        assert set(part.columns["language"]) == {"en", "es", "fr", "it", "ru"}
        assert min(part.samples) >= 1.5 * 16000
        assert max(part.samples) <= 8 * 16000


def test_every_file_decodes_to_its_length(manifest: Manifest) -> None:
    for row, samples in enumerate(manifest.samples):
        decoded, rate = soundfile.read(manifest.file_path(row), dtype="float32")
        assert (rate, decoded.shape) == (16000, (samples,)), manifest.files[row]
        assert 0.05 < abs(decoded).max() <= 1.1, manifest.files[row]  # speech, not silence
        assert soundfile.info(manifest.file_path(row)).subtype == "VORBIS"


def test_transcripts(manifest: Manifest) -> None:
    for text in manifest.columns["transcript"]:
        assert text == text.lower() == unicodedata.normalize("NFC", text).strip()
        assert sum(char.isalpha() for char in text) > 5
        assert all(char.isalnum() or char in " '" for char in text)


def test_split_is_that_of_the_large_corpus(manifest: Manifest) -> None:
    """A teacher trained on the Debian corpus' train split has heard train.tsv and never a text of valid.tsv."""
    for text in manifest.columns["transcript"]:
        bucket = int(hashlib.md5(text.encode()).hexdigest(), 16) % 100
        assert bucket < 80 if manifest.path.stem == "train" else bucket >= 90


def test_licence() -> None:
    attribution, licence = (MINI / "ATTRIBUTION.md").read_text(), (MINI / "LICENSE.txt").read_text()
    for name in ("Allison Smith", "June Wallack", "Carlo Flora", "ivrvoice.ru"):
        assert name in attribution
        assert name in licence
    for name in ("CC-BY-SA-3.0", "CC-BY-3.0"):
        assert name in attribution
        assert f"License: {name}" in licence
    assert len(licence) > 30_000  # the full texts
    assert "were chosen, decoded from G.722 and encoded as 16 kHz Ogg Vorbis" in attribution


def test_batches_of_the_mini_recipes() -> None:
    train, valid = (Manifest.read(MINI / f"{name}.tsv") for name in NAMES)
    config = DataConfig(max_seconds=16, max_clip_seconds=5, max_bad_share=0)
    first, second = ({frozenset(b.rows) for b in plan(train.samples, config, HUBERT, 0, epoch)} for epoch in (1, 2))
    assert len(first & second) <= 0.05 * len(first)
    assert sum(len(batch.rows) for batch in eval_batches(valid, config, HUBERT)) == len(valid)
