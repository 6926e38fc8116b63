"""N-gram models of words, from ARPA text."""

from __future__ import annotations

import gzip
import io
import math
import re
import sys
import unicodedata
import zlib
from dataclasses import dataclass
from pathlib import Path

from lighthubert.runtime.errors import UserError
from lighthubert.runtime.files import open_regular

LONGEST_LINE = 2**16  # characters; a longer one comes in pieces, which are no n-grams
END = "\\end\\"

Words = tuple[str, ...]


@dataclass(frozen=True)
class NgramModel:
    """What words follow which; a word that was not seen after others is judged by fewer of them (back-off)."""

    order: int
    rows: dict[Words, tuple[float, float]]  # words -> log10 of the last one's probability, log10 of the back-off

    @property
    def words(self) -> list[str]:
        """All words, without <s>, </s> and the like."""
        return [row[0] for row in self.rows if len(row) == 1 and not (row[0][0] == "<" and row[0][-1] == ">")]

    def score(self, context: Words, word: str) -> tuple[float, Words]:
        """log10 P(word | context), and the context of the word after it. A word that is not there costs nothing."""
        back_off = 0.0
        while context and (*context, word) not in self.rows:
            back_off += self.rows.get(context, (0.0, 0.0))[1]
            context = context[1:]
        after = (*context, word)
        while after and (len(after) >= self.order or after not in self.rows):
            after = after[1:]
        return back_off + self.rows.get((*context, word), (0.0, 0.0))[0], after


def read_arpa(path: str | Path) -> NgramModel:
    """Read a model in ARPA format, plain or gzipped; words in NFC. Raises UserError that names what is wrong."""
    rows: dict[Words, tuple[float, float]] = {}
    stated: dict[int, int] = {}
    found: dict[int, int] = {}
    order, line = 0, ""
    with open_regular(path, UserError) as raw:
        zipped = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        try:
            file = io.TextIOWrapper(gzip.GzipFile(fileobj=raw) if zipped else raw, encoding="utf-8-sig")
            for number, line in enumerate(iter(lambda: file.readline(LONGEST_LINE), ""), 1):
                line = line.strip()
                if line == END:
                    break
                if section := re.fullmatch(r"\\(\d)-grams:", line):
                    order = int(section[1])
                elif order and line:
                    words, values = _row(line, order, f"{path}, line {number}")
                    found[order] = found.get(order, 0) + 1
                    rows.setdefault(words, values)
                elif count := re.fullmatch(r"ngram\s+(\d)\s*=\s*(\d{1,18})", line):
                    stated[int(count[1])] = int(count[2])
        except (UnicodeDecodeError, EOFError, zlib.error) as error:
            raise UserError(f"{path}: not an n-gram model in ARPA format (text): {error}") from None
    model = NgramModel(order, rows)
    if not model.words:
        raise UserError(f"{path}: no \\1-grams of words: not an n-gram model in ARPA format (text)")
    if line != END or any(found.get(n, 0) != count for n, count in stated.items()):
        wanted = [f"{found.get(n, 0)} of {count} {n}-grams" for n, count in sorted(stated.items())]
        raise UserError(f"{path}: damaged: holds {', '.join(wanted + ['no end'] * (line != END))}")
    return model


def _row(line: str, order: int, where: str) -> tuple[Words, tuple[float, float]]:
    fields = unicodedata.normalize("NFC", line).split()
    try:
        probability, back_off = float(fields[0]), float(fields[order + 1]) if len(fields) == order + 2 else 0.0
    except ValueError:
        probability = back_off = math.nan
    if len(fields) not in (order + 1, order + 2) or not (math.isfinite(back_off) and -math.inf < probability <= 0):
        raise UserError(f"{where}: expected log10 of a probability, {order} words and a back-off, got {line[:100]!r}")
    return tuple(map(sys.intern, fields[1 : order + 1])), (probability, back_off)
