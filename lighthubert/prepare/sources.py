"""Recorded speech in Debian packages: where the audio is, who speaks, and what is said.

A source is a function of the folder the packages are unpacked in and yields `Clip`s. The games are in games.py.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path


@dataclass(frozen=True)
class Clip:
    """One recording: `audio` is its file, or its content where it lies inside another file."""

    audio: Path | bytes
    id: str  # the path in the corpus, without suffix
    kind: str = "speech"  # or sfx, music
    speaker: str = ""
    language: str = ""
    text: str = ""  # as written; "" where unknown
    prompt: str = ""  # the same for all recordings of one prompt
    intent: str = ""  # the family of prompts, the level of the game
    source: str = ""  # the name of the source, which all of its clips get at the end


# Folders of prompts, named after language, country, sex and speaker; Allison is the same person in both.
VOICES = ("en_US_f_Allison", "es_MX_f_Allison", "fr_CA_f_June", "it_IT_m_Carlo", "ru_RU_f_IvrvoiceRU")
# Not speech, whatever the texts say: some describe the tone, and not all voices' lists mark it.
TONES = {"beep", "beeperr", "confbridge-join", "confbridge-leave", "ascending-2tone", "descending-2tone", "tt-monkeys"}
FAMILIES = ["vm", "conf", "agent", "queue", "dir", "demo", "priv", "spy", "call", "pbx", "ss", "tt", "hello", "auth"]
FAMILIES += ["cf", "cw", "do-not-disturb", "astcc"]  # a prompt's name starts with its family's


def asterisk(root: Path) -> Iterator[Clip]:
    """Telephone prompts at 16 kHz (G.722) in five languages, four voices, with exact texts."""
    for folder in sorted((root / "usr/share/asterisk/sounds").glob("*_*_*")):
        if folder.name in VOICES:
            texts = asterisk_texts(root, folder.name[:2])
            for clip in prompts(folder, ".g722"):
                yield replace(clip, text=texts.get(clip.prompt, "") if clip.kind == "speech" else "")


def menardi(root: Path) -> Iterator[Clip]:
    """The prompts by a second Italian voice, 8 kHz; her sentences are worded otherwise, so only words have a text."""
    texts = asterisk_texts(root, "it")
    for clip in prompts(root / "usr/share/asterisk/sounds/it_IT_f_Menardi", ".wav"):
        is_word = clip.intent in ("digits", "letters", "phonetic") and "ICAO" not in clip.prompt
        yield replace(clip, text=texts.get(clip.prompt, "") if is_word else "")


def prompts(folder: Path, suffix: str) -> Iterator[Clip]:
    language, _, _, speaker = folder.name.lower().split("_")
    for path in sorted(folder.rglob(f"*{suffix}")):
        key = path.relative_to(folder).as_posix().removesuffix(suffix)
        if not key.startswith("silence/"):
            family = key.split("/")[0] if "/" in key else next((f for f in FAMILIES if key.startswith(f)), "misc")
            kind = "sfx" if key in TONES else "speech"
            yield Clip(path, f"{folder.name}/{key}", kind, speaker, language, prompt=key, intent=family)


def asterisk_texts(root: Path, language: str) -> dict[str, str]:
    """Prompt -> text, from the documentation of the language's package (not of the -g722 one)."""
    path = root / f"usr/share/doc/asterisk-core-sounds-{language}/core-sounds-{language}.txt.gz"
    if not path.exists():
        return {}
    content = gzip.decompress(path.read_bytes()).decode("utf-8-sig")
    lines = re.finditer(r"^([^;\s][^:\n]*):[ \t]*(.*)$", content, re.MULTILINE)  # ; starts a comment
    return {line[1].strip(): line[2].strip() for line in lines}


def klettres(root: Path) -> Iterator[Clip]:
    """Letters and syllables in twenty languages."""
    base = root / "usr/share/klettres"
    for index in sorted(base.glob("*/sounds.xml")):
        folder = index.parent.name
        entries = re.findall(r'name="([^"]*)"\s+file="([^"]*)"', index.read_text(encoding="utf-8", errors="replace"))
        names = {file: name for name, file in entries}
        for path in sorted((base / folder).glob("*/*.ogg")):
            file = path.relative_to(base).as_posix()
            yield Clip(
                path,
                "klettres/" + file.removesuffix(".ogg"),
                speaker=f"klettres-{folder}",
                language=folder.split("_")[0],
                text=names.get(file, ""),
                prompt=file.removesuffix(".ogg"),
                intent="letters" if path.parent.name == "alpha" else "syllable",
            )


def sphinx(root: Path) -> Iterator[Clip]:
    """Ten English test clips of a recogniser."""
    base = root / "usr/share/pocketsphinx/test/data"
    sets = (("cards", "cards.transcription", "sphinx-cards"), ("librivox", "transcription", "librivox-austen"))
    for folder, name, speaker in sets:
        path = base / folder / name
        lines = path.read_text(encoding="utf-8") if path.exists() else ""
        for line in re.finditer(r"<s>(.*?)</s>\s*\(([^)]*)\)", lines):
            yield Clip(
                base / folder / f"{line[2]}.wav",
                f"sphinx/{folder}-{line[2]}",
                speaker=speaker,
                language="en",
                text=line[1].strip(),
                prompt=line[2],
                intent=folder,
            )
