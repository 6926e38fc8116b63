"""Fine-tuning: transcripts by CTC and classes of clips, from any Hubert."""

from pathlib import Path

from lighthubert.checkpoint import read
from lighthubert.tasks.model import TaskModel


def load(path: str | Path) -> TaskModel:
    """The net of a fine-tuned file with its head, for evaluation. Raises CheckpointError for any other file."""
    return TaskModel.load(read(path))
