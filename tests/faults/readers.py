"""Every reader of the project, with valid files to begin with, and the law that all of them keep."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import tiny
import yaml
from foreign_nets import told
from valid import (
    RECIPE,
    UNITS,
    fairseqs,
    hugging_faces,
    latencies,
    manifests,
    models_of_words,
    natives,
    records,
    sounds,
    torchaudios,
    training,
    wrapped,
    yamls,
)

from lighthubert import SearchSpace, load, load_audio
from lighthubert.config import Recipes
from lighthubert.cost import Latency
from lighthubert.data import Manifest
from lighthubert.pretrain.recipe import Distill, Units
from lighthubert.runtime.errors import UserError
from lighthubert.search.record import Record
from lighthubert.tasks.ngrams import read_arpa
from lighthubert.train.checkpoints import Checkpoints

SECONDS, FACTOR, MEGABYTES, CHARACTERS = 10, 2, 100, 1000  # what a file may cost, and its message


@dataclass(frozen=True)
class Reader:
    """write: valid files or folders, in a new folder. read: one of them. past: whether bytes of the file that is
    changed get beyond the header or magic number. files: which file of a folder may be changed."""

    write: Callable[[Path], list[Path]]
    read: Callable[[Path], object]
    past: Callable[[bytes], bool]
    files: tuple[str, ...] = ()


def _json(data: bytes) -> bool:
    with suppress(ValueError, RecursionError):
        return isinstance(json.loads(data), (dict, list))
    return False


def _yaml(data: bytes) -> bool:
    with suppress(yaml.YAMLError, ValueError, RecursionError, TypeError, KeyError, AttributeError):
        return isinstance(yaml.load(data[:20_000], yaml.CSafeLoader), dict)
    return False


def _zip_or_legacy(data: bytes) -> bool:
    return data[:4] == b"PK\3\4" or data[:2] == b"\x80\x02"


def _safetensors(data: bytes) -> bool:
    return _json(data[8 : 8 + int.from_bytes(data[:8], "little")])


def _any(data: bytes) -> bool:
    return _zip_or_legacy(data) or _safetensors(data) or _json(data)


def _audio(data: bytes) -> bool:
    return data[:4] in (b"RIFF", b"fLaC", b"OggS", b"FORM", b".snd") or data[:2] == b"\xff\xfb"


def read_record(path: Path) -> object:
    return Record(tiny.FEW, lambda arch: 0.0, [], path, {"seed": 1, "x": {"y": [2]}})


def read_training(folder: Path) -> object:
    """With the right checksum for the file, as one that somebody made has it."""
    (path,) = folder.glob("step_*.pt")
    path.with_name(path.name + ".sha256").write_text(hashlib.sha256(path.read_bytes()).hexdigest() + "  x\n")
    newest = Checkpoints(folder, 1).newest()
    return newest and Checkpoints.load(newest)


SMALL_AUDIO = {**told(False), "head_dim": 16}


def read_wrapped(path: Path) -> object:
    """Some are of torchaudio's nets, in sizes that must be told; changed ones are asked for both ways."""
    try:
        return load(path)
    except UserError as error:
        if "do not tell" not in str(error):
            raise
        return load(path, SMALL_AUDIO)


READERS: dict[str, Reader] = {
    "native": Reader(natives, load, _safetensors),
    "safetensors": Reader(lambda folder: torchaudios(folder)[2:], lambda p: load(p, SMALL_AUDIO), _safetensors),
    "fairseq": Reader(fairseqs, load, _zip_or_legacy),
    "torchaudio": Reader(lambda folder: torchaudios(folder)[:2], lambda p: load(p, SMALL_AUDIO), _zip_or_legacy),
    "Hugging Face": Reader(
        lambda folder: hugging_faces(folder, False),
        load,
        _any,
        ("config.json", "model.safetensors", "preprocessor_config.json"),
    ),
    "Hugging Face .bin": Reader(
        lambda folder: hugging_faces(folder, True), load, _any, ("config.json", "pytorch_model.bin")
    ),
    "wrapped": Reader(wrapped, read_wrapped, _zip_or_legacy),
    "spaces": Reader(yamls(tiny.SPACE, tiny.STRIDED, tiny.TWO_CONVS), SearchSpace.load, _yaml),
    "archs": Reader(yamls(tiny.ARCH, tiny.FEW.largest().to_dict()), tiny.FEW.arch, _yaml),
    "recipes": Reader(yamls(RECIPE, UNITS), lambda path: Recipes(Distill, Units).read(path, []), _yaml),
    "manifests": Reader(manifests, Manifest.read, lambda data: data.startswith((b"path\tsamples", b"/"))),
    "audio": Reader(sounds, load_audio, _audio),
    "scored.jsonl": Reader(records, read_record, lambda data: _json(data.partition(b"\n")[0])),
    "latency": Reader(latencies, lambda path: Latency.load(path, tiny.FEW), _json),
    "ARPA": Reader(models_of_words, read_arpa, lambda data: b"\\1-grams:" in data),
    "training checkpoints": Reader(training, read_training, lambda data: zipfile_is_whole(data), ("step_00000001.pt",)),
}


def zipfile_is_whole(data: bytes) -> bool:
    return data[:4] == b"PK\3\4" and b"PK\5\6" in data[-100:]


@dataclass(frozen=True)
class Cost:
    """What a file did to its reader."""

    outcome: str  # "read", or the name of the exception
    problem: str  # which law was broken, "" for none
    seconds: float
    memory: int  # bytes, beyond what the process had


def read_one(reader: Reader, path: Path) -> Cost:
    """Read a file and judge what came of it."""
    size = sum(f.stat().st_size for f in [path, *path.rglob("*")] if f.is_file())
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before, libraries, start = _status("VmRSS"), _status("RssFile"), time.monotonic()
    message, outcome, problems = "", "read", []
    try:
        reader.read(path)
    except UserError as error:
        message, outcome = str(error), type(error).__name__
        rules = {
            "several lines": message.isprintable(),
            "too long": len(message) <= CHARACTERS,
            "no file name": path.name in message or str(path.parent) in message,
        }
        problems += [rule for rule, kept in rules.items() if not kept]
    except BaseException as error:  # noqa: BLE001  that is what is looked for
        outcome = type(error).__name__
        problems.append(f"raises {outcome}: {str(error)[:200]}")
    # Pages of libraries that the system had put aside come back when they are used: they are no cost of the file.
    seconds, back = time.monotonic() - start, max(0, _status("RssFile") - libraries)
    memory = max(0, _status("VmHWM") - before - back)
    problems += [f"took {seconds:.1f} s"] if seconds > SECONDS else []
    problems += [f"took {memory:,} bytes"] if memory > FACTOR * size + MEGABYTES * 1e6 else []
    text = f": {message[:300]}" if message and problems else ""
    return Cost(outcome, "; ".join(problems) + text, seconds, memory)


def _status(key: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1]) * 1024
    raise KeyError(key)


def copy(source: Path, target: Path) -> None:
    """A file or folder in place of another."""
    if target.is_dir():
        shutil.rmtree(target)
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        shutil.copyfile(source, target)
