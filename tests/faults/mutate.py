"""Valid files, changed: flipped bytes, cut and doubled pieces, and odd values where a format has values."""

from __future__ import annotations

import io
import json
import os
import pickle
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st

ODD: list[Any] = [
    None,
    True,
    False,
    0,
    1,
    -1,
    2,
    3,
    255,
    65536,
    2**31,
    2**63,
    10**18,
    10**30,
    10**400,
    0.5,
    -0.0,
    1e308,
    1e-320,
    float("inf"),
    float("nan"),
    "",
    "x",
    "\n",
    "\0",
    "\x1b[2J",
    "a" * 3000,
    "\ud800",
    "${oc.env:HOME}",
    "1e400",
    "../x",
    "/dev/zero",
    [],
    {},
    [[]],
    [None],
    [1] * 5000,
    {"a": {"b": {}}},
    "9" * 5000,
]
leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.sampled_from(ODD)
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


class Canary:
    """Pickled, a call that makes a file: whoever unpickles it has run a stranger's code."""

    path = "canary"

    def __reduce__(self) -> Any:
        return os.mkdir, (self.path,)


def odd_tensors(tensor: torch.Tensor) -> list[Any]:
    return [
        tensor.to(torch.int8),
        tensor.to(torch.complex64),
        tensor.reshape(-1)[:0],
        tensor.reshape(-1)[:1].expand(10**6),
        tensor.to("meta"),
        tensor.to_sparse(),
        tensor[None],
        torch.full_like(tensor, float("nan")),
        torch.nn.Parameter(tensor),
        tensor.double(),
        Canary(),
    ]


def edited(draw: Callable[[Any], Any], tree: Any) -> Any:
    """A tree of dicts and lists with one to three of its values changed."""
    for number in range(draw(st.integers(1, 3))):
        tree = _edit(draw, tree, [2, 3] if number else [2, 30, 1000])
    return tree


def _edit(draw: Callable[[Any], Any], tree: Any, repeats: list[int]) -> Any:
    inner = isinstance(tree, (dict, list)) and len(tree) > 0
    if not inner or draw(st.integers(0, 24)) == 24:
        if isinstance(tree, torch.Tensor):
            return draw(st.sampled_from(range(11)).map(lambda i: odd_tensors(tree)[i]) | values)
        return draw(values)
    keys = list(tree) if isinstance(tree, dict) else list(range(len(tree)))
    key, how = draw(st.sampled_from(keys)), draw(st.integers(0, 11))
    changed = dict(tree) if isinstance(tree, dict) else list(tree)
    if how == 0:
        del changed[key]
    elif how == 1 and isinstance(changed, dict):
        changed[draw(st.text(max_size=12))] = draw(values)
    elif how == 2 and isinstance(changed, dict):
        changed = {draw(st.text(max_size=9)) if k == key else k: v for k, v in changed.items()}
    elif how == 1:
        changed = changed * draw(st.sampled_from(repeats))
    else:
        changed[key] = _edit(draw, tree[key], repeats)
    return changed


def structured(draw: Callable[[Any], Any], data: bytes, name: str) -> bytes | None:
    """The file with odd values where its format has values; None for a format without."""
    try:
        if data[:4] == b"PK\3\4":
            return _pickled(draw, data)
        if data[8:9] == b"{":
            return _safetensors(draw, data)
        if name.endswith(".jsonl"):
            lines = data.split(b"\n")
            number = draw(st.integers(0, len(lines) - 2))
            lines[number] = json.dumps(edited(draw, json.loads(lines[number]))).encode()
            return b"\n".join(lines)
        if name.endswith((".yaml", ".json")) and data[:1] == b"{":
            return json.dumps(edited(draw, json.loads(data))).encode()
        if name.endswith((".tsv", ".arpa")):
            rows = [line.split("\t") for line in data.decode().split("\n")]
            rows = edited(draw, rows)
            return "\n".join("\t".join(map(str, r)) if isinstance(r, list) else str(r) for r in rows).encode()
    except (
        ValueError,
        TypeError,
        OverflowError,
        RuntimeError,
        NotImplementedError,
        AttributeError,
        pickle.PicklingError,
    ):
        pass  # such a value cannot be written
    return None


def _pickled(draw: Callable[[Any], Any], data: bytes) -> bytes | None:
    """Of torch.save: the content changed and saved anew, where it is plain; else the bytes of its pickle."""
    out = io.BytesIO()
    if draw(st.booleans()):
        try:
            content = torch.load(io.BytesIO(data), weights_only=True)
        except pickle.UnpicklingError:
            content = None
        if content is not None:
            torch.save(edited(draw, content), out)
            return out.getvalue()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w") as new:
        for info in old.infolist():
            record = old.read(info)
            if info.filename.endswith("data.pkl") or draw(st.integers(0, 40)) == 0:
                record = flipped(np.random.default_rng(draw(st.integers(0, 2**32))), record)
            new.writestr(
                info.filename, record, draw(st.sampled_from([zipfile.ZIP_STORED] * 9 + [zipfile.ZIP_DEFLATED]))
            )
    return out.getvalue()


def _safetensors(draw: Callable[[Any], Any], data: bytes) -> bytes:
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    own = header.get("__metadata__", {}).get("lighthubert")
    if own and draw(st.integers(0, 3)):
        header["__metadata__"]["lighthubert"] = json.dumps(edited(draw, json.loads(own)))
    else:
        header = edited(draw, header)
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data[8 + length :]


def flipped(rng: np.random.Generator, data: bytes) -> bytes:
    """One to sixteen bytes changed, or a piece cut out, doubled, or taken from elsewhere; mostly not the first ones."""
    content, start = bytearray(data), 0 if rng.random() < 0.2 else min(16, len(data) // 2)
    if not content:
        return bytes(rng.integers(0, 256, 9).astype(np.uint8))
    # Headers hold what is read first: half of the changes are near the beginning or the end.
    near = min(len(content), 4096)
    reach = near if rng.random() < 0.5 else len(content)
    places = start + rng.integers(0, max(reach - start, 1), 16)
    if rng.random() < 0.2:
        places = len(content) - 1 - rng.integers(0, near, 16)
    places = places.clip(0, len(content) - 1)
    kind, count = int(rng.integers(0, 8)), int(rng.integers(1, 17))
    if kind < 5:
        for place in places[:count].tolist():
            content[place] = (content[place] ^ 1 << int(rng.integers(8))) if kind < 2 else int(rng.integers(256))
        return bytes(content)
    a, b = sorted(places[:2].tolist())
    if kind == 5:
        return bytes(content[:a] + content[b:]) if rng.random() < 0.5 else bytes(content[: max(a, start)])
    piece = content[a : min(b, a + 4096)]
    place = int(places[2])
    return (
        bytes(content[:place] + piece * int(rng.integers(1, 9)) + content[place:])
        if kind == 6
        else bytes(content[:place] + piece + content[place + len(piece) :])
    )
