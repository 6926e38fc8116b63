"""The one door to fairseq2: its C++ pipeline decodes and prefetches what the plan lists. Never required."""

from __future__ import annotations

import ctypes
import importlib.util
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lighthubert.data.audio import UNDECODABLE, decode_soundfile, split_joined
from lighthubert.data.batch import Loaded, Loader
from lighthubert.data.plan import PlannedBatch

PREFETCH = 4  # batches decoded ahead
# A pipeline's end waits for its threads. Where the garbage collector runs in one of them, it must not end there.
ORPHANS: list[Any] = []


@cache
def reason_unavailable() -> str | None:
    """Why fairseq2's pipeline cannot be used here; None where it can."""
    preload_sndfile()
    try:
        import fairseq2.data.audio
        import fairseq2.data.data_pipeline  # noqa: F401
    except (ImportError, OSError, RuntimeError) as error:  # RuntimeError: built for another torch
        return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no reason given'}"
    return None


def preload_sndfile() -> None:
    """Map the libsndfile of the soundfile wheel, which fairseq2 then finds by its name instead of a system library."""
    spec = importlib.util.find_spec("_soundfile_data")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        for library in sorted(Path(folder).glob("libsndfile*")):
            try:
                ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
            except OSError:  # the library of another platform
                continue
            return


def decode_fairseq2(path: str) -> tuple[Tensor, int]:
    """Decode with fairseq2: (N, C) float32 in [-1, 1] and the native rate."""
    if path.lower().endswith(".mp3"):  # fairseq2's memory file seeks wrongly from the end, which MP3 lengths hang on
        return decode_soundfile(path)
    try:
        content = Path(path).read_bytes()
        if len(split_joined(content)) > 1:
            return decode_soundfile(path)
        decoded = decoder()(content)
    except UNDECODABLE:
        return decode_soundfile(path)  # says what is wrong with the file, which fairseq2 does not
    return decoded["waveform"], int(decoded["sample_rate"])


@cache
def decoder() -> Callable[[bytes], Any]:
    """fairseq2's C++ decoder of a file's bytes."""
    from fairseq2.data._memory import MemoryBlock  # no public name; FileMapper would trip over a colon in a path
    from fairseq2.data.audio import AudioDecoder

    decode = AudioDecoder(keepdim=True, dtype=torch.float32)
    return lambda content: decode(MemoryBlock(content))


def stream(epochs: Iterator[Sequence[PlannedBatch]], loader: Loader, threads: int) -> Iterator[Loaded]:
    """Load the batches of one epoch after the other, `threads` at a time, a few ahead."""
    from fairseq2.data.data_pipeline import read_sequence

    owner = threading.get_ident()
    ORPHANS.clear()
    for batches in epochs:
        # Indices: anything else would be copied into C++ containers.
        indices = read_sequence(list(range(len(batches))))
        loaded = indices.map(partial(load_one, batches, loader), num_parallel_calls=threads or 1)
        pipeline = loaded.prefetch(PREFETCH if threads else 0).and_return()
        try:
            yield from pipeline
        finally:
            if threading.get_ident() != owner:
                ORPHANS.append(pipeline)


def load_one(batches: Sequence[PlannedBatch], loader: Loader, index: int) -> Loaded:
    return loader[batches[index]]
