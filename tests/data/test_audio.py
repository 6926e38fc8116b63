"""load_audio against what soundfile and a double-precision torchaudio give."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import torchaudio

from lighthubert.data import AudioError, Manifest, load_audio
from lighthubert.data.audio import read_length, write_audio


def reference(path: Path) -> np.ndarray:
    """Mean of channels, resampled in float64."""
    samples, rate = soundfile.read(path, dtype="float64", always_2d=True)
    mono = torch.from_numpy(samples.mean(axis=1))
    return torchaudio.functional.resample(mono, rate, 16000).numpy()


def test_every_format(corpus: Manifest) -> None:
    for row in range(len(corpus)):
        path = Path(corpus.file_path(row))
        waveform, expected = load_audio(path), reference(path)
        assert waveform.dtype == torch.float32
        assert waveform.shape == expected.shape == (corpus.samples[row],), path
        np.testing.assert_allclose(waveform.numpy(), expected, atol=1e-6, err_msg=str(path))
        assert read_length(path) == len(waveform)


def test_16_khz_mono_is_read_as_it_is(tmp_path: Path) -> None:
    samples = np.arange(-500, 500, dtype=np.int16)
    soundfile.write(tmp_path / "a.wav", samples, 16000)
    assert load_audio(tmp_path / "a.wav").tolist() == (samples / 32768).tolist()


def test_channels_are_averaged(tmp_path: Path) -> None:
    left, right = np.full(800, 0.5), np.full(800, -0.25)
    soundfile.write(tmp_path / "a.flac", np.stack([left, right, right], axis=1), 16000)
    assert load_audio(str(tmp_path / "a.flac")).tolist() == [0.0] * 800


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 32000, 44100, 48000])
def test_a_tone_stays_the_same_tone(tmp_path: Path, rate: int) -> None:
    soundfile.write(tmp_path / "a.wav", np.sin(2 * np.pi * 1000 * np.arange(rate) / rate), rate, subtype="FLOAT")
    waveform = load_audio(tmp_path / "a.wav").double().numpy()
    assert len(waveform) == 16000
    expected = np.sin(2 * np.pi * 1000 * np.arange(16000) / 16000)
    np.testing.assert_allclose(waveform[400:-400], expected[400:-400], atol=2e-3)


def write_bad(folder: Path, kind: str) -> Path:
    """A file that cannot be used, by kind."""
    path = folder / f"{kind}.wav"
    tone = np.sin(np.arange(8000) / 5).astype(np.float32)
    if kind == "folder":
        path.mkdir()
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "text":
        path.write_text("path\tsamples\n" * 50)
    elif kind == "header":
        soundfile.write(path, tone[:0], 16000)
    elif kind in ("nan", "inf"):
        tone[4000] = math.nan if kind == "nan" else -math.inf
        soundfile.write(path, tone, 16000, subtype="FLOAT")
    elif kind == "rate":
        soundfile.write(path, tone, 16001)
    elif kind == "cut":
        soundfile.write(path, tone, 16000, format="FLAC")
        path.write_bytes(path.read_bytes()[:3000])
    return path  # "missing" is not written


REASONS = {
    "missing": "No such file or directory",
    "folder": "not a file",
    "empty": "the file is empty",
    "text": "cannot be decoded: Format not recognised.",
    "header": "holds no audio",
    "nan": "holds NaN or infinite samples",
    "inf": "holds NaN or infinite samples",
    "rate": "sample rate 16001 Hz is not supported (no large enough common factor with 16000)",
    "cut": "cannot be decoded: Internal psf_fseek() failed.",
}


@pytest.mark.parametrize("kind", REASONS)
def test_bad_files_are_named(tmp_path: Path, kind: str) -> None:
    path = write_bad(tmp_path, kind)
    with pytest.raises(AudioError) as caught:
        load_audio(path)
    assert str(caught.value) == f"{path}: {REASONS[kind]}"
    assert (caught.value.path, caught.value.reason) == (str(path), REASONS[kind])


def test_flac_and_vorbis_are_written(tmp_path: Path) -> None:
    waveform = 0.5 * torch.sin(torch.arange(50_000) / 4)
    write_audio(tmp_path / "a" / "b.flac", waveform)
    write_audio(tmp_path / "b.ogg", waveform, 0.5)
    assert (load_audio(tmp_path / "a" / "b.flac") - waveform).abs().max() <= 1 / 2**15
    assert len(load_audio(tmp_path / "b.ogg")) == 50_000
    assert soundfile.info(tmp_path / "b.ogg").subtype == "VORBIS"
    assert (load_audio(tmp_path / "b.ogg") - waveform).abs().mean() < 0.02
