"""Every shipped recipe of fine-tuning: it fits its net, and takes a real step (big ones at small widths)."""

from pathlib import Path

import pytest
import torch
from harness import evals
from tiny import random_hubert

import lighthubert as lh
from lighthubert.config import Recipes, read_yaml
from lighthubert.data import MINI, Manifest, write_manifest
from lighthubert.finetune.__main__ import main
from lighthubert.finetune.recipe import Finetune
from lighthubert.tasks.model import TaskModel
from lighthubert.tasks.vocabulary import Vocabulary

RECIPES = Path(__file__).resolve().parents[2] / "recipes"
NAMES = sorted(path.relative_to(RECIPES).with_suffix("").as_posix() for path in RECIPES.rglob("finetune_*.yaml"))
COLUMNS = ("path", "samples", "transcript", "language", "source", "intent")


def load(name: str) -> Finetune:
    return Recipes(Finetune).read(RECIPES / f"{name}.yaml", [])


def config_of(recipe: Finetune) -> lh.HubertConfig:
    """The mini teacher's, or HuBERT Base as published."""
    if recipe.init == "HUBERT_BASE":
        return lh.HubertConfig.base()
    net = lh.load(RECIPES.parent / recipe.init)
    return net.config


def test_there_are_recipes_of_both_tasks_and_sizes() -> None:
    assert set(NAMES) >= {"base/finetune_librispeech100", "base/finetune_slurp", "mini/finetune_ctc",
                          "mini/finetune_intent"}  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_fits_its_net(name: str) -> None:
    """Full size, without storage; a head of thirty outputs."""
    recipe = load(name)
    assert recipe.run_dir == f"runs/{name}"
    assert recipe.freeze_steps < recipe.train.steps
    with torch.device("meta"):
        model = TaskModel(lh.Hubert(config_of(recipe)), recipe.task, Vocabulary(tuple(map(str, range(30)))))
        logits, _ = model(torch.randn(2, 16000), torch.tensor([16000, 9000], device="meta"))
    assert logits.shape == ((2, 49, 30) if recipe.task.kind == "ctc" else (2, 30))


def write_clips(folder: Path) -> Path:
    """A manifest with what all recipes ask for."""
    clips = Manifest.read(MINI / "train.tsv")
    chosen = [row for row in range(len(clips)) if clips.columns["language"][row] == "en"][:4]
    rows = [{"path": clips.file_path(row), "samples": clips.samples[row], "source": "asterisk", "language": "en",
             "transcript": clips.columns["transcript"][row], "intent": "ab"[i % 2]}
            for i, row in enumerate(chosen)]  # fmt: skip
    write_manifest(folder / "clips.tsv", COLUMNS, rows)
    return folder / "clips.tsv"


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_runs_at_small_widths(tmp_path: Path, name: str) -> None:
    """With everything that it says but paths, widths and length."""
    whole, clips = config_of(load(name)).to_dict(), write_clips(tmp_path)
    narrow = {"conv_channels": [8] * 7, "embed_dim": 48, "head_dim": 4, "pos_conv_kernel": 8, "pos_conv_groups": 1,
              "ffn_dim": [96] * len(whole["ffn_dim"]), "num_heads": [2] * len(whole["ffn_dim"])}  # fmt: skip
    lh.save(random_hubert(lh.HubertConfig.from_dict({**whole, **narrow})), tmp_path / "net.safetensors")
    words = [f"{key}={clips}" for key in ("train_manifest", "valid_manifest")]
    words += [f"run_dir={tmp_path / 'run'}", f"init={tmp_path / 'net.safetensors'}", "train.steps=1", "freeze_steps=0"]
    assert main([str(RECIPES / f"{name}.yaml"), *words, "data.reader=torch", "data.threads=0"]) == 0
    measured = evals(tmp_path / "run")
    assert [entry["step"] for entry in measured] == [0, 1]
    assert all(value is not None for entry in measured for value in entry["values"].values())
    kept, given = read_yaml(tmp_path / "run" / "config.yaml"), read_yaml(RECIPES / f"{name}.yaml")
    for section in ("task", "masks", "dropouts"):
        assert {key: kept[section][key] for key in given.get(section, {})} == given.get(section, {})
    assert Recipes(Finetune).read(tmp_path / "run" / "config.yaml", []).task == load(name).task
