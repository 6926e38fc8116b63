"""One clip from a file: decoded, mixed down to mono and resampled to 16 kHz.

Every reader decodes on its own but shares `to_mono_16k`, so all of them give the same samples.
Shapes: N native samples, C channels, S samples at 16 kHz.
"""

import io
import itertools
import math
import os
import re
import stat
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from lighthubert.models import SAMPLE_RATE
from lighthubert.runtime.errors import UserError, one_line

MAX_FILTER_TAPS = 2**24  # of the resampling filter; 12,345 Hz needs half of it, 44.1 kHz 0.4 %

MAX_VALUES = 2**30  # of one clip, over its channels: 18 hours at 16 kHz, 4 GiB
UNKNOWN = 2**63 - 1  # frames of a FLAC file whose header does not say how many: streaming encoders write such
BLOCK = 2**16  # frames
# How files begin -> how further ones begin that were joined to them with `cat`; decoders end there and say nothing.
JOINED = {
    rb"fLaC": rb"fLaC[\0\x80]\0\0\x22",
    rb"OggS": rb"OggS\0\x02.{20}\x01.(?:\x01vorbis|OpusHead|\x7fFLAC)",
    rb"RIFF": rb"RIFF.{4}WAVE",
    rb"FORM": rb"FORM.{4}AIF[FC]",
    rb"\.snd": rb"\.snd\0{2}.{6}\0{3}.\0",
    rb"ID3|\xff[\xe2-\xff]": rb"\xff[\xe2-\xff]..(?:\0{9}|\0{17}|\0{32})(?:Xing|Info)",
}
# What decoders raise over broken files. libsndfile's errors are RuntimeErrors, and a header may ask for any memory.
UNDECODABLE = (RuntimeError, ValueError, TypeError, ArithmeticError, LookupError, OSError, MemoryError)

Decoder = Callable[[str], tuple[Tensor, int]]  # path -> (N, C) float32, native rate in Hz


class AudioError(UserError):
    """A file that cannot be used: `.path` and `.reason`."""

    def __init__(self, path: str | os.PathLike[str], reason: str) -> None:
        super().__init__(os.fspath(path), reason)
        self.path, self.reason = os.fspath(path), reason

    def __str__(self) -> str:
        return one_line(f"{self.path}: {self.reason}")


def load_audio(path: str | os.PathLike[str]) -> Tensor:
    """Read any file that soundfile reads as (S,) float32, 16 kHz, the mean of its channels.

    Raises AudioError for a file that is missing, empty, not audio, or holds NaN or infinite samples.
    """
    waveform, _ = decode_clip(os.fspath(path), decode_soundfile)
    return waveform


def decode_clip(path: str, decode: Decoder) -> tuple[Tensor, int]:
    """Return (S,) float32 at 16 kHz and the native rate; raises AudioError with the reason."""
    _check_file(path)
    samples, rate = decode(path)
    if len(samples) == 0:
        raise AudioError(path, "holds no audio")
    if not torch.isfinite(samples).all():
        raise AudioError(path, "holds NaN or infinite samples")
    try:
        return to_mono_16k(samples, rate), rate
    except ValueError as error:
        raise AudioError(path, str(error)) from error


def _check_file(path: str) -> None:
    """Raises AudioError for what is no regular file, which could be waited for without end, or is empty."""
    try:
        status = os.stat(path)
    except OSError as error:
        raise AudioError(path, error.strerror or str(error)) from error
    except ValueError as error:  # a NUL, or half of a surrogate pair
        raise AudioError(path, f"no file can have this name ({error})") from error
    if not stat.S_ISREG(status.st_mode):
        raise AudioError(path, "not a file")
    if status.st_size == 0:
        raise AudioError(path, "the file is empty")


def decode_soundfile(source: str | BinaryIO) -> tuple[Tensor, int]:
    """Decode a file or an open one with soundfile: (N, C) float32 in [-1, 1] and the native rate.

    Files that were joined end to end follow each other. Raises AudioError for what cannot be decoded.
    """
    try:
        parts = split_joined(Path(source).read_bytes() if isinstance(source, str) else source.read())
        if len(parts) == 1 and isinstance(source, str):
            return _decode(source)
        decoded = [_decode(io.BytesIO(part)) for part in parts]
        if len({(samples.shape[1], rate) for samples, rate in decoded}) > 1:
            raise ValueError("files of different rates or channels, joined")
        return torch.cat([samples for samples, _ in decoded]), decoded[0][1]
    except UNDECODABLE as error:
        raise AudioError(str(source), f"cannot be decoded: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    """Without the path: libsndfile's words, those of the system, or the error's own."""
    return getattr(error, "error_string", None) or getattr(error, "strerror", None) or str(error)


def split_joined(content: bytes) -> list[bytes]:
    """The audio files that a file's bytes were joined of: mostly itself."""
    further = next((pattern for begin, pattern in JOINED.items() if re.match(begin, content)), None)
    starts = [match.start() for match in re.finditer(further, content, re.DOTALL)][1:] if further else []
    return [content[a:b] for a, b in itertools.pairwise([0, *starts, len(content)])]


def _decode(source: str | BinaryIO) -> tuple[Tensor, int]:
    soundfile = import_soundfile()
    with soundfile.SoundFile(source) as file:
        most = MAX_VALUES // file.channels
        if file.frames != UNKNOWN and file.frames <= most:
            file.seek(0)  # makes libsndfile say what is wrong with a file that was cut
            return torch.from_numpy(file.read(dtype="float32", always_2d=True)), int(file.samplerate)
        read = [torch.empty(0, file.channels)]
        if file.frames == UNKNOWN:
            file.seekable = lambda: False  # or it would be sought for its end, which is not known, after each block
            while len(read) * BLOCK <= most and len(block := file.read(BLOCK, "float32", always_2d=True)):
                read.append(torch.from_numpy(block))
        if len(read) * BLOCK > most or file.frames != UNKNOWN:
            raise ValueError(f"more than {most:,} frames")
        return torch.cat(read), int(file.samplerate)


def read_length(path: str | os.PathLike[str]) -> int:
    """Length at 16 kHz as the file's header states it, nothing decoded; one that states none is. Raises AudioError."""
    soundfile = import_soundfile()
    _check_file(os.fspath(path))
    try:
        info = soundfile.info(os.fspath(path))
    except UNDECODABLE as error:
        raise AudioError(path, f"cannot be opened: {_reason(error)}") from error
    if info.frames == UNKNOWN:
        return len(load_audio(path))
    return -(-int(info.frames) * SAMPLE_RATE // int(info.samplerate))  # rounded up, as by to_mono_16k


def write_audio(path: Path, waveform: Tensor, compression: float | None = None) -> None:
    """Write (S,) at 16 kHz as 16-bit FLAC, or as Ogg Vorbis (.ogg; compression from 0 to 1)."""
    soundfile = import_soundfile()
    path.parent.mkdir(parents=True, exist_ok=True)
    subtype = "VORBIS" if path.suffix == ".ogg" else "PCM_16"
    with soundfile.SoundFile(path, "w", SAMPLE_RATE, 1, subtype, compression_level=compression) as file:
        for part in waveform.split(SAMPLE_RATE):  # long blocks overflow the stack of the Vorbis encoder
            file.write(part.numpy())


def to_mono_16k(samples: Tensor, rate: int) -> Tensor:
    """Mix (N, C) down by the mean of its channels and resample to (S,): S = N * 16000 / rate, rounded up.

    Windowed sinc of torchaudio.transforms.Resample with its defaults: torchaudio.functional.resample, but with the
    filter worked out once and in float64. Raises ValueError for a rate with too small a common factor with 16 kHz.
    """
    mono = samples.mean(dim=1) if samples.shape[1] > 1 else samples[:, 0]
    return mono if rate == SAMPLE_RATE or not len(mono) else resampler(rate)(mono)


@lru_cache(maxsize=16)
def resampler(rate: int) -> Any:
    """The resampler from `rate` to 16 kHz; its filter is computed once."""
    factor = math.gcd(rate, SAMPLE_RATE)
    if rate <= 0 or (rate // factor) * (SAMPLE_RATE // factor) > MAX_FILTER_TAPS:
        raise ValueError(f"sample rate {rate} Hz is not supported (no large enough common factor with {SAMPLE_RATE})")
    try:
        from torchaudio.transforms import Resample
    except ImportError as error:
        raise ImportError(f"audio at {rate} Hz needs torchaudio: pip install 'lighthubert[train]'") from error
    return Resample(rate, SAMPLE_RATE, dtype=torch.float64).float()  # computed in float32 it is 1e-5 off


def import_soundfile() -> Any:
    """Import soundfile, or say how to have it."""
    try:
        import soundfile
    except (ImportError, OSError) as error:  # OSError: the wheel without a library
        raise ImportError(f"audio files need soundfile: pip install 'lighthubert[train]' ({error})") from error
    return soundfile
