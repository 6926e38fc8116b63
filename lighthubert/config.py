"""Reading YAML and JSON: spaces, archs and recipes. The only door to omegaconf, imported when a file is read:
loading and running a net needs no YAML."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from io import StringIO
from pathlib import Path
from typing import Any, Generic, TypeVar, get_args

from lighthubert.keys import describe_keys
from lighthubert.runtime.errors import UserError
from lighthubert.runtime.files import read_text, write_text
from lighthubert.schema import DEEPEST, Problems, check_plain, hints, parse

T = TypeVar("T")
MOST_BYTES, MOST_EVENTS = 2**20, 20_000  # of a file; a value is one event or two


class ConfigError(UserError):
    """A recipe, space or arch that cannot be used; the message names the file, the keys and the rules."""


@contextmanager
def _named(what: object) -> Iterator[None]:
    """Errors of the libraries in one line behind what was read."""
    try:
        yield
    except Exception as error:  # a tag whose text does not fit it fails in any way: `!!bool x` is a KeyError
        kind = "" if isinstance(error, ValueError) or len(str(error)) > 20 else f"{type(error).__name__} "
        raise ConfigError(f"{what}: {kind}{' '.join(str(error).split())}") from error


def _check_events(text: str) -> None:
    """Raises ValueError for YAML that is small as text only; reading that would take any time and memory."""
    import yaml  # type: ignore[import-untyped]  # omegaconf's own

    depth = 0
    for number, event in enumerate(yaml.parse(StringIO(text), Loader=yaml.SafeLoader)):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if isinstance(event, yaml.AliasEvent):
            raise ValueError(f"*{event.anchor}: aliases are not read; a recipe may say ${{key}}")
        if depth > DEEPEST or number > MOST_EVENTS:
            raise ValueError(f"nested more than {DEEPEST} deep, or more than {MOST_EVENTS // 2:,} values")


def read_yaml(path: str | Path) -> dict[str, Any]:
    """A YAML or JSON file as plain Python values. Interpolations stay text: a stranger's file may name anything."""
    from omegaconf import OmegaConf

    text = read_text(path, ConfigError, MOST_BYTES)
    with _named(f"{path}: cannot be read as YAML"):
        _check_events(text)
        values = OmegaConf.to_container(OmegaConf.load(StringIO(text)))
        check_plain(values)
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: expected keys and values, got {type(values).__name__}")
    return {str(key): value for key, value in values.items()}


def read_values(path: str | Path, overrides: list[str]) -> dict[str, Any]:
    """A recipe's values over those of its `base`, key by key, then `key.sub=value` overrides, as plain values.

    A mapping in an override replaces the recipe's. Interpolations are resolved last.
    """
    from omegaconf import OmegaConf

    values = _with_base(Path(path), ())
    for text in overrides:
        key, equals, value = text.partition("=")
        if not key or not equals:
            raise ConfigError(f"{text!r}: an override is written key=value")
        with _named(repr(text)):
            _check_events(value)
            *sections, last = key.split(".")
            section = values
            for name in sections:
                if not isinstance(section.get(name), dict):
                    section[name] = {}
                section = section[name]
            plain = OmegaConf.to_container(OmegaConf.from_dotlist([f"value={value}"]))
            check_plain(plain)
            section[last] = plain["value"]  # type: ignore[index, call-overload]
    with _named(path):
        resolved: Any = OmegaConf.to_container(OmegaConf.create(values), resolve=True)
    return dict(resolved)


def _with_base(path: Path, above: tuple[Path, ...]) -> dict[str, Any]:
    """A recipe's values over those of the file that its `base` names, from its own folder."""
    if path.resolve() in above:
        raise ConfigError(f"{path}: base: goes round in a circle")
    values = read_yaml(path)
    base = values.pop("base", None)
    if base is None:
        return values
    if not isinstance(base, str):
        raise ConfigError(f"{path}: base: expected text, got {base!r}")
    merged: dict[str, Any] = merge(_with_base(path.parent / base, (*above, path.resolve())), values)
    return merged


def merge(base: Any, values: Any) -> Any:
    """Mappings key by key; of anything else the new value."""
    if not isinstance(base, Mapping) or not isinstance(values, Mapping):
        return values
    return {**base, **{key: merge(base.get(key), value) for key, value in values.items()}}


class Recipes(Generic[T]):
    """The recipes of a job: dataclasses, told apart by their `objective` where there are several."""

    def __init__(self, *schemas: type[T]) -> None:
        self.schemas = schemas

    def read(self, path: str | Path, overrides: list[str]) -> T:
        """A recipe's file as a dataclass; ConfigError lists all problems."""
        values = read_values(path, overrides)
        try:
            return parse(self._schema(path, values), values, name=str(path))
        except Problems as error:
            raise ConfigError(str(error)) from None

    def _schema(self, path: str | Path, values: Mapping[str, Any]) -> type[T]:
        if len(self.schemas) == 1:
            return self.schemas[0]
        names = {get_args(hints(schema)["objective"])[0]: schema for schema in self.schemas}
        objective = values.get("objective", next(iter(names)))
        if not isinstance(objective, str) or objective not in names:
            raise ConfigError(f"{path}: objective: must be one of {', '.join(names)}, got {objective!r}")
        return names[objective]

    def help(self) -> str:
        """All keys with their defaults, and what they are."""
        return "\n\n".join(describe_keys(schema) for schema in self.schemas)


def write_yaml(path: str | Path, values: Any) -> None:
    """Write a mapping or a dataclass as YAML."""
    from omegaconf import OmegaConf

    node = OmegaConf.create(values if isinstance(values, dict) else asdict(values))
    write_text(path, OmegaConf.to_yaml(node))
