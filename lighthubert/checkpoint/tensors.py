"""Reading safetensors: the format's own library maps files, and who writes into a mapped file ends its readers.

A file is the length of its header in 8 bytes, the header in JSON, and the tensors' numbers without gaps.
"""

from __future__ import annotations

import math
import os
from typing import Any, BinaryIO

import torch
from torch import Tensor

from lighthubert.checkpoint.errors import CheckpointError
from lighthubert.schema import from_json

MOST_JSON = 2**22  # bytes of a header or of settings
DTYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2,
    "I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8, "BOOL": torch.bool,
}  # fmt: skip


def read_safetensors(file: BinaryIO) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors, each with its own storage, and metadata. Raises CheckpointError for broken files."""
    where = f"{file.name}: cannot be read as safetensors"
    size = int.from_bytes(file.read(8), "little")
    if size > MOST_JSON:
        raise CheckpointError(f"{where}: a header of {size:,} bytes; that of a net has {MOST_JSON:,} at most")
    try:
        header = from_json(file.read(size).decode())
        metadata = header.pop("__metadata__", {})
        entries = sorted((*e["data_offsets"], name, e["dtype"], e["shape"]) for name, e in header.items())
        end, there = 0, os.fstat(file.fileno()).st_size - 8 - size
        for start, stop, name, dtype, shape in entries:
            if start != end or stop - start != math.prod(shape) * DTYPES[dtype].itemsize or min(shape, default=0) < 0:
                raise ValueError(f"{name}: {shape} of {dtype} are not the bytes from {start} to {stop}")
            end = stop
        if end != there:
            raise ValueError(f"{end:,} bytes of tensors by the header, {there:,} in the file")
        tensors = {
            name: _read(file, stop - start, DTYPES[dtype]).reshape(shape) for start, stop, name, dtype, shape in entries
        }
        return tensors, metadata
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise CheckpointError(f"{where}: {type(error).__name__}: {error}") from None


def _read(file: BinaryIO, size: int, dtype: torch.dtype) -> Tensor:
    numbers = torch.empty(size, dtype=torch.uint8, device="cpu")  # whatever device the caller makes tensors on
    if file.readinto(numbers.numpy()) != size:  # type: ignore[attr-defined]
        raise ValueError("the file ends before its last tensor")
    return numbers.view(dtype)
