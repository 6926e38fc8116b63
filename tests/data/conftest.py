"""Real files in every format, rate and channel count that the readers promise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from lighthubert.data import Manifest
from lighthubert.data.fairseq2_pipeline import reason_unavailable

FORMATS = [  # suffix, container, encoding, rate, channels
    (".wav", "WAV", "PCM_16", 16000, 1),
    (".wav", "WAV", "FLOAT", 8000, 2),
    (".wav", "WAV", "PCM_24", 11025, 1),
    (".flac", "FLAC", "PCM_16", 16000, 2),
    (".flac", "FLAC", "PCM_16", 44100, 1),
    (".ogg", "OGG", "VORBIS", 16000, 1),
    (".ogg", "OGG", "VORBIS", 22050, 2),
    (".opus", "OGG", "OPUS", 48000, 1),
    (".mp3", "MP3", "MPEG_LAYER_III", 44100, 2),
    (".mp3", "MP3", "MPEG_LAYER_III", 16000, 1),
]


@pytest.fixture(params=["fairseq2", "torch"])
def reader(request: pytest.FixtureRequest) -> str:
    """Each reader that can run here."""
    why = reason_unavailable()
    if request.param == "fairseq2" and why:
        pytest.skip(why)
    return request.param


def write_clip(path: Path, seconds: float, kind: tuple[str, str, str, int, int], seed: int) -> int:
    """Write noise of a slowly moving level and return its length at 16 kHz."""
    _, container, encoding, rate, channels = kind
    rng = np.random.default_rng(seed)
    frames = round(seconds * rate)
    level = 0.1 + 0.05 * np.sin(np.arange(frames) / rate * 7)
    samples = (rng.standard_normal((frames, channels)) * level[:, None]).clip(-1, 1).astype(np.float32)
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate, format=container, subtype=encoding)
    return -(-frames * 16000 // rate)


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """40 clips of 0.3 to 2.2 s in all formats; their paths hold a space and a colon."""
    folder = tmp_path_factory.mktemp("corpus")
    lines = ["path\tsamples\ttranscript"]
    for i in range(40):
        kind = FORMATS[i % len(FORMATS)]
        name = f"set {i % 3}/clip:{i}{kind[0]}"
        lines.append(f"{name}\t{write_clip(folder / name, 0.3 + 0.05 * (i * 7 % 39), kind, i)}\ttext {i}")
    (folder / "all.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return Manifest.read(folder / "all.tsv")
