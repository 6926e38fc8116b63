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
from lighthubert.data.audio import Decoder, decode_soundfile, read_length, write_audio
from lighthubert.data.fairseq2_pipeline import decode_fairseq2, reason_unavailable


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


def encoded(path: Path, samples: np.ndarray, rate: int = 16000) -> bytes:
    options = {"format": "OGG", "subtype": "OPUS"} if path.suffix == ".opus" else {}
    soundfile.write(path, samples, rate, **options)
    return path.read_bytes()


def of_unknown_length(flac: bytes) -> bytes:
    """What streaming encoders write: 0 for the 36 bits of STREAMINFO that count samples."""
    return flac[:21] + bytes([flac[21] & 0xF0, 0, 0, 0, 0]) + flac[26:]


@pytest.mark.parametrize("decode", [decode_soundfile, decode_fairseq2])
@pytest.mark.parametrize("frames", [1000, 200_001])
def test_flac_of_unknown_length(tmp_path: Path, frames: int, decode: Decoder) -> None:
    if decode is decode_fairseq2 and reason_unavailable():
        pytest.skip("no fairseq2")
    path, samples = tmp_path / "a.flac", np.sin(np.arange(frames) / 9)
    flac = encoded(path, samples)
    expected = torch.from_numpy(soundfile.read(path, dtype="float32")[0])
    path.write_bytes(of_unknown_length(flac))
    assert soundfile.info(path).frames == 2**63 - 1
    decoded, rate = decode(str(path))
    assert torch.equal(decoded[:, 0], expected)
    assert (rate, read_length(path), len(load_audio(path))) == (16000, frames, frames)


@pytest.mark.parametrize("decode", [decode_soundfile, decode_fairseq2])
@pytest.mark.parametrize("name", ["a.mp3", "a.flac", "a.ogg", "a.opus", "a.wav", "a.aiff", "a.au"])
def test_joined_files(tmp_path: Path, name: str, decode: Decoder) -> None:
    """Their decoders end after the first of them."""
    if decode is decode_fairseq2 and reason_unavailable():
        pytest.skip("no fairseq2")
    path = tmp_path / name
    parts = [encoded(path, np.sin(np.arange(n) / 9)) for n in (16000, 8000, 12000)]
    alone = []
    for part in parts:
        path.write_bytes(part)
        alone.append(decode(str(path))[0])
    path.write_bytes(b"".join(parts))
    assert torch.equal(decode(str(path))[0], torch.cat(alone))
    assert len(load_audio(path)) == sum(map(len, alone))


def test_joined_files_of_different_rates(tmp_path: Path) -> None:
    path = tmp_path / "a.mp3"
    path.write_bytes(b"".join(encoded(path, np.sin(np.arange(8000) / 9), rate) for rate in (16000, 24000)))
    with pytest.raises(AudioError, match=r"a\.mp3: cannot be decoded: files of different rates or channels, joined"):
        load_audio(path)


def test_a_header_that_asks_for_all_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    flac = encoded(path, np.zeros(1000))
    path.write_bytes(flac[:21] + bytes([flac[21] | 0x0F]) + b"\xff" * 4 + flac[26:])
    with pytest.raises(AudioError, match=r"a\.flac: cannot be decoded: more than 1,073,741,824 frames"):
        load_audio(path)


@pytest.mark.parametrize("name", ["a\0b.wav", "a\ud800.wav"])
def test_names_that_no_file_can_have(name: str) -> None:
    with pytest.raises(AudioError, match="no file can have this name"):
        load_audio(name)
