"""Reading torch.save files without running anything that they contain.

A pickle is a program: it may name any function ("global") and call it. torch's own restricted unpickler
(`weights_only=True`) knows tensors and plain containers only. Published files also hold what a training library keeps
beside the weights: argument lists, configuration nodes, dictionaries of labels, meters, numpy's numbers. Names out of a
short list of libraries are answered with classes that do nothing but keep what they are given. Every other is refused.

torch, before 2.14, believes what a pickle says of sizes: a storage may be said to be longer than its record, and what
lies behind it in memory then counts as weights. So a first pass, with the standard library and with nothing of what is
named, compares all sizes with the file, and notes the names.
"""

from __future__ import annotations

import itertools
import os
import pickle
import re
import threading
from collections.abc import Mapping
from io import BytesIO
from pickle import UnpicklingError
from typing import Any, BinaryIO, ClassVar
from zipfile import ZipFile

import torch

from lighthubert.checkpoint.errors import CheckpointError
from lighthubert.schema import DEEPEST, MOST_VALUES, check_plain


class Inert:
    """Stands for an object of a library that is not imported; keeps the object's attributes, runs nothing.

    Made of one text alone, as an enum's member is, it stands for that text.
    """

    def __new__(cls, *made_of: Any) -> Inert:
        inert = object.__new__(cls)
        if len(made_of) == 1 and isinstance(made_of[0], str):
            vars(inert)["_val"] = made_of[0]
        return inert

    def __init__(self, *_: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        vars(self).update(state if isinstance(state, dict) else {})


class PlainDict:
    """Stands for a kind of dict, of which nothing but the items is kept; torch 2.14 fills nothing but plain dicts."""

    def __new__(cls, *_: Any) -> dict[Any, Any]:  # type: ignore[misc]
        return {}


# What fairseq (0.9 to 0.12), s3prl and Lightning pickle beside the weights. A class of the same name is never imported.
LIBRARIES = ("argparse", "fairseq", "lightning", "lightning_fabric", "numpy", "omegaconf", "pathlib",
             "pytorch_lightning", "typing")  # fmt: skip
ALLOWED: dict[str, Any] = {
    "collections.defaultdict": PlainDict,
    "pytorch_lightning.utilities.parsing.AttributeDict": PlainDict,
    "lightning.pytorch.utilities.parsing.AttributeDict": PlainDict,
    # Types that configuration nodes name; as values, never called.
    **{f"builtins.{name}": Inert for name in ("bool", "dict", "float", "int", "list", "str", "tuple")},
}

# First bytes: a zip archive; the pickled magic number of torch.save before version 1.6.
ZIP = b"PK\x03\x04"
LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
LEGACY_PARTS = 5  # pickles: the magic number, the version, the machine, the content, the names of its storages

MOST_BYTES = 2**21  # of pickles, all tensors' numbers aside
# What makes an object out of a byte or two, and so fills the memory or, nested, the stack: containers and calls.
OPENERS = b"(]}\x8f\x85\x86\x87R\x81"
MOST_OPENERS = 50_000

WIDTHS = {"Double": 8, "Float": 4, "Half": 2, "BFloat16": 2, "Long": 8, "Int": 4, "Short": 2, "Char": 1, "Byte": 1,
          "Bool": 1, "ComplexFloat": 8, "ComplexDouble": 16, "Untyped": 1}  # fmt: skip  # bytes of a storage's numbers

_loading = threading.Lock()  # the names that torch allows are the process's, not the thread's


def read_pickle(file: BinaryIO) -> Any:
    """What torch.save wrote, tensors on the CPU; objects of other libraries become `Inert`.

    Raises CheckpointError that names the global of a file that asks for any other, and for broken files. Threads wait
    for each other.
    """
    try:
        names = _check_sizes(file)
        file.seek(0)
        inert = {name: Inert for name in names if name.partition(".")[0] in LIBRARIES}
        allowed: list[Any] = [(cls, name) for name, cls in (inert | ALLOWED).items()]
        with _loading, torch.serialization.safe_globals(allowed):
            return torch.load(file, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        raise CheckpointError(f"{file.name}: {_explain(str(error))}") from None
    except Exception as error:  # a broken stream fails in any way inside torch; none of them has run anything
        raise CheckpointError(f"{file.name}: cannot be read by torch: {_first_line(error)}") from error


def _check_sizes(file: BinaryIO) -> set[str]:
    """The names that it asks for. Raises UnpicklingError for what needs more memory than its bytes, which torch.save
    never writes."""
    names: set[str] = set()
    if file.read(len(ZIP)) == ZIP:
        with ZipFile(file) as archive:
            records = archive.infolist()
            if any(r.compress_type or r.file_size != r.compress_size for r in records):
                raise UnpicklingError("its records are compressed; torch.save stores them")
            if sum(r.file_size for r in records) > os.fstat(file.fileno()).st_size:
                raise UnpicklingError("its records overlap")
            # As torch, without the name of the first folder and whatever the case; of two, the smaller one.
            sizes = {_place(r.filename): r.file_size for r in sorted(records, key=lambda r: -r.file_size)}
            programs = [r for r in records if _place(r.filename) == "data.pkl"]
            if sum(r.file_size for r in programs) > MOST_BYTES:
                raise UnpicklingError(f"more than {MOST_BYTES:,} bytes beside its tensors")
            for record in programs:
                _Sizes(BytesIO(archive.read(record)), sizes, names).load()
    else:
        file.seek(0)
        stream = BytesIO(file.read(MOST_BYTES))
        for _ in range(LEGACY_PARTS):
            _Sizes(stream, None, names).load()
    return names


def _place(name: str) -> str:
    return name.partition("/")[2].lower()


def _counted(step: Any) -> Any:
    def counting(self: _Sizes) -> None:
        if next(self.openers) > MOST_OPENERS:
            raise UnpicklingError(f"more than {MOST_OPENERS:,} containers and calls")
        step(self)

    return counting


class _Sizes(pickle._Unpickler):  # the one of C makes room for any number of memos
    """Runs nothing of a pickle, and compares storages with the records that they lie in."""

    dispatch: ClassVar = {
        code: _counted(step) if code in OPENERS else step
        for code, step in pickle._Unpickler.dispatch.items()
    }

    def __init__(self, file: BinaryIO, sizes: Mapping[str, int] | None, names: set[str]) -> None:
        super().__init__(file, encoding="utf-8")
        self.sizes, self.openers, self.names = sizes, itertools.count(1), names

    def find_class(self, module: str, name: str) -> Any:
        self.names.add(f"{module}.{name}")
        return type(name, (Inert,), {"__setitem__": lambda *_: None})

    def persistent_load(self, saved: Any) -> Any:
        if self.sizes is None:  # torch compares those of its older format
            return None
        _, kind, key, _, count = saved
        width = WIDTHS[kind.__name__.removesuffix("Storage")]
        there = self.sizes.get(f"data/{key}".lower(), -1)
        if type(key) is not str or type(count) is not int or not 0 <= count * width <= there:
            raise UnpicklingError(f"storage {key}: {count} numbers are not in the file")
        return None


def _explain(message: str) -> str:
    name = re.search(r"GLOBAL (\S+)", message)
    if name:
        wanted = name[1].removeprefix("builtins.")
        return f"refused: it asks for the global {wanted!r}, which no published layout needs; nothing of it was run"
    detail = message.split("WeightsUnpickler error:")[-1].strip().split("\n")[0]
    return f"refused: it does more than hold tensors and plain values ({detail})"


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0].split(". ")[0] or type(error).__name__


def plain(value: Any) -> Any:
    """Configuration nodes, argument lists and containers as dicts, lists and plain values; anything else as None.

    Raises ValueError for what nobody writes, as `check_plain`.
    """
    number = itertools.count()

    def of(value: Any, depth: int) -> Any:
        if depth > DEEPEST or next(number) > MOST_VALUES:  # a node may hold itself, or one node many times
            raise ValueError(f"nested more than {DEEPEST} deep, or more than {MOST_VALUES:,} values")
        if isinstance(value, Inert):
            attributes = vars(value)
            leaf = attributes.get("_val", attributes)  # an omegaconf leaf has a value, a container has content
            return of(attributes.get("_content", leaf), depth + 1)
        if isinstance(value, dict):
            return {str(k) if isinstance(k, (str, int)) else "": of(v, depth + 1) for k, v in value.items()}
        if isinstance(value, (list, tuple)):
            return [of(v, depth + 1) for v in value]
        return value if isinstance(value, (bool, int, float, str)) else None

    result = of(value, 0)
    check_plain(result)
    return result
