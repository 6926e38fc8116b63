"""The keys of a recipe or a space, for people: made from the fields of a dataclass and the texts below them."""

from __future__ import annotations

import ast
import functools
import inspect
import itertools
import textwrap
import types
import typing
from collections.abc import Iterator
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Annotated, Any, Literal, NamedTuple

from lighthubert.schema import UNIONS, hints

WIDTH = 100
PLAIN = {int: "integer", float: "number", bool: "true or false", str: "text", Any: "anything"}


class Key(NamedTuple):
    """One key: its whole name, what it may hold, its default ("required" if there is none), and what it is."""

    name: str
    kind: str
    default: str
    about: str


def list_keys(cls: type, prefix: str = "", usual: object = None) -> Iterator[Key]:
    """Every key of a dataclass, those of its sections behind their own. usual: what holds the defaults of a section."""
    for field in fields(cls):
        hint, name = hints(cls)[field.name], prefix + field.name
        has_default, value = _default(field) if usual is None else (True, getattr(usual, field.name))
        section = _section(hint)
        about = field_docs(cls).get(field.name, "") or (inspect.cleandoc(section.__doc__ or "") if section else "")
        filled = is_dataclass(value)
        default = "required" if not has_default else "its own defaults" if filled else _yaml(value)
        yield Key(name, _kind(hint), default, about)
        if section is not None:
            inner = ".NAME." if typing.get_origin(hint) is dict else "."
            yield from list_keys(section, name + inner, value if filled else None)


def describe_keys(cls: type) -> str:
    """The keys as lines for a terminal, behind what the recipe is."""
    lines = textwrap.wrap(inspect.cleandoc(cls.__doc__ or ""), WIDTH)
    lines.append("")
    for key in list_keys(cls):
        lines.append(f"  {key.name}: {key.kind} = {key.default}")
        lines += textwrap.wrap(key.about, WIDTH, initial_indent=" " * 6, subsequent_indent=" " * 6)
    return "\n".join(lines)


@functools.cache
def field_docs(cls: type) -> dict[str, str]:
    """The text below each field of a class, those of its parents included, as one line."""
    docs: dict[str, str] = {}
    for base in reversed(cls.__mro__[:-1]):
        if is_dataclass(base):
            (tree,) = ast.parse(textwrap.dedent(inspect.getsource(base))).body
            body = tree.body if isinstance(tree, ast.ClassDef) else []
            for field, text in itertools.pairwise(body):
                if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and _is_text(text):
                    docs[field.target.id] = " ".join(text.value.value.split())  # type: ignore[attr-defined]
    return docs


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _section(hint: Any) -> type | None:
    """The dataclass whose keys stand below a field, if there is one."""
    parts = [part for part in typing.get_args(hint) if is_dataclass(part)]
    section = hint if is_dataclass(hint) else parts[0] if parts else None
    return typing.cast("type | None", section)


def _kind(hint: Any) -> str:
    """What a field may hold, in words."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        rules = (rule.text.replace("must not be", "not") for rule in hint.__metadata__)
        return ", ".join([_kind(args[0]), *(rule.removeprefix("must be ").removeprefix("must lie ") for rule in rules)])
    if origin is Literal:
        return " | ".join(args)
    if origin in UNIONS:
        return " | ".join("null" if arg is types.NoneType else _kind(arg) for arg in args)
    if origin in (list, tuple):
        return f"list of {_kind(args[0])}s"
    if origin is dict:
        return f"mapping of {_kind(args[1])}s"
    return PLAIN.get(hint, "section")


def _default(field: Field[Any]) -> tuple[bool, Any]:
    """Whether a field has a default, and which."""
    if field.default_factory is not MISSING:
        return True, field.default_factory()
    return field.default is not MISSING, field.default


def _yaml(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_yaml, value))}]"
    return f"{value:g}" if isinstance(value, float) else str(value)
