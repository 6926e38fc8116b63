"""The error of everything that a user can mend."""

from __future__ import annotations


class UserError(ValueError):
    """Something that a user can mend. The message is one line: the file, key or value, and the rule."""


class StateError(UserError):
    """A run folder that cannot be used: locked, damaged, or of another recipe."""
