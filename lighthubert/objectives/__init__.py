"""What a net learns: losses, targets, masked units, supervised tasks."""

from lighthubert.objectives.frames import FrameConfig, draw_mask, frame_weights
from lighthubert.objectives.losses import DistanceConfig, distance
from lighthubert.objectives.targets import TargetConfig, predictions, targets
from lighthubert.objectives.tasks import TaskHead, learnable, task_loss
from lighthubert.objectives.units import UnitHead, UnitLabels
from lighthubert.objectives.vocabulary import Labels, TaskConfig, Vocabulary, build_vocabulary, labelled

__all__ = [
    "DistanceConfig",
    "FrameConfig",
    "Labels",
    "TargetConfig",
    "TaskConfig",
    "TaskHead",
    "UnitHead",
    "UnitLabels",
    "Vocabulary",
    "build_vocabulary",
    "distance",
    "draw_mask",
    "frame_weights",
    "labelled",
    "learnable",
    "predictions",
    "targets",
    "task_loss",
]
