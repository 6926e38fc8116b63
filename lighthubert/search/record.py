"""scored.jsonl: every arch that a search has scored, in the order of scoring. It is all the state that a search has.

A search is a function of its recipe and of the scores, so the same command on the same folder goes the same way
again, reads what is already known, and goes on from there.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lighthubert.cost import Latency, costs
from lighthubert.elastic import SearchSpace
from lighthubert.models import Arch
from lighthubert.runtime import ranks
from lighthubert.runtime.errors import StateError
from lighthubert.runtime.files import digest, naming, open_regular, write_text
from lighthubert.runtime.fingerprint import fingerprint, require_same

COLUMNS = ("params", "macs")  # costs that are kept beside every score
CHUNK = 4  # archs that a rank scores before they are written down


@dataclass(frozen=True)
class Scored:
    """An arch, its score (lower is better), what it costs, and who asked for it: evolution, random or uniform."""

    arch: Arch
    score: float
    costs: dict[str, float]
    origin: str

    def to_dict(self) -> dict[str, Any]:
        values = {"arch": self.arch.to_dict(), "score": self.score, "costs": self.costs, "origin": self.origin}
        return {**values, "check": _check(values)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], space: SearchSpace) -> Scored:
        """Raises ValueError for a row that was changed, or is of another space."""
        rest = {key: value for key, value in values.items() if key != "check"}
        if values.get("check") != _check(rest):
            raise ValueError("does not match its check")
        if not all(map(np.isfinite, [rest["score"], *rest["costs"].values()])):
            raise ValueError("holds a number that is not finite")
        return cls(space.arch(Arch.from_dict(rest["arch"])), rest["score"], rest["costs"], rest["origin"])


def _check(values: Mapping[str, Any]) -> str:
    """What a row's values have as their checksum."""
    return digest([json.dumps(values, sort_keys=True).encode()])


class Record:
    """Scores archs once. Ranks share the work; rank 0 writes. path None: nothing is written.

    recipe: what must stay the same for the scores to be worth something. Raises StateError if the file is of another.
    """

    def __init__(self, space: SearchSpace, score: Callable[[Arch], float], names: Iterable[str], path: Path | None,
                 recipe: Mapping[str, Any], latency: Latency | None = None) -> None:  # fmt: skip
        self.space, self.score, self.path, self.latency = space, score, path, latency
        self.names = list(dict.fromkeys([*COLUMNS, *names, *(["milliseconds"] if latency else [])]))
        self.on_scored: Callable[[], None] = lambda: None
        known = ranks.on_first(lambda: _read(path, recipe, space)) if path else []
        self.scored = {row.arch: row for row in known}

    def __call__(self, archs: Sequence[Arch], origin: str) -> np.ndarray:
        """(N,) the scores."""
        new = [arch for arch in dict.fromkeys(archs) if arch not in self.scored]
        rank, world = ranks.rank(), ranks.world()
        for start in range(0, len(new), CHUNK * world):
            chunk = new[start : start + CHUNK * world]
            shares = ranks.gather([float(self.score(arch)) for arch in chunk[rank::world]])
            self._add(chunk, [shares[i % world][i // world] for i in range(len(chunk))], origin)
            self.on_scored()
        return np.array([self.scored[arch].score for arch in archs])

    def _add(self, archs: Sequence[Arch], scores: Sequence[float], origin: str) -> None:
        table = costs(self.space, archs, self.names, self.latency)
        rows = []
        for i, (arch, score) in enumerate(zip(archs, scores, strict=True)):
            if not np.isfinite(score):
                raise ValueError(f"the score of {arch} is {score}; it must be a finite number, lower is better")
            rows.append(Scored(arch, score, {name: table[name][i].item() for name in self.names}, origin))
            self.scored[arch] = rows[-1]
        if self.path and ranks.rank() == 0:
            _append(self.path, "".join(json.dumps(row.to_dict()) + "\n" for row in rows).encode())


def _append(path: Path, lines: bytes) -> None:
    """Add lines to a file, all or none."""
    with naming(path), path.open("ab", buffering=0) as file:
        size = file.seek(0, os.SEEK_END)
        try:
            if file.write(lines) < len(lines):
                file.write(lines[-1:])  # says why
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            file.truncate(size)
            raise


def _read(path: Path, recipe: Mapping[str, Any], space: SearchSpace) -> list[Scored]:
    """What is known; a new file gets its first line, which says of what recipe it is. A half line is cut off."""
    head = json.dumps({"search": recipe}, sort_keys=True)
    text = b""
    if path.exists():
        with open_regular(path, StateError) as file:
            text = file.read()
    whole = text[: text.rfind(b"\n") + 1]
    if len(whole) < len(text):
        os.truncate(path, len(whole))
    lines = whole.split(b"\n")[:-1]
    if not lines:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, head + "\n")
        return []
    rows, number = [], 1
    try:
        before = fingerprint(json.loads(lines[0])["search"])
        for number, line in enumerate(lines[1:], 2):  # noqa: B007  of the line that is wrong
            rows.append(Scored.from_dict(json.loads(line), space))
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise StateError(f"{path}, line {number}: not of the record of a search ({error}); "
                         "move the file away to start anew") from error  # fmt: skip
    require_same(path, before, fingerprint(json.loads(head)["search"]))
    return rows
