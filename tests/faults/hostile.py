"""Files that nobody writes but to harm, for every reader. Those of nets are in tests/checkpoint/test_hostile.py."""

from __future__ import annotations

import gzip
import json
import os
import resource
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mutate
import torch
from fuzz import watched
from readers import READERS, Cost, Reader, read_one
from test_hostile import FILES
from tiny import ARCH, SPACE
from valid import RECIPE

NESTED, DIGITS, MILLION = "[" * 100_000, "9" * 5000, 10**6
Write = Callable[[Path], object]


def text(content: str | bytes) -> Write:
    data = content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass")
    return lambda path: path.write_bytes(data)


def changed(values: Any, **changes: Any) -> Write:
    return text(json.dumps({**values, **changes}))


def bomb(depth: int = 30) -> str:
    """YAML whose aliases stand for 9 to the power of 30 values."""
    lines = ["a0: &a0 [x, x, x]", *(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, depth))]
    return "\n".join(lines)


def line(reader: str, number: int, old: str, new: str) -> Write:
    """A valid file with another text in a line."""

    def write(path: Path) -> None:
        folder = path.parent / "valid"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        lines = READERS[reader].write(folder)[0].read_text().split("\n")
        assert old in lines[number]
        lines[number] = lines[number].replace(old, new, 1)
        path.write_text("\n".join(lines), errors="surrogatepass")

    return write


def wav(rate: int = 16000, channels: int = 1, bytes_stated: int = 64, bits: int = 16) -> Write:
    block = channels * bits // 8
    form = struct.pack("<HHIIHH", 1, channels % 65536, rate, rate * block % 2**32, block % 65536, bits)
    body = b"WAVEfmt " + struct.pack("<I", 16) + form + b"data" + struct.pack("<I", bytes_stated) + b"\1" * 64
    return text(b"RIFF" + struct.pack("<I", 2**32 - 1) + body)


def flac(path: Path) -> None:
    """A stream whose header says that it is 2 ** 36 - 1 samples long."""
    folder = path.parent / "valid"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    data = bytearray(next(p for p in READERS["audio"].write(folder) if p.suffix == ".flac").read_bytes())
    data[21] |= 15
    data[22:26] = b"\xff" * 4
    path.write_bytes(data)


def checkpoint(content: Any, zipped: bool = True) -> Write:
    def write(path: Path) -> None:
        path.mkdir()
        torch.save(content, path / "step_00000001.pt", _use_new_zipfile_serialization=zipped)

    return write


def in_folder(data: bytes) -> Write:
    def write(path: Path) -> None:
        path.mkdir()
        (path / "step_00000001.pt").write_bytes(data)

    return write


SOME_YAML: dict[str, Write] = {
    "nested": text(NESTED),
    "a bomb": text(bomb()),
    "a number of 5,000 digits": text("a: " + DIGITS),
    "no integer": text("a: !!int x"),
    "no day": text("a: !!timestamp 2001-99-99"),
    "no truth": text("a: !!bool x"),
    "a call": text("a: !!python/object/apply:os.mkdir [canary]"),
    "not UTF-8": text(b"a: \xff\xfe"),
    "itself": text("a: &a [*a]"),
    "many keys": text("\n".join(f"k{i}: 1" for i in range(100_000))),
    "half a pair": text("\ud800: 1"),
    "control characters": text("a: \x1b[2J"),
    "a list": text("[1, 2]"),
    "a key of 1 MB": text(json.dumps({"x" * MILLION: 1})),
    "a pipe": os.mkfifo,
    "a folder": Path.mkdir,
    "a device": lambda path: path.symlink_to("/dev/zero"),
    "nothing": text(b""),
}
HOSTILE: dict[str, dict[str, Write]] = {
    "spaces": {
        **SOME_YAML,
        "a ratio": changed(SPACE, ffn_ratio=[1e9]),
        "strided": changed(SPACE, ffn_ratio=[1e9], ffn_rule="strided"),
        "a width": changed(SPACE, embed_dim=[10**400]),
        "widths": changed(SPACE, embed_dim=list(range(1, 10**5))),
        "the environment": changed(SPACE, name="${oc.env:HOME}", embed_dim="${oc.env:HOME}"),
        "a parent": changed(SPACE, parent={**SPACE["parent"], "pos_conv_depth": 10**9}),
    },
    "archs": {
        **SOME_YAML,
        "layers": changed(ARCH, num_layers=10**9),
        "heads": changed(ARCH, num_heads=[2] * MILLION),
        "a ratio": changed(ARCH, ffn_ratio=1e308),
        "the environment": changed(ARCH, embed_dim="${oc.env:HOME}"),
    },
    "recipes": {
        **SOME_YAML,
        "a rate": changed(RECIPE, train={"steps": 1, "lr": 10**400}),
        "steps": changed(RECIPE, train={"steps": 1e400}),
        "its own base": lambda path: path.write_text(json.dumps({"base": path.name})),
        "a base that waits": lambda path: (os.mkfifo(path.with_name("pipe")), path.write_text('{"base": "pipe"}')),
        "interpolation of itself": changed(RECIPE, seed="${seed}"),
    },
    "manifests": {
        "a NUL": line("manifests", 3, "clip", "cl\0ip\t"),
        "5,000 digits": line("manifests", 3, "1600", DIGITS),
        "a line of 10 MB": text("path\tsamples\n" + "x" * 10**7),
        "a header of 10 MB": text("x" * 10**7 + "\nx\t1\n"),
        "a million columns": text("\t".join(map(str, range(MILLION))) + "\n1\t2\n"),
        "a pipe": os.mkfifo,
        "a device": lambda path: path.symlink_to("/dev/zero"),
        "a folder": Path.mkdir,
        "minus one": line("manifests", 3, "16", "-16"),
        "not UTF-8": text(b"path\tsamples\n\xff\t1\n"),
        "300,000 wrong lines": text("path\tsamples\n" + "x\n" * 300_000),
    },
    "audio": {
        "a rate of nothing": wav(rate=0),
        "a rate of 4 GHz": wav(rate=2**32 - 1),
        "65,535 channels": wav(channels=65535),
        "no channel": wav(channels=0),
        "4 GB stated": wav(bytes_stated=2**32 - 2),
        "FLAC without end": flac,
        "a pipe": os.mkfifo,
        "a folder": Path.mkdir,
        "nothing": text(b""),
        "a device": lambda path: path.symlink_to("/dev/zero"),
        "the start of an Ogg": text(b"OggS" + b"\0" * 9),
        "an odd rate": wav(rate=999_983),
    },
    "scored.jsonl": {
        "nested": lambda path: line("scored.jsonl", 2, "{", NESTED + "{")(path),
        "a score": line("scored.jsonl", 3, '"score": ', '"score": 1'),
        "a word for a score": line("scored.jsonl", 3, '"score": ', '"score": "x", "y": '),
        "a list": text('{"search": [1]}\n'),
        "no object": text("[]\n"),
        "NaN": line("scored.jsonl", 3, '"score": ', '"score": NaN, "y": '),
        "a pipe": os.mkfifo,
        "another arch": line("scored.jsonl", 3, '"embed_dim": ', '"embed_dim": 1'),
        "digits": line("scored.jsonl", 3, '"score": ', f'"score": {DIGITS}'),
    },
    "latency": {
        "nested": text(NESTED),
        "a width": line("latency", 2, ", [", ", [1e400, "),
        "no width": line("latency", 2, ", [", ", [NaN, "),
        "a pipe": os.mkfifo,
        "digits": text(DIGITS),
        "a list": text("[]"),
        "no time": line("latency", 2, " 1.5", " NaN"),
    },
    "ARPA": {
        "10 ** 18 n-grams": line("ARPA", 1, "ngram 1=4", f"ngram 1={10**18}"),
        "a line of 10 MB": text("\\1-grams:\n" + "x" * 10**7),
        "a packed GB": text(gzip.compress(b"\\1-grams:\n" + b"\0" * (1 << 30))),
        "no number": line("ARPA", 6, "-0.5", "nan"),
        "binary": text(bytes(range(256)) * 99),
        "a pipe": os.mkfifo,
        "digits": line("ARPA", 6, "-0.5", DIGITS),
    },
    "training checkpoints": {
        "a call": checkpoint({"model": mutate.Canary()}),
        "an old call": checkpoint(mutate.Canary(), False),
        "a tensor": checkpoint(torch.zeros(2)),
        "no zip": in_folder(b"PK\3\4" + b"\0" * 99),
        "an empty file": in_folder(b""),
    },
    "wrapped": {
        "wrapped a hundred times": lambda path: torch.save(_wrapped(100), path),
        "itself": lambda path: torch.save(_wrapped(0), path),
        "a call beside it": lambda path: torch.save(
            {"state_dict": {"model.x": torch.zeros(1)}, "hyper_parameters": mutate.Canary()}, path
        ),
    },
}


def _wrapped(depth: int) -> dict[str, Any]:
    content: dict[str, Any] = {}
    if not depth:
        content["state_dict"] = content["model"] = content
    for _ in range(depth):
        content = {"state_dict": content, "model": content}
    return content


CASES: dict[str, tuple[Reader, Write]] = {
    f"net: {name}": (READERS["native"], write) for name, (write, _) in FILES.items()
}
CASES |= {
    f"{reader}: {name}": (READERS[reader], write) for reader, files in HOSTILE.items() for name, write in files.items()
}


def hostile(name: str, room: Path) -> dict[str, Any]:
    """Read one of them in a process of its own."""
    room.mkdir(parents=True)
    reader, write = CASES[name]
    mutate.Canary.path = str(room / "canary")
    path = room / ("scored.jsonl" if name.startswith("scored") else "a stranger's file")
    write(path)

    def read() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        os.chdir(room)
        (room / "note").write_text(json.dumps(read_one(reader, path).__dict__))

    code = watched(read, room)
    note = room / "note"
    cost = json.loads(note.read_text()) if note.exists() else Cost("died", f"the process ended: {code}", 0, 0).__dict__
    if (room / "canary").exists():
        cost["problem"] = f"ran code; {cost['problem']}"
    size = sum(f.stat().st_size for f in [path, *path.rglob("*")] if f.is_file() and not path.is_symlink())
    shutil.rmtree(room)
    return {**cost, "size": size}
