"""Reading torch.save files without running anything that they contain.

A pickle is a program: it may name any function ("global") and call it. torch's own restricted unpickler
(`weights_only=True`) knows tensors and plain containers only. Published HuBERT files also hold a dictionary of labels,
an argument list or configuration nodes, so a short list of such names is answered with classes that do nothing but
keep what they are given. Every other name is refused.
"""

from __future__ import annotations

import re
from pickle import UnpicklingError
from typing import Any, BinaryIO

import torch

from lighthubert.checkpoint.errors import CheckpointError


class Inert:
    """Stands for an object of a library that is not imported; keeps the object's attributes, runs nothing."""

    def __new__(cls, *_: Any) -> Inert:
        return object.__new__(cls)

    def __init__(self, *_: Any) -> None:
        pass


class InertDict(dict[Any, Any]):
    """Stands for a defaultdict; its factory is dropped."""

    def __init__(self, *_: Any) -> None:
        super().__init__()


# What fairseq pickled beside the weights, in its versions from 0.9 to 0.12. A class of the same name is never imported.
_OMEGACONF_NODES = ("AnyNode", "StringNode", "IntegerNode", "FloatNode", "BooleanNode", "EnumNode", "UnionNode")
ALLOWED: dict[str, type] = {
    "argparse.Namespace": Inert,
    "fairseq.data.dictionary.Dictionary": Inert,
    "omegaconf.dictconfig.DictConfig": Inert,
    "omegaconf.listconfig.ListConfig": Inert,
    "omegaconf.base.ContainerMetadata": Inert,
    "omegaconf.base.Metadata": Inert,
    **{f"omegaconf.nodes.{node}": Inert for node in _OMEGACONF_NODES},
    "collections.defaultdict": InertDict,
    # Types that configuration nodes name; as values, never called.
    **{f"typing.{name}": Inert for name in ("Any", "Dict", "List", "Optional", "Union")},
    **{f"builtins.{name}": Inert for name in ("bool", "dict", "float", "int", "list", "str", "tuple")},
}

# First bytes: a zip archive; the pickled magic number of torch.save before version 1.6.
ZIP = b"PK\x03\x04"
LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."


def read_pickle(file: BinaryIO) -> Any:
    """What torch.save wrote, tensors on the CPU; objects of other libraries become `Inert`.

    Raises CheckpointError that names the global of a file that asks for any other, and for broken files.
    """
    allowed: list[Any] = [(cls, name) for name, cls in ALLOWED.items()]
    try:
        with torch.serialization.safe_globals(allowed):
            return torch.load(file, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        raise CheckpointError(f"{file.name}: {_explain(str(error))}") from None
    except Exception as error:  # a broken stream fails in any way inside torch; none of them has run anything
        raise CheckpointError(f"{file.name}: cannot be read by torch: {_first_line(error)}") from error


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
    """Configuration nodes, argument lists and containers as dicts, lists and plain values; anything else as None."""
    if isinstance(value, Inert):
        attributes = vars(value)
        leaf = attributes.get("_val", attributes)  # an omegaconf leaf has a value, a container has content
        return plain(attributes.get("_content", leaf))
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    return value if isinstance(value, (bool, int, float, str)) else None
