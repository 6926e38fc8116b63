"""python -m lighthubert.finetune RECIPE.yaml [key=value ...], or transcribe, or evaluate"""

from __future__ import annotations

import itertools
import logging
import sys
from pathlib import Path
from typing import Any

import torch

from lighthubert.checkpoint import digest
from lighthubert.config import make_recipe
from lighthubert.data import Manifest
from lighthubert.finetune.apply import COMMANDS, apply, table
from lighthubert.finetune.init import build_model
from lighthubert.finetune.objective import Supervised
from lighthubert.finetune.recipe import Finetune
from lighthubert.models import num_frames
from lighthubert.objectives import Labels, TaskModel, labelled
from lighthubert.train import distributed, run_job, train_recipe

logger = logging.getLogger("lighthubert")

ABOUT = """\
Fine-tune a net on labelled clips: transcripts by CTC, or classes of clips. Then use it:
  python -m lighthubert.finetune recipes/mini/finetune_ctc.yaml train_manifest=DIR/train.tsv valid_manifest=DIR/dev.tsv
  python -m lighthubert.finetune transcribe runs/mini/finetune_ctc/model.safetensors a.wav b.flac
  python -m lighthubert.finetune evaluate runs/mini/finetune_ctc/model.safetensors DIR/test.tsv [--lm LM.arpa]

What a recipe may say stands in lighthubert/finetune/recipe.py; any key can be given behind it.
The same command on the same run_dir resumes, or says that the run is done. Ctrl-C saves and stops."""


def main(argv: list[str] | None = None) -> int:
    argv = sys.argv[1:] if argv is None else argv
    if argv and argv[0] in COMMANDS:
        return apply(argv)
    return run_job("finetune", ABOUT, read, finetune, argv)


def read(path: str, values: dict[str, Any]) -> Finetune:
    return make_recipe(path, values, Finetune)


def finetune(recipe: Finetune, device: torch.device) -> None:
    """Train, then write model.safetensors and say how well it does on the held-out clips."""
    longest = recipe.data.max_clip_samples
    train = labelled(Manifest.read(recipe.train_manifest), recipe.task, longest)
    valid = labelled(Manifest.read(recipe.valid_manifest), recipe.task)
    model = build_model(recipe, train)
    say_unlearnable(model, train)
    # Files may change under their names: the run is of these weights and labels.
    content = {"init_weights": digest(model)}
    content |= {f"{name}_labels": Labels(m, recipe.task, model.vocabulary).digest for name, m in
                (("train", train), ("valid", valid))}  # fmt: skip
    objective = Supervised(model.to(device), recipe, train, valid)
    if train_recipe(objective, recipe, train, content):
        path = Path(recipe.run_dir) / "model.safetensors"
        model.cpu().eval().save(path)
        print(f"{path}: the fine-tuned net with its head")
        print(table(model, valid, recipe.data))


def say_unlearnable(model: TaskModel, train: Manifest) -> None:
    """Clips whose text is longer than their frames allow give CTC no loss: say how many."""
    ids = Labels(train, model.task, model.vocabulary).ids
    frames = num_frames(train.samples, model.hubert.config).tolist()
    needed = [len(row) + sum(a == b for a, b in itertools.pairwise(row)) for row in ids]
    lost = sum(n > f for n, f in zip(needed, frames, strict=True))
    if model.task.kind == "ctc" and lost and distributed.rank() == 0:
        logger.info("%s: %d of %d clips have more text than frames and give no loss", train.path, lost, len(train))


if __name__ == "__main__":
    sys.exit(main())
