"""JSON-like values into (nested) dataclasses, with every problem named at once, and what each field is.

A field's annotation says what it may hold: its type, Literal choices, and a Rule in Annotated. The text below a field
says what it is.
"""

from __future__ import annotations

import functools
import json
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from typing import Annotated, Any, Literal, NamedTuple, TypeVar

T = TypeVar("T")
DEEPEST, MOST_VALUES = 50, 200_000  # of values that a file holds
UNIONS = (types.UnionType, typing.Union)  # X | None, and the same with a rule


class Rule(NamedTuple):
    """What a value must keep beside its type."""

    text: str
    holds: Callable[[Any], bool]


POSITIVE = Rule("must be positive", lambda x: 0 < x)
NOT_NEGATIVE = Rule("must not be negative", lambda x: 0 <= x)
SHARE = Rule("must lie within 0 and 1", lambda x: 0 <= x <= 1)


def at_least(low: float) -> Rule:
    return Rule(f"must be at least {low}", lambda x: x >= low)


def some_of(*choices: str) -> Rule:
    """For lists: one or more values, all of them known."""
    return Rule(f"needs one or more of {', '.join(choices)}", lambda x: bool(x) and set(x) <= set(choices))


Count = Annotated[int, at_least(1)]
Seed = Annotated[int, NOT_NEGATIVE]


class Problems(ValueError):
    """Everything that is wrong with one input, a text for each: `problems`."""

    def __init__(self, problems: Sequence[str], name: str = "") -> None:
        super().__init__(problems, name)
        self.problems, self.name = list(problems), name

    def __str__(self) -> str:
        return (f"{self.name}: " if self.name else "") + "; ".join(self.problems)


def check_plain(value: Any) -> None:
    """Raises ValueError for values of a file that are not plain, or that nobody writes: nested deeper than DEEPEST,
    more than MOST_VALUES (each as often as it is named), integers of more than 64 bits."""
    level, count = [value], 0
    for _ in range(DEEPEST):
        below: list[Any] = []
        for v in level:
            if isinstance(v, (dict, list, tuple)):
                count += len(v)
                below += [*v, *v.values()] if isinstance(v, dict) else v
            elif type(v) is int and not -(2**63) <= v < 2**63:
                raise ValueError("holds an integer of more than 64 bits")
            elif not isinstance(v, (int, float, str, types.NoneType)):
                raise ValueError(f"holds a {type(v).__name__}; expected lists, mappings, texts and numbers")
            if count > MOST_VALUES:
                raise ValueError(f"holds more than {MOST_VALUES:,} values")
        if not below:
            return
        level = below
    raise ValueError(f"nested more than {DEEPEST} deep")


def from_json(text: str) -> Any:
    """JSON as plain values. Raises ValueError for other text, and as `check_plain`."""
    try:
        value = json.loads(text)
    except RecursionError:
        raise ValueError(f"nested more than {DEEPEST} deep") from None
    check_plain(value)
    return value


class Checked:
    """A dataclass whose values keep the rules of its fields, and its own `problems`."""

    def __post_init__(self) -> None:
        problems = [p for key, hint in hints(type(self)).items() for p in _broken(hint, getattr(self, key), key)]
        if problems := [*problems, *self.problems()]:
            raise Problems(problems, type(self).__name__)

    def problems(self) -> Iterator[str]:
        """What does not go together, "key: rule". Single values may be wrong too."""
        yield from ()


def hints(cls: Any) -> dict[str, Any]:
    """The annotation of each field of a dataclass."""
    return _hints(cls)


@functools.cache
def _hints(cls: Any) -> dict[str, Any]:
    annotations = typing.get_type_hints(cls, include_extras=True)
    return {field.name: annotations[field.name] for field in fields(cls)}


def parse(cls: type[T], values: Mapping[str, Any], name: str = "") -> T:
    """Build a dataclass out of plain values.

    Fields may be int, float, bool, str, Literal, X | None, X | Y | None of such plain types, list[X], tuple[X, ...],
    dict[str, X] (without the keys whose value is None) or dataclasses. Raises Problems that lists unknown keys, missing
    keys, values of a wrong type, and what the classes themselves refuse.
    """
    problems: list[str] = []
    result = _dataclass(cls, values, "", problems)
    if problems:
        raise Problems(problems, name or cls.__name__)
    return typing.cast(T, result)


def _dataclass(cls: Any, values: Any, path: str, problems: list[str]) -> Any:
    if not isinstance(values, Mapping):
        problems.append(f"{path or 'it'}: expected keys and values, got {values!r}")
        return None
    known, before = {f.name: f for f in fields(cls)}, len(problems)
    dot = f"{path}." if path else ""
    problems += [f"{dot}{key}: unknown key; known are {', '.join(known)}" for key in values if key not in known]
    required = [k for k, f in known.items() if f.default is MISSING and f.default_factory is MISSING]
    problems += [f"{dot}{key}: is missing" for key in required if key not in values]
    parsed = {k: _value(hints(cls)[k], v, f"{dot}{k}", problems) for k, v in values.items() if k in known}
    if len(problems) > before:
        return None
    try:
        return cls(**parsed)
    except Problems as error:
        problems += [f"{dot}{problem}" for problem in error.problems]
        return None


def _value(hint: Any, value: Any, path: str, problems: list[str]) -> Any:
    hint, _ = _bare(hint)
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal and type(value) is not type(args[0]):
        problems += _broken(hint, value, path)  # of the right type, the class checks it with its other rules
    if hint is Any or origin is Literal:
        return value
    if origin in UNIONS:
        choices = [choice for choice in args if choice is not types.NoneType]
        fitting = [choice for choice in choices if type(value) is (typing.get_origin(choice) or choice)]
        return None if value is None else _value((fitting or choices)[0], value, path, problems)
    if is_dataclass(hint):
        return _dataclass(hint, value, path, problems)
    if origin in (tuple, list):
        if not isinstance(value, (list, tuple)):
            problems.append(f"{path}: expected a list, got {value!r}")
            return None
        return origin(_value(args[0], v, f"{path}[{i}]", problems) for i, v in enumerate(value))
    if origin is dict and isinstance(value, Mapping):
        kept = {str(key): v for key, v in value.items() if v is not None or args[1] is Any}
        return {key: _value(args[1], v, f"{path}.{key}", problems) for key, v in kept.items()}
    kind = origin or hint
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        problems.append(f"{path}: expected {_NAMES.get(kind, kind.__name__)}, got {value!r}")
    return value


_NAMES = {int: "an integer", float: "a number", bool: "true or false", str: "text", dict: "keys and values"}


def _bare(hint: Any) -> tuple[Any, list[Rule]]:
    """An annotation without its rules, and these."""
    if typing.get_origin(hint) is not Annotated:
        return hint, []
    kind, *rules = typing.get_args(hint)
    return kind, rules


def _broken(hint: Any, value: Any, path: str) -> Iterator[str]:
    """The rules of a field's annotation that a value breaks."""
    hint, rules = _bare(hint)
    if typing.get_origin(hint) in UNIONS:
        if value is None:
            return
        hint, more = _bare(typing.get_args(hint)[0])
        rules = [*rules, *more]
    if typing.get_origin(hint) is Literal:
        choices = typing.get_args(hint)
        rules = [*rules, Rule(f"must be one of {', '.join(choices)}", lambda x: x in choices)]
    yield from (f"{path}: {rule.text}, got {value!r}" for rule in rules if not rule.holds(value))
