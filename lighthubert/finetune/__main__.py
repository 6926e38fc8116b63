"""lighthubert finetune RECIPE.yaml [key=value ...], or transcribe, or evaluate"""

from __future__ import annotations

import json
import logging
import sys
from dataclasses import asdict, replace
from pathlib import Path

import torch

from lighthubert.checkpoint import read
from lighthubert.config import Recipes
from lighthubert.data import Manifest
from lighthubert.finetune.apply import COMMANDS, apply, describe_rates
from lighthubert.finetune.objective import Finetuning
from lighthubert.finetune.recipe import Finetune
from lighthubert.models import Hubert
from lighthubert.runtime import ranks
from lighthubert.runtime.command import Work, run_job
from lighthubert.runtime.files import write_text
from lighthubert.tasks.labelled import LabelledTask
from lighthubert.train import about_training, train_recipe

logger = logging.getLogger("lighthubert")

ABOUT = """\
Fine-tune a net on labelled clips: transcripts by CTC, or classes of clips. Then use it:
  lighthubert finetune recipes/mini/finetune_ctc.yaml train_manifest=DIR/train.tsv valid_manifest=DIR/dev.tsv
  lighthubert finetune transcribe runs/mini/finetune_ctc/model.safetensors a.wav b.flac
  lighthubert finetune evaluate runs/mini/finetune_ctc/model.safetensors DIR/test.tsv [--lm LM.arpa]

Any key of the recipe can be given behind it.
The same command on the same run_dir resumes, or says that the run is done. Ctrl-C saves and stops."""


def main(argv: list[str] | None = None) -> int:
    argv = sys.argv[1:] if argv is None else argv
    if argv and argv[0] in COMMANDS:
        return apply(argv)
    return run_job("finetune", ABOUT, Recipes(Finetune), prepare, argv)


def prepare(recipe: Finetune, device: torch.device) -> Work:
    init = read(recipe.init)
    dropouts = {key: value for key, value in vars(recipe.dropouts).items() if value is not None}
    hubert = Hubert(replace(init.hubert.config, **dropouts))
    hubert.load_state_dict(init.hubert.state_dict())
    manifests = Manifest.read(recipe.train_manifest), Manifest.read(recipe.valid_manifest)
    task = LabelledTask(recipe.task, recipe.masks, hubert, init, *manifests, recipe.data, recipe.seed)
    content, train, valid = task.content, task.train.clips, task.valid.clips
    lost = task.train.too_long(hubert.config)
    if lost and ranks.rank() == 0:
        logger.info("%s: %d of %d clips have more text than frames and give no loss", train.path, lost, len(train))
    objective = Finetuning(task, recipe.freeze_steps)
    model = objective.model.to(device)

    def run() -> None:
        result = train_recipe(objective, recipe, train, hubert.config, content)
        if result.finished and ranks.rank() == 0:
            path = Path(recipe.run_dir) / "model.safetensors"
            names = json.dumps(asdict(model.vocabulary), ensure_ascii=False, indent=1)
            write_text(path.with_name("vocabulary.json"), names)
            model.cpu().eval().save(path)
            print(f"{path}: the fine-tuned net with its head")
            print(describe_rates(task.valid, result.evals[-1]["values"]))

    about = [f"{key}: {text}" for key, text in objective.describe().items()]
    return Work([*about, *about_training(recipe, train, valid, hubert.config)], run)


if __name__ == "__main__":
    sys.exit(main())
