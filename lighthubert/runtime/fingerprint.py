"""What a folder's content was made of: a resumed run must be of the same recipe and files."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

from lighthubert.runtime.errors import StateError


def fingerprint(values: Mapping[str, Any], free: Collection[str] = (), prefix: str = "") -> dict[str, str]:
    """Nested values as flat texts, {"train.lr": "0.001"}, without the keys in `free`, which may change."""
    flat: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= fingerprint(value, free, f"{prefix}{key}.")
        elif prefix + key not in free:
            flat[prefix + key] = json.dumps(value, default=str)
    return flat


def require_same(where: object, before: Mapping[str, str], now: Mapping[str, str]) -> None:
    """StateError that lists every key in which two fingerprints differ; `where` is the folder or file of the first."""
    keys = [key for key in sorted({*before, *now}) if before.get(key) != now.get(key)]
    if keys:
        changes = "; ".join(f"{key} was {before.get(key, 'not set')}, is {now.get(key, 'not set')}" for key in keys)
        raise StateError(f"{where}: started with another recipe: {changes}. Use the old values or another run_dir")
