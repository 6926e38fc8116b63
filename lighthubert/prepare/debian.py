"""Eleven hours of speech from Debian packages, as 16 kHz FLAC with transcripts.

  lighthubert prepare debian --download --root debs --out corpus

The packages (all in Debian's main section, 292 MB) are only unpacked, never installed, and no root is needed:

  apt-get download PACKAGE...          in ROOT/.deb; on a new machine after `apt-get update`
  dpkg -x FILE.deb ROOT                for each

which is what --download does. The licences differ (CC-BY-SA, CC-BY, GPL, BSD, freeware): OUT/licences keeps them.
"""

from __future__ import annotations

import io
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lighthubert.data import SAMPLE_RATE, AudioError
from lighthubert.data.audio import decode_soundfile, to_mono_16k, write_audio
from lighthubert.prepare.games import fillets, noise, queen
from lighthubert.prepare.report import PrepareError, each, write_clips
from lighthubert.prepare.sources import Clip, asterisk, klettres, menardi, sphinx
from lighthubert.prepare.text import SPLITS, normalise, split_of

LANGUAGES = ("en", "es", "fr", "it", "ru")
SOURCES: dict[str, tuple[Callable[[Path], Iterator[Clip]], tuple[str, ...]]] = {  # name -> clips, packages
    "asterisk": (asterisk, tuple(f"asterisk-core-sounds-{x}{y}" for x in LANGUAGES for y in ("", "-g722"))),
    "menardi": (menardi, ("asterisk-prompt-it-menardi-wav", "asterisk-core-sounds-it")),
    "fillets": (fillets, ("fillets-ng-data", "fillets-ng-data-cs", "fillets-ng-data-nl")),
    "klettres": (klettres, ("klettres-data",)),
    "queen": (queen, ("flight-of-the-amazon-queen",)),
    "sphinx": (sphinx, ("pocketsphinx-testdata",)),
    "noise": (noise, ("fillets-ng-data",)),
}
COLUMNS = ["path", "samples", "transcript", "speaker", "language", "source", "kind", "intent", "prompt"]
MAX_RATE = 96_000  # some headers claim 128 kHz and are wrong
MIN_SAMPLES = SAMPLE_RATE // 20
SILENCE, MAX_PEAK = 1e-3, 0.999  # 16-bit FLAC clips above 1


def prepare_debian(root: Path, out: Path, only: Sequence[str], download_first: bool, jobs: int) -> None:
    """Convert the clips of the unpacked packages; speech goes to train, dev and test.tsv, the rest to other.tsv."""
    packages = sorted({package for name in only for package in SOURCES[name][1]})
    if download_first:
        download(packages, root)
    clips = [replace(clip, source=name) for name in only for clip in SOURCES[name][0](root)]
    if not clips:
        raise PrepareError(f"{root}: none of the packages {', '.join(packages)} is unpacked there (see --download)")
    copy_licences(packages, root, out)
    torch.set_num_threads(1)  # the threads convert one clip each
    converted = each(clips, lambda clip: convert(clip, out), lambda clip: clip.id, jobs, "converting")
    rows = sorted((describe(clip, samples) for clip, samples in converted), key=lambda row: str(row["path"]))
    for name in (*SPLITS, "other"):
        if chosen := [row for row in rows if row["manifest"] == name]:
            write_clips(out / f"{name}.tsv", COLUMNS, chosen, len(chosen))
    if len(clips) > len(rows):
        print(f"{len(clips) - len(rows)} of {len(clips)} clips left out")


def describe(clip: Clip, samples: int) -> dict[str, Any]:
    """A clip's row, and the manifest that it belongs in: by its transcript, or by its name where it has none."""
    text = normalise(clip.text)
    return {
        "path": file_name(clip),
        "samples": samples,
        "transcript": text,
        **{column: getattr(clip, column) for column in COLUMNS[3:]},
        "manifest": split_of(text or clip.id) if clip.kind == "speech" else "other",
    }


def file_name(clip: Clip) -> str:
    return re.sub(r"[^A-Za-z0-9_./-]", "_", clip.id) + ".flac"


def convert(clip: Clip, out: Path) -> int:
    """Write one clip as 16 kHz mono FLAC and return its samples; raises AudioError where it is no use."""
    samples, rate = decode(clip.audio)
    if rate > MAX_RATE:
        raise AudioError(clip.id, f"its header claims {rate} Hz")
    waveform = to_mono_16k(samples, rate)
    if len(waveform) < MIN_SAMPLES:
        raise AudioError(clip.id, f"too short: {len(waveform)} samples at 16 kHz")
    peak = float(waveform.abs().max())
    if peak < SILENCE:
        raise AudioError(clip.id, "silent")
    write_audio(out / file_name(clip), waveform * (MAX_PEAK / peak) if peak > MAX_PEAK else waveform)
    return len(waveform)


def decode(audio: Path | bytes) -> tuple[Tensor, int]:
    if isinstance(audio, bytes):
        return decode_soundfile(io.BytesIO(audio))
    return decode_g722(audio) if audio.suffix == ".g722" else decode_soundfile(str(audio))


def decode_g722(path: Path) -> tuple[Tensor, int]:
    """Decode headerless G.722 at 64 kbit/s, which libsndfile does not know: (N, 1) at 16 kHz."""
    try:
        import av
    except ImportError as error:
        raise PrepareError("the asterisk prompts are G.722, which needs PyAV: pip install av") from error
    try:
        with av.open(str(path), format="g722") as stream:
            frames = [torch.from_numpy(frame.to_ndarray()).view(-1) for frame in stream.decode(audio=0)]
    except (av.FFmpegError, IndexError) as error:  # IndexError: an empty file has no stream
        raise AudioError(path, f"cannot be decoded: {error}") from error
    pcm = torch.cat([torch.empty(0, dtype=torch.int16), *frames])
    return pcm.view(-1, 1).float() / 2**15, SAMPLE_RATE


def copy_licences(packages: Sequence[str], root: Path, out: Path) -> None:
    """Keep each package's copyright file beside the audio."""
    (out / "licences").mkdir(parents=True, exist_ok=True)
    for package in packages:
        licence = root / "usr/share/doc" / package / "copyright"
        if licence.exists():
            shutil.copyfile(licence, out / "licences" / f"{package}.txt")


def download(packages: Sequence[str], root: Path) -> None:
    """Fetch packages with apt-get and unpack them under root; nothing is installed."""
    for program in ("apt-get", "dpkg"):
        if not shutil.which(program):
            raise PrepareError(f"--download needs {program}: run it on Debian, or unpack the packages elsewhere")
    folder = root / ".deb"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        subprocess.run(["apt-get", "download", *packages], cwd=folder, check=True)
        for package in packages:
            for file in sorted(folder.glob(f"{package}_*.deb")):
                subprocess.run(["dpkg", "-x", str(file), str(root)], check=True)
    except subprocess.CalledProcessError as error:
        raise PrepareError(f"{' '.join(error.cmd[:2])} failed with exit code {error.returncode}") from error
