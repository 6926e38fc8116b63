"""The training loop that every job shares: precision, schedules, checkpoints, logs."""

from lighthubert.train.config import TrainConfig, TrainRecipe
from lighthubert.train.job import TrainingError
from lighthubert.train.loop import Result, run_training
from lighthubert.train.objective import Objective
from lighthubert.train.recipe import about_training, train_recipe
