"""Transcripts in one form, and the split that follows from them."""

import hashlib
import re
import unicodedata

SPLITS = ("train", "dev", "test")
ASIDES = re.compile(r"\[[^\]]*\]|\([^)]*\)|<[^>]*>")  # [tone], (whispers), <s>: not spoken
EDGE_APOSTROPHES = re.compile(r"(?<!\S)'+|'+(?!\S)")


def normalise(text: str) -> str:
    """Lower case, NFC; letters of any script, digits and inner apostrophes; single spaces."""
    text = unicodedata.normalize("NFC", ASIDES.sub(" ", text).replace("’", "'").lower())
    spoken = "".join(c if c.isalpha() or c in "'0123456789" or is_mark(c) else " " for c in text)
    return " ".join(EDGE_APOSTROPHES.sub("", spoken).split())


def is_mark(char: str) -> bool:
    """A vowel sign or accent that is a character of its own."""
    return unicodedata.category(char) in ("Mn", "Mc")


def split_of(key: str) -> str:
    """train, dev or test (80/10/10) by the hash of a transcript, so that no text is in two of them."""
    bucket = int(hashlib.md5(key.encode(), usedforsecurity=False).hexdigest(), 16) % 100
    return "test" if bucket >= 90 else "dev" if bucket >= 80 else "train"
