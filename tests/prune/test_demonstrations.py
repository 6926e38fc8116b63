"""The shipped demonstrations, as they are: from the mini teacher on the embedded corpus."""

from __future__ import annotations

import random
from pathlib import Path

import harness
import pytest
import torch

import lighthubert as lh
from lighthubert import cost
from lighthubert.config import read_values
from lighthubert.data import MINI, DataConfig, Manifest, eval_batches
from lighthubert.elastic import Subnet, axis_sizes, extract
from lighthubert.finetune import load
from lighthubert.models import Hubert, valid_mask
from lighthubert.objectives import DistanceConfig, distance
from lighthubert.prune.__main__ import main
from lighthubert.tasks.labelled import evaluate_task
from lighthubert.tasks.labels import Labels

pytestmark = pytest.mark.slow


def demonstrate(name: str, repo_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Hubert]:
    """The folder of the recipe's run, and the net that it pruned; all its targets are met to 1 %."""
    monkeypatch.chdir(repo_root)
    recipe = read_values(f"recipes/mini/prune_{name}.yaml", [])
    assert main([f"recipes/mini/prune_{name}.yaml", f"run_dir={tmp_path}"]) == 0
    whole, net = lh.load(recipe["init"]), lh.load(tmp_path / "pruned.safetensors")
    assert isinstance(whole, Hubert)
    for key, asked in recipe["sparsity"].items():
        if key != "warmup_steps" and asked is not None:
            part, _, kind = key.rpartition("_")
            count = {"params": cost.num_params, "macs": cost.macs}[kind]
            kept = count(net.config, part=part or "all") / count(whole.config, part=part or "all")
            assert 0.99 * (1 - asked) <= kept <= 1 - asked
    return tmp_path, whole


@pytest.mark.parametrize("name", ["size", "sepsize", "macs"])
def test_the_task_is_learnt(name: str, repo_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 38 held-out clips at least two thirds are right; the most frequent language for all is 8, 21 %."""
    run_dir, _ = demonstrate(name, repo_root, tmp_path, monkeypatch)
    model, clips = load(run_dir / "pruned.safetensors"), Manifest.read(MINI / "valid.tsv")
    labels = Labels(clips, model.task, model.vocabulary)
    right, count = evaluate_task(model, labels, DataConfig())["accuracy"]
    assert count == 38
    assert right >= 26
    assert harness.evals(run_dir)[0]["values"]["accuracy"] < 0.4  # before training


def test_the_teacher_is_kept(repo_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the maps that training has, the hidden states are much nearer to the teacher's than those of random units
    of the very same widths."""
    run_dir, teacher = demonstrate("dphubert", repo_root, tmp_path, monkeypatch)
    net = lh.load(run_dir / "pruned.safetensors")
    assert isinstance(net, Hubert)
    rng, sizes = random.Random(1), axis_sizes(teacher.config)
    kept = {a: n for a, n in axis_sizes(net.config).items() if n < sizes[a]}
    units = {axis: tuple(sorted(rng.sample(range(sizes[axis]), n))) for axis, n in kept.items()}
    chance = extract(teacher, Subnet(tuple(range(teacher.config.num_layers)), units))
    assert cost.num_params(chance.config) == cost.num_params(net.config)
    assert distance_from(teacher, net) < 0.6 * distance_from(teacher, chance)


@torch.no_grad()
def distance_from(teacher: Hubert, net: Hubert) -> float:
    """Mean absolute difference of hidden states 2, 4 and 6 over the valid frames of the held-out clips."""
    total, frames = 0.0, 0.0
    for batch in eval_batches(Manifest.read(MINI / "valid.tsv"), DataConfig(), teacher.config):
        theirs, ours = (n.eval()(batch.waveform, batch.lengths) for n in (teacher, net))
        valid = valid_mask(ours.lengths, ours.last_hidden_state.shape[1])
        for i in (2, 4, 6):
            total += float((distance(ours.hidden_states[i], theirs.hidden_states[i], DistanceConfig()) * valid).sum())
            frames += float(valid.sum())
    return total / frames
