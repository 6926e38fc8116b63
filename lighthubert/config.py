"""Reading YAML and JSON: spaces, archs and recipes. The only door to omegaconf, imported when a file is read:
loading and running a net needs no YAML."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Generic, TypeVar, get_args

from lighthubert.keys import describe_keys
from lighthubert.runtime.errors import UserError
from lighthubert.runtime.files import write_text
from lighthubert.schema import Problems, hints, parse

T = TypeVar("T")


class ConfigError(UserError):
    """A recipe, space or arch that cannot be used; the message names the file, the keys and the rules."""


@contextmanager
def _named(what: object) -> Iterator[None]:
    """Errors of the libraries in one line behind what was read."""
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError  # type: ignore[import-untyped]

    try:
        yield
    except (OSError, YAMLError, OmegaConfBaseException, UnicodeDecodeError, TypeError) as error:
        raise ConfigError(f"{what}: {' '.join(str(error).split())}") from error


def read_yaml(path: str | Path, resolve: bool = True) -> dict[str, Any]:
    """A YAML or JSON file as plain Python values; interpolations are resolved, unless told otherwise."""
    from omegaconf import OmegaConf

    with _named(f"{path}: cannot be read as YAML"):
        values = OmegaConf.to_container(OmegaConf.load(path), resolve=resolve)
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
            *sections, last = key.split(".")
            section = values
            for name in sections:
                if not isinstance(section.get(name), dict):
                    section[name] = {}
                section = section[name]
            plain = OmegaConf.to_container(OmegaConf.from_dotlist([f"value={value}"]))
            section[last] = plain["value"]  # type: ignore[index, call-overload]
    with _named(path):
        resolved: Any = OmegaConf.to_container(OmegaConf.create(values), resolve=True)
    return dict(resolved)


def _with_base(path: Path, above: tuple[Path, ...]) -> dict[str, Any]:
    """A recipe's values over those of the file that its `base` names, from its own folder."""
    if path.resolve() in above:
        raise ConfigError(f"{path}: base: goes round in a circle")
    values = read_yaml(path, resolve=False)
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
