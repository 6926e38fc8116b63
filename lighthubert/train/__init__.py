"""The training loop that every job shares: distributed, precision, schedules, checkpoints, logs."""

from lighthubert.train import distributed
from lighthubert.train.command import USER_ERRORS, run_job, train_recipe
from lighthubert.train.config import TrainConfig
from lighthubert.train.job import TrainingError
from lighthubert.train.loop import Objective, Result, run
from lighthubert.train.state import StateError, locked

__all__ = [
    "USER_ERRORS",
    "Objective",
    "Result",
    "StateError",
    "TrainConfig",
    "TrainingError",
    "distributed",
    "locked",
    "run",
    "run_job",
    "train_recipe",
]
