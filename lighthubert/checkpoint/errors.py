"""The one error of this room."""

from __future__ import annotations


class CheckpointError(ValueError):
    """A file that cannot be loaded; the message names the file, the keys and the rule."""
