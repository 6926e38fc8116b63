"""The model that a run starts from: a net's weights, a vocabulary of the training labels, and a head."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path

import torch

from lighthubert.checkpoint import Loaded, read
from lighthubert.data import Manifest
from lighthubert.finetune.recipe import Finetune
from lighthubert.models import Hubert
from lighthubert.objectives import TaskModel, Vocabulary, build_vocabulary
from lighthubert.train import distributed

logger = logging.getLogger("lighthubert")


def build_model(recipe: Finetune, train: Manifest) -> TaskModel:
    """Net of `init`, vocabulary of the training labels, and a head: the file's own if it fits, else a new one."""
    vocabulary = distributed.on_first(lambda: run_vocabulary(recipe, train))
    init = read(recipe.init)
    said = {key: value for key, value in vars(recipe.dropouts).items() if value is not None}
    hubert = Hubert(replace(init.hubert.config, **said))
    hubert.load_state_dict(init.hubert.state_dict())
    torch.manual_seed(recipe.seed)
    model = TaskModel(hubert, recipe.task, vocabulary)
    if init.task is not None:
        take_head(model, init)
    return model


def run_vocabulary(recipe: Finetune, train: Manifest) -> Vocabulary:
    """The vocabulary of the training labels, also left in the run's folder as JSON."""
    vocabulary = build_vocabulary(train.columns[recipe.task.column], recipe.task)
    folder = Path(recipe.run_dir)
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(vocabulary.to_dict(), ensure_ascii=False, indent=1)
    (folder / "vocabulary.json").write_text(text, encoding="utf-8")
    return vocabulary


def take_head(model: TaskModel, init: Loaded) -> None:
    """Go on with a fine-tuned file's head; a warning says why it starts anew."""
    if (differing := model.take_head(init)) and distributed.rank() == 0:
        logger.warning("init %r: its head starts anew, for it has another %s", init.path, ", ".join(differing))
