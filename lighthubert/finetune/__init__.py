"""Fine-tuning: transcripts by CTC and classes of clips, from any Hubert."""

from lighthubert.objectives import TaskModel

load = TaskModel.load

__all__ = ["TaskModel", "load"]
