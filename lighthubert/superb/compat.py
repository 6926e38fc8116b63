"""What s3prl 0.4.18 expects of torch and torchaudio and newer ones have dropped.

Each patch is made only where it is needed, and undone when the context ends. None changes what a task computes, but
that speaker verification, which cuts silence out, needs the program sox for it.
"""

# C channels, N samples

from __future__ import annotations

import contextlib
import logging
import shutil
import subprocess
import sys
from argparse import Namespace
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.util import find_spec
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import torch
import torchaudio
from torch import Tensor

from lighthubert.data.audio import decode_soundfile

log = logging.getLogger(__name__)


class Patch(NamedTuple):
    """`owner.name` is `value` for a while. owner None: the module called `name`."""

    owner: Any
    name: str
    value: Any
    reason: str


@contextlib.contextmanager
def patched() -> Iterator[list[Patch]]:
    """Make the patches that this installation needs, for as long as the context lasts; gives them."""
    patches = _needed()
    with contextlib.ExitStack() as undo:
        # torch.load reads plain data only since 2.6; s3prl's checkpoints of a task hold its arguments as a Namespace.
        undo.enter_context(torch.serialization.safe_globals([Namespace]))
        for patch in patches:
            if patch.owner is None:
                sys.modules[patch.name] = patch.value
                undo.callback(sys.modules.pop, patch.name, None)
            else:
                undo.callback(_set, patch.owner, patch.name, vars(patch.owner).get(patch.name))
                setattr(patch.owner, patch.name, patch.value)
        yield patches


def _set(owner: Any, name: str, value: Any) -> None:
    """Set an attribute, or delete it where the owner had none of its own."""
    delattr(owner, name) if value is None else setattr(owner, name, value)


def _needed() -> list[Patch]:
    patches = []
    if not hasattr(torchaudio, "set_audio_backend"):
        reason = "removed in torchaudio 2.9; called at the import of one upstream and by the runner"
        patches.append(Patch(torchaudio, "set_audio_backend", lambda *_: None, reason))
    if not hasattr(torchaudio, "info") and not _can_import("torchcodec"):  # 2.9 has lost its own decoders
        reason = "hands files to torchcodec since torchaudio 2.9, which is not usable here"
        patches.append(Patch(torchaudio, "load", load, reason))
    if find_spec("torchaudio.sox_effects") is None:
        reason = "removed in torchaudio 2.9; imported by keyword spotting, speaker verification, spoken term detection"
        contents = {"apply_effects_file": apply_effects_file, "apply_effects_tensor": apply_effects_tensor}
        patches.append(_module("torchaudio.sox_effects", contents, reason))
    if find_spec("catalyst") is None:
        reason = "imported by keyword spotting for runs on many GPUs only; not maintained any more"
        patches += [_module("catalyst", {}, reason), _module("catalyst.data", {}, reason)]
        patches.append(_module("catalyst.data.sampler", {"DistributedSamplerWrapper": _no_catalyst}, reason))
    if not torch.cuda.is_available():
        reason = "speaker verification moves its masks to CUDA whatever --device says"
        patches.append(Patch(torch.Tensor, "cuda", lambda tensor, *_, **__: tensor, reason))
    return patches


def _module(name: str, contents: dict[str, Any], reason: str) -> Patch:
    module = ModuleType(name)
    module.__dict__.update(contents)
    return Patch(None, name, module, reason)


def _no_catalyst(*_: Any, **__: Any) -> None:
    raise ImportError("keyword spotting on many GPUs needs catalyst, which is not installed")


def _can_import(name: str) -> bool:
    try:
        __import__(name)
    except (ImportError, OSError, RuntimeError):  # RuntimeError: torchcodec without FFmpeg's libraries
        return False
    return True


def load(
    uri: Any, frame_offset: int = 0, num_frames: int = -1, normalize: bool = True, channels_first: bool = True, **_: Any
) -> tuple[Tensor, int]:
    """torchaudio.load on soundfile: (C, N) float32, and the file's own rate."""
    if not normalize:
        raise NotImplementedError("torchaudio.load(normalize=False) is not reproduced without torchcodec")
    samples, rate = decode_soundfile(str(uri))
    samples = samples[frame_offset:][: num_frames if num_frames > 0 else None]
    return (samples.T if channels_first else samples).contiguous(), rate


def apply_effects_file(path: Any, effects: Sequence[Sequence[str]], **_: Any) -> tuple[Tensor, int]:
    """A file (C, N) with the effects of sox that SUPERB's tasks name, and its rate after them."""
    return apply_effects_tensor(*load(path), effects)


def apply_effects_tensor(
    samples: Tensor, rate: int, effects: Sequence[Sequence[str]], channels_first: bool = True
) -> tuple[Tensor, int]:
    """channels (to mono), rate and gain of sox, and by the program itself silence. Others raise."""
    samples = samples if channels_first else samples.T
    for name, *values in effects:
        if name == "channels" and values == ["1"]:
            samples = samples.mean(0, keepdim=True)
        elif name == "rate":
            samples, rate = torchaudio.functional.resample(samples, rate, int(values[-1])), int(values[-1])
        elif name == "gain":
            samples = samples * 10 ** (float(values[-1]) / 20)  # dB
        elif name == "silence":
            samples = cut_silence(samples, rate, values)
        else:
            raise NotImplementedError(f"sox's effect {' '.join([name, *values])!r} is not reproduced")
    return (samples if channels_first else samples.T).contiguous(), rate


def cut_silence(samples: Tensor, rate: int, values: Sequence[str]) -> Tensor:
    """sox's effect silence, which the program of that name computes; unchanged, with a warning, where there is none."""
    sox = shutil.which("sox")
    if sox is None:
        _warn_of_silence()
        return samples
    raw = ["-t", "f32", "-r", str(rate), "-c", str(len(samples))]
    sound = samples.T.contiguous().numpy().tobytes()
    done = subprocess.run([sox, *raw, "-", *raw, "-", "silence", *values], input=sound, capture_output=True, check=True)
    return torch.from_numpy(np.frombuffer(done.stdout, np.float32).copy()).reshape(-1, len(samples)).T


@cache
def _warn_of_silence() -> None:
    log.warning("no program sox: clips keep their pauses, and results differ from the leaderboard's")
