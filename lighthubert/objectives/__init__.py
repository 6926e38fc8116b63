"""What a net learns: losses, targets, masked units, supervised tasks."""

from lighthubert.objectives.decoding import Decode, greedy
from lighthubert.objectives.frames import FrameConfig, MaskConfig, draw_mask, draw_masks, frame_weights
from lighthubert.objectives.held_out import evaluate_task
from lighthubert.objectives.losses import DistanceConfig, distance
from lighthubert.objectives.targets import TargetConfig, predictions, targets
from lighthubert.objectives.tasks import TaskHead, TaskModel, learnable, task_loss
from lighthubert.objectives.units import UnitHead, UnitLabels
from lighthubert.objectives.vocabulary import Labels, TaskConfig, Vocabulary, build_vocabulary, labelled

__all__ = [
    "Decode",
    "DistanceConfig",
    "FrameConfig",
    "Labels",
    "MaskConfig",
    "TargetConfig",
    "TaskConfig",
    "TaskHead",
    "TaskModel",
    "UnitHead",
    "UnitLabels",
    "Vocabulary",
    "build_vocabulary",
    "distance",
    "draw_mask",
    "draw_masks",
    "evaluate_task",
    "frame_weights",
    "greedy",
    "labelled",
    "learnable",
    "predictions",
    "targets",
    "task_loss",
]
