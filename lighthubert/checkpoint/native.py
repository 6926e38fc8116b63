"""Our own files: safetensors whose header says what net the tensors are."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import nn

from lighthubert.checkpoint.build import build_hubert, build_supernet
from lighthubert.checkpoint.errors import CheckpointError
from lighthubert.checkpoint.keys import LAYOUTS, translate
from lighthubert.elastic import SearchSpace, Supernet
from lighthubert.models import Hubert, HubertConfig
from lighthubert.runtime.files import replacing
from lighthubert.schema import from_json

KEY = "lighthubert"  # of the safetensors metadata
FORMAT = 1
KEYS = ("format", "config", "space", "predicts")
DTYPES = (torch.float32, torch.float16, torch.bfloat16)


TASK = "task"  # of the header, and before the names of a task head's tensors


def save(model: Hubert | Supernet, path: str | Path, dtype: torch.dtype | None = None, *,
         task: Mapping[str, Any] | None = None, head: nn.Module | None = None) -> None:  # fmt: skip
    """Write a net or a supernet, with its config, space and heads, as one safetensors file.

    dtype: float32, float16 or bfloat16, the model's own if None; `load` always gives float32 back.
    task, head: what a net was fine-tuned for, plain values, and the head that does it. `load` then gives the net alone.
    The file appears whole or not at all: it is written beside its place, flushed to the disk, then renamed.
    Raises ValueError for another dtype, OSError if it cannot be written.
    """
    if dtype not in (None, *DTYPES):
        raise ValueError(f"save: dtype must be one of {', '.join(map(str, DTYPES))}, got {dtype}")
    header: dict[str, Any] = {"format": FORMAT, "config": model.config.to_dict()}
    if isinstance(model, Supernet):
        header |= {"space": model.space.to_dict(), "predicts": model.predicts}
    tensors = {
        name.removeprefix("hubert."): p.detach().to("cpu", dtype or p.dtype).contiguous()
        for name, p in model.named_parameters()
    }
    if task is not None and head is not None:
        header[TASK] = dict(task)
        own = head.named_parameters()
        tensors |= {f"{TASK}.{name}": p.detach().to("cpu", dtype or p.dtype).contiguous() for name, p in own}
    try:
        with replacing(path) as part:
            save_file(tensors, part, metadata={KEY: json.dumps(header)})
    except SafetensorError as error:  # a full disk, no such folder
        raise OSError(f"{path}: cannot be written: {error}") from error


def parse_native(
    path: Path, tensors: Mapping[str, torch.Tensor], metadata: str
) -> tuple[Hubert | Supernet, dict[str, Any] | None, dict[str, torch.Tensor]]:
    """The net of a file's tensors and its `lighthubert` metadata, what it was fine-tuned for (None: nothing), and the
    tensors of the head that does it, in fp32. Raises CheckpointError that names file and key."""
    header, start = _read_header(path, metadata), f"{TASK}."
    head = {name: tensor for name, tensor in tensors.items() if TASK in header and name.startswith(start)}
    weights = translate(path, {name: t for name, t in tensors.items() if name not in head}, LAYOUTS["native"])
    config = _parse(path, "config", HubertConfig, header["config"])
    if "space" not in header:
        own = {name.removeprefix(start): tensor.to(torch.float32, copy=True) for name, tensor in head.items()}
        return build_hubert(weights, config), header.get(TASK), own
    space = _parse(path, "space", SearchSpace, header["space"])
    if space.parent != config:
        raise CheckpointError(f"{path}: metadata {KEY!r}: space: its parent is not the net in 'config'")
    return build_supernet(weights, space, header.get("predicts")), None, {}


def _read_header(path: Path, metadata: str) -> dict[str, Any]:
    where = f"{path}: metadata {KEY!r}"
    try:
        header = from_json(metadata)
    except ValueError as error:
        raise CheckpointError(f"{where}: not JSON: {error}") from None
    if not isinstance(header, dict):
        raise CheckpointError(f"{where}: expected a JSON object, got {header!r}")
    if header.get("format") != FORMAT:
        raise CheckpointError(f"{where}: format: this lighthubert reads {FORMAT}, got {header.get('format')!r}")
    problems = [f"{key}: unknown key" for key in header if key not in (*KEYS, TASK)]
    problems += [] if "config" in header else ["config: is missing"]
    for key in ("predicts", TASK):
        if not isinstance(header.get(key), (dict, type(None))):
            problems.append(f"{key}: expected an object or null, got {header[key]!r}")
    if problems:
        raise CheckpointError(f"{where}: {'; '.join(problems)}")
    return header


def _parse(path: Path, key: str, cls: Any, values: Any) -> Any:
    try:
        return cls.from_dict(values)
    except (ValueError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path}: metadata {KEY!r}: {key}: {error}") from None
