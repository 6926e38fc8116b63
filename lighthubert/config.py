"""Reading YAML and JSON: spaces, archs and recipes. The only door to omegaconf, imported when a file is read:
loading and running a net needs no YAML."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from lighthubert.schema import parse

T = TypeVar("T")


class ConfigError(ValueError):
    """A recipe, space or arch that cannot be used; the message names the file, the keys and the rules."""


def read_yaml(path: str | Path, resolve: bool = True) -> dict[str, Any]:
    """A YAML or JSON file as plain Python values; interpolations are resolved, unless told otherwise."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError  # type: ignore[import-untyped]

    try:
        node = OmegaConf.load(path)
        values = OmegaConf.to_container(node, resolve=resolve)
    except (OSError, YAMLError, OmegaConfBaseException, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read as YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: expected keys and values, got {type(values).__name__}")
    return {str(key): value for key, value in values.items()}


def read_values(path: str | Path, overrides: list[str]) -> dict[str, Any]:
    """A recipe's YAML with `key.sub=value` overrides as plain values; then interpolations are resolved."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    values: Any = OmegaConf.create(read_yaml(path, resolve=False))
    for text in overrides:
        key, equals, _ = text.partition("=")
        if not key or not equals:
            raise ConfigError(f"{text!r}: an override is written key=value")
        try:
            values = OmegaConf.merge(values, OmegaConf.from_dotlist([text]))
        except (YAMLError, OmegaConfBaseException, TypeError) as error:
            raise ConfigError(f"{text!r}: {' '.join(str(error).split())}") from error
    try:
        plain: Any = OmegaConf.to_container(values, resolve=True)
    except OmegaConfBaseException as error:
        raise ConfigError(f"{path}: {' '.join(str(error).split())}") from error
    return dict(plain)


def read_recipe(path: str | Path, overrides: list[str], schema: type[T]) -> T:
    """A recipe as a frozen dataclass; ConfigError lists all problems."""
    return make_recipe(path, read_values(path, overrides), schema)


def make_recipe(path: str | Path, values: dict[str, Any], schema: type[T]) -> T:
    """Values read from `path` as a frozen dataclass; ConfigError lists all problems."""
    try:
        return parse(schema, values, name=str(path))
    except ValueError as error:
        raise ConfigError(str(error)) from None


def write_yaml(path: str | Path, values: Any) -> None:
    """Write a mapping or a dataclass as YAML."""
    from omegaconf import OmegaConf

    OmegaConf.save(OmegaConf.create(values if isinstance(values, dict) else asdict(values)), path)
