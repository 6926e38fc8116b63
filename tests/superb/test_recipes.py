"""Every shipped recipe of a sweep: loads, fits its space, and says what the authors have published."""

from pathlib import Path
from typing import Any

import pytest

import lighthubert as lh
from lighthubert.config import Recipes
from lighthubert.superb.benchmark import BENCHMARK
from lighthubert.superb.plan import _settings
from lighthubert.superb.recipe import Sweep

RECIPES = sorted((Path(__file__).resolve().parents[2] / "recipes/superb").glob("*.yaml"))
# Batch size and learning rate, as the authors of LightHuBERT gave them in issue 2 of their repository (Small's SID).
PUBLISHED = {"ASR": (32, 1e-4), "ASV": (50, 5e-5), "ER": (32, 1e-4), "IC": (32, 1e-4), "KS": (32, 1e-4),
             "PR": (32, 5e-4), "SD": (32, 5e-4), "SF": (32, 1e-4), "SID": (32, 5e-3)}  # fmt: skip


def load(path: Path, *overrides: str) -> Sweep:
    return Recipes(Sweep).read(path, list(overrides))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_names_every_task(path: Path) -> None:
    recipe = load(path, "corpora=/data")
    assert recipe.run_dir == f"runs/superb/{path.stem}"
    assert set(recipe.tasks) == set(BENCHMARK)
    assert recipe.tasks["IC"].set["downstream_expert"]["datarc"]["file_path"] == "/data/fluent_speech_commands_dataset"


def test_the_authors_subnets() -> None:
    """Of Small, and of Base as the recipe's head says: their published numbers of parameters."""
    small, base = lh.SearchSpace.load("small"), lh.SearchSpace.load("base")
    path = next(path for path in RECIPES if path.stem == "lighthubert_small")
    arch: Any = load(path).nets["small"].arch
    # They count all 768 numbers of the mask embedding.
    assert lh.cost.num_params(small.config(small.arch(arch))) == 26_873_600 - (768 - 384)
    arch = load(path, "nets.small.arch.embed_dim=640", "nets.small.arch.num_heads=10").nets["small"].arch
    assert lh.cost.num_params(base.config(base.arch(arch))) == 66_891_520 - (768 - 640)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_the_published_settings(path: Path, package: Path) -> None:
    """On top of the checkout's own settings: the batch is that of a step, accumulated."""
    if not (package / "downstream/ctc/snips.yaml").is_file():
        pytest.skip("needs a git checkout of s3prl (S3PRL_ROOT)")
    problems: list[str] = []
    found = {name: _settings(name, task, package, problems) for name, task in load(path).tasks.items()}
    assert problems
    assert all("no such file or folder" in problem for problem in problems)  # no key that the settings lack
    for name, (batch, rate) in PUBLISHED.items():
        runner, expert = found[name]["runner"], found[name]["downstream_expert"]
        section: dict[str, Any] = expert.get("datarc", {}) | expert.get("loaderrc", {}) | expert.get("corpus", {})
        sizes = {section[key] for key in ("train_batch_size", "train_batchsize", "batch_size") if key in section}
        assert len(sizes) == 1, name
        assert (sizes.pop() * runner["gradient_accumulate_steps"], found[name]["optimizer"]["lr"]) == (batch, rate)
