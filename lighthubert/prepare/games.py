"""Acted dialogue in two games that Debian packages: Fish Fillets (Czech, Dutch) and Flight of the Amazon Queen."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from pathlib import Path

from lighthubert.prepare.sources import Clip
from lighthubert.prepare.text import normalise

FISH = "usr/share/games/fillets-ng"
QUOTED = r'"((?:[^"\\]|\\.)*)"'
DIALOGUE = re.compile(rf'dialogId\("([^"]+)",\s*"([^"]*)",\s*{QUOTED}\)\s*dialogStr\({QUOTED}\)')


def fillets(root: Path) -> Iterator[Clip]:
    """Two fish and others, with subtitles; the font of a line tells who speaks."""
    for language in ("cs", "nl"):
        texts, fonts = {}, {}
        for script in sorted((root / FISH).glob(f"script/**/*dialogs_{language}.lua")):
            for line in DIALOGUE.finditer(script.read_text(encoding="utf-8")):
                texts[line[1]] = line[4].replace('\\"', '"').replace("\\n", " ")
                fonts[line[1]] = line[2]
        for path in sorted((root / FISH).glob(f"sound/*/{language}/*.ogg")):
            level, line_id = path.parts[-3], path.stem
            yield Clip(
                path,
                f"fillets_{language}/{level}__{line_id}",
                speaker=f"fillets-{language}-{fish(line_id, fonts.get(line_id, ''))}",
                language=language,
                text=texts.get(line_id, ""),
                prompt=line_id,
                intent=level,
            )


def fish(line_id: str, font: str) -> str:
    letter = [*line_id.split("-"), ""][1]  # m: the small one (Czech: malá), v: the big one (velká)
    if font.startswith("font_small") or letter == "m":
        return "small"
    return "big" if font.startswith("font_big") or letter == "v" else "other"


def noise(root: Path) -> Iterator[Clip]:
    """Sound effects and music of the fish game."""
    for kind, pattern in (("sfx", "sound/*/en/*.ogg"), ("music", "music/*.ogg")):
        for path in sorted((root / FISH).glob(pattern)):
            name = path.relative_to(root / FISH).as_posix().removesuffix(".ogg").replace("/", "__")
            yield Clip(path, f"noise/{name}", kind, prompt=path.stem)


# The queen's one data file: a table of (12-byte name, unknown byte, offset, size), big-endian, then the members.
# NAME.SB is an MP3; NAME.DOG holds one room's dialogue; QUEEN2.JAS the texts of the hero's remarks.
QUEEN = "usr/share/scummvm/flight-of-the-amazon-queen/queen.1c"
TABLE_START, ENTRY_SIZE, MEMBER_HEADER = 15, 21, 20
DIALOGUE_START, DIALOGUE_ENTRY = 32, 96  # of the hero's strings in a .DOG, after as many entries as it states
NUM_REMARKS, FIRST_REMARK = 901, 41
PAUSE = re.compile(r"\*..")  # cuts a line into parts that were recorded one by one
UNTITLED = [f"{tag}{{side}}{part}" for tag in ("XXXX", "SSSS") for part in range(1, 10)]


def queen(root: Path) -> Iterator[Clip]:
    """English dialogue, 11 kHz MP3; lines of cut scenes have no text."""
    path = root / QUEEN
    content = path.read_bytes() if path.exists() else b""
    members = dict(queen_members(content))
    texts = remarks(members.get("QUEEN2.JAS", b""))
    speakers: dict[str, str] = {}
    for name in sorted(name for name in members if name.endswith(".DOG")):
        lines, room = dialogue(members[name])
        hero, other = "queen-joe", "queen-" + re.sub(r"\d+$", "", name.removesuffix(".DOG")).lower()
        for side, speaker in (("J", hero), ("P", other)):
            for key in (room + key.format(side=side) for key in UNTITLED):
                speakers.setdefault(key, speaker)
        for key, line in lines.items():
            texts[key], speakers[key] = line, hero if key[6] == "J" else other
    for name in sorted(name for name in members if name.endswith(".SB")):
        key = name.removesuffix(".SB")
        guess = "joe" if key.startswith("JOE") else "cutscene" if key.startswith("C") else "other"
        yield Clip(
            members[name],
            f"queen/{key}",
            speaker=speakers.get(key, f"queen-{guess}"),
            language="en",
            text=texts.get(key, ""),
            prompt=key,
            intent="dialog",
        )


def queen_members(content: bytes) -> Iterator[tuple[str, bytes]]:
    if content:
        (count,) = struct.unpack_from(">H", content, TABLE_START - 2)
        for i in range(count):
            name, offset, size = struct.unpack_from(">12sxII", content, TABLE_START + i * ENTRY_SIZE)
            yield name.rstrip(b"\0").decode("latin1"), content[offset : offset + size]


def remarks(member: bytes) -> dict[str, str]:
    """Recording -> text of what the hero says about things."""
    lines = member.decode("cp437").split("\r\n")[:NUM_REMARKS]
    return {
        f"JOE{number:04d}{part}": text
        for number, line in enumerate(lines, FIRST_REMARK)
        if not line.lower().endswith(".cut")
        for part, text in enumerate(PAUSE.split(line), 1)
        if normalise(text)
    }


def dialogue(member: bytes) -> tuple[dict[str, str], str]:
    """Recording -> text of one .DOG member, and the two digits of its room that start the recordings' names."""
    block = member[MEMBER_HEADER:]
    header = struct.unpack_from(">14h", block)
    room = f"{header[2]:02d}"
    tables = (
        ("J", DIALOGUE_START + abs(header[0]) * DIALOGUE_ENTRY, header[3]),
        ("P", header[11] & 0xFFFF, header[4]),
    )
    texts = {}
    for side, start, count in tables:
        for line_id, line in strings(block, start, count).items():
            for part, text in enumerate(PAUSE.split(line) if line_id else (), 1):
                if normalise(text):
                    texts[f"{room}{line_id:04X}{side}{part}"] = text.strip()
    return texts, room


def strings(block: bytes, position: int, count: int) -> dict[int, str]:
    """Id -> text of `count` records (2 bytes, id, length, text padded to 4); {} where they run over the end."""
    records = {}
    for _ in range(count):
        if position + 5 > len(block):
            return {}
        line_id, length = struct.unpack_from(">2xHB", block, position)
        position += 5
        if length:
            records[line_id] = block[position : position + length].decode("cp437")
            position += length + -(position + length) % 4
    return records
