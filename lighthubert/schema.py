"""JSON-like values into (nested) dataclasses, with every problem named at once. Standard library only."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, TypeVar

T = TypeVar("T")


def parse(cls: type[T], values: Mapping[str, Any], name: str = "") -> T:
    """Build a dataclass out of plain values.

    Fields may be int, float, bool, str, X | None, X | Y | None of such plain types, list[X], tuple[X, ...],
    dict[str, X] or dataclasses. Raises ValueError that lists unknown keys, missing keys, values of a wrong type, and
    what the classes themselves refuse.
    """
    problems: list[str] = []
    result = _dataclass(cls, values, "", problems)
    if problems:
        raise ValueError(f"{name or cls.__name__}: " + "; ".join(problems))
    return typing.cast(T, result)


def _dataclass(cls: Any, values: Any, path: str, problems: list[str]) -> Any:
    if not isinstance(values, Mapping):
        problems.append(f"{path or 'it'}: expected keys and values, got {values!r}")
        return None
    known, hints = {f.name: f for f in fields(cls)}, typing.get_type_hints(cls)
    before = len(problems)
    dot = f"{path}." if path else ""
    problems += [f"{dot}{key}: unknown key; known are {', '.join(known)}" for key in values if key not in known]
    required = [k for k, f in known.items() if f.default is MISSING and f.default_factory is MISSING]
    problems += [f"{dot}{key}: is missing" for key in required if key not in values]
    given = {k: _value(hints[k], v, f"{dot}{k}", problems) for k, v in values.items() if k in known}
    if len(problems) > before:
        return None
    try:
        return cls(**given)
    except ValueError as error:
        own = str(error).removeprefix(f"{cls.__name__}: ").removeprefix(f"{path}: ")
        problems += [f"{dot}{problem}" for problem in own.split("; ")]
        return None


def _value(hint: Any, value: Any, path: str, problems: list[str]) -> Any:
    if hint is Any:
        return value
    if isinstance(hint, types.UnionType):
        choices = [choice for choice in typing.get_args(hint) if choice is not types.NoneType]
        fitting = [choice for choice in choices if type(value) is (typing.get_origin(choice) or choice)]
        return None if value is None else _value((fitting or choices)[0], value, path, problems)
    if is_dataclass(hint):
        return _dataclass(hint, value, path, problems)
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (tuple, list):
        if not isinstance(value, (list, tuple)):
            problems.append(f"{path}: expected a list, got {value!r}")
            return None
        return origin(_value(args[0], v, f"{path}[{i}]", problems) for i, v in enumerate(value))
    if origin is dict and isinstance(value, Mapping):
        return {str(key): _value(args[1], v, f"{path}.{key}", problems) for key, v in value.items()}
    kind = origin or hint
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        problems.append(f"{path}: expected {_NAMES.get(kind, kind.__name__)}, got {value!r}")
    return value


_NAMES = {int: "an integer", float: "a number", bool: "true or false", str: "text", dict: "keys and values"}
