"""Further distillation of one net alone: an extracted subnet with the supernet's head, and a pruned net."""

import random
from pathlib import Path
from typing import Any

import harness
import pytest
import torch
from tiny import DATA, SPACE, distillation, recipe_values, write_yaml

import lighthubert as lh
from lighthubert.data import DataConfig, Manifest
from lighthubert.elastic import Axis, conv, extract, ffn, heads
from lighthubert.pretrain.__main__ import main
from lighthubert.search.score import HeldOutLoss

ARCH = {"embed_dim": 24, "num_heads": [3, 2, 4], "ffn_dim": [48, 24, 36], "conv_channels": [4] * 7, "layers": [0, 2, 3]}


@pytest.fixture(scope="module")
def supernet(world: Path) -> lh.Supernet:
    """A supernet with a head, in a file beside a subnet whose layers all differ."""
    objective = distillation(world)
    net = objective.model
    net.predicts = {"teacher": str(world / "teacher.safetensors"), **objective.recipe.target.describe()}
    lh.save(net, world / "supernet.safetensors")
    lh.save(net.sample(ARCH), world / "subnet.safetensors")
    return net


def run(world: Path, folder: Path, **changes: Any) -> int:
    values = recipe_values(world, run_dir=str(folder / "run"), space="init", **changes)
    return main([str(write_yaml(folder / "r.yaml", values))])


def test_a_subnet_goes_on_from_its_loss_in_the_supernet(world: Path, supernet: lh.Supernet, tmp_path: Path) -> None:
    files = {"init": str(world / "subnet.safetensors"), "head": str(world / "supernet.safetensors")}
    assert run(world, tmp_path, **files, frames={"unmasked_weight": 1.0}) == 0
    teacher = lh.load(world / "teacher.safetensors")
    score = HeldOutLoss(supernet, teacher, Manifest.read(world / "valid.tsv"), DataConfig(**DATA))
    losses = [entry["values"]["clean_loss/alone"] for entry in harness.evals(tmp_path / "run")]
    before, after = lh.load(world / "subnet.safetensors"), lh.load(tmp_path / "run" / "hubert.safetensors")
    assert losses[0] == pytest.approx(score(before), rel=1e-5)
    assert losses[-1] < losses[0]
    assert isinstance(after, lh.Hubert)
    assert after.config == before.config
    assert after.config.arch in supernet.space
    pairs = zip(before.named_parameters(), after.named_parameters(), strict=True)
    assert all(name == other and not torch.equal(a, b) for (name, a), (other, b) in pairs if "mask" not in name)


def test_a_killed_run_ends_with_the_same_net(world: Path, supernet: lh.Supernet, tmp_path: Path) -> None:
    files = {"init": str(world / "subnet.safetensors"), "head": str(world / "supernet.safetensors")}
    for name in ("whole", "stopped"):
        (tmp_path / name).mkdir()
    assert run(world, tmp_path / "whole", **files) == 0
    recipe = write_yaml(
        tmp_path / "r.yaml", recipe_values(world, run_dir=str(tmp_path / "stopped/run"), space="init", **files)
    )
    command = ["-m", "lighthubert.pretrain", str(recipe)]
    with harness.job(command, tmp_path / "killed.txt", fork=True) as job:
        job.kill_when(lambda: any((tmp_path / "stopped/run/checkpoints").glob("step_*.pt")), "a checkpoint is there")
    harness.finish(command, tmp_path / "finished.txt", fork=True)
    files_of = [(tmp_path / name / "run/hubert.safetensors").read_bytes() for name in ("whole", "stopped")]
    assert files_of[0] == files_of[1]


def test_a_pruned_net(world: Path, supernet: lh.Supernet, tmp_path: Path) -> None:
    """Any units of each axis, a layer without heads, another one without FFN; its head starts anew."""
    rng = random.Random(0)
    units: dict[Axis, tuple[int, ...]] = {conv(i): tuple(sorted(rng.sample(range(8), 5))) for i in range(7)}
    units |= {heads(0): (1,), heads(1): (), heads(2): (0, 3), ffn(0): (3, 7, 70), ffn(1): (5,), ffn(2): ()}
    pruned = extract(supernet.hubert, lh.Subnet((0, 1, 2, 3), units))
    lh.save(pruned, tmp_path / "pruned.safetensors")
    assert run(world, tmp_path, init=str(tmp_path / "pruned.safetensors")) == 0
    after = lh.load(tmp_path / "run" / "hubert.safetensors")
    assert after.config == pruned.config
    losses = [entry["values"]["clean_loss/alone"] for entry in harness.evals(tmp_path / "run")]
    assert losses[-1] < losses[0]


def test_a_supernet_s_file_brings_its_space(world: Path, supernet: lh.Supernet, tmp_path: Path) -> None:
    steps = {"steps": 1, "warmup_steps": 0}
    assert run(world, tmp_path, init=str(world / "supernet.safetensors"), train=steps, eval_archs=0) == 0
    after = lh.load(tmp_path / "run" / "supernet.safetensors")
    assert isinstance(after, lh.Supernet)
    assert after.space == lh.SearchSpace.from_dict(SPACE)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"init": "teacher"}, "space: init: needs a file as init, got 'teacher'"),
        ({"init": "x", "head": "x", "space": "mini"}, "head: goes with space: init, got space 'mini'"),
        ({"head": "teacher.safetensors"}, "head 'teacher.safetensors': init 'subnet.safetensors' is not a subnet of"),
        ({"target": {"layers": 2}}, "head 'supernet.safetensors': 'last': layers: 3 instead of 2"),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("supernet")
def test_what_does_not_fit_is_told(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                   capsys: pytest.CaptureFixture[str], changes: dict[str, Any],
                                   message: str) -> None:  # fmt: skip
    monkeypatch.chdir(world)
    values = {"init": "subnet.safetensors", "head": "supernet.safetensors", "space": "init", **changes}
    if changes.get("init") == "teacher":
        del values["head"]
    recipe = write_yaml(tmp_path / "r.yaml", recipe_values(world, run_dir=str(tmp_path / "run"), **values))
    assert main([str(recipe)]) == 2
    assert message in capsys.readouterr().err
