"""The error of everything that a user can mend, and what its message looks like."""

from __future__ import annotations

LONGEST = 1000  # characters of a message
TAIL = 250  # of them, the end of a message that is cut; it often says the rule


class UserError(ValueError):
    """Something that a user can mend. The message is one line: the file, key or value, and the rule."""

    def __str__(self) -> str:
        return one_line(super().__str__())


class StateError(UserError):
    """A run folder that cannot be used: locked, damaged, or of another recipe."""


def one_line(message: str) -> str:
    """A message as a terminal may print it: what strangers' text would do to it is escaped, a long one is cut."""
    text = message if len(message) <= LONGEST else f"{message[: LONGEST - TAIL]} ... {message[-TAIL:]}"
    text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - TAIL - 5]} ... {text[-TAIL:]}"
