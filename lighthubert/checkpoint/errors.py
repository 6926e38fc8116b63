"""The one error of this room."""

from __future__ import annotations

from lighthubert.runtime.errors import UserError


class CheckpointError(UserError):
    """A file that cannot be loaded; the message names the file, the keys and the rule."""
