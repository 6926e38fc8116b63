"""kill -9 of the real job: a run that was killed ends with the files of one that was not, bit for bit."""

import shutil
from pathlib import Path
from typing import Any

import harness
import numpy as np
import pytest
import torch
from filelock import FileLock
from tiny import HUBERT, PARENT, SPACE, TEACHER, random_hubert, recipe_values, unit_values, write_yaml

from lighthubert import HubertConfig, save
from lighthubert.checkpoint import read
from lighthubert.data import Manifest
from lighthubert.objectives import UnitLabels
from lighthubert.pretrain.__main__ import main
from lighthubert.pretrain.recipe import UnitConfig
from lighthubert.pretrain.units import make_units
from lighthubert.runtime import files


def command(world: Path, folder: Path, **train: Any) -> list[str]:
    """A second or two of stage 2 with dropout. FFN units that no subnet takes make checkpoints of 16 MB, to be hit."""
    parent = {**PARENT, "ffn_dim": [12000] * 4, "dropout": 0.1, "attention_dropout": 0.1}
    values = recipe_values(world, space=str(write_yaml(folder / "fat.yaml", {**SPACE, "parent": parent})),
                           init="random", subnets=["largest", "smallest", "random"], share="clips", eval_archs=0,
                           train={"steps": 16, "save_every": 3, "eval_every": 8, "log_every": 5, **train})  # fmt: skip
    return ["-m", "lighthubert.pretrain", str(write_yaml(folder / "recipe.yaml", values))]


def assert_same_files(folder: Path) -> None:
    whole, killed = folder / "whole", folder / "killed"
    for name in ("supernet.safetensors", "subnets/smallest.safetensors", "evals.jsonl"):
        if name == "evals.jsonl":  # wall time differs
            assert [e["values"] for e in harness.evals(whole)] == [e["values"] for e in harness.evals(killed)]
        else:
            assert (whole / name).read_bytes() == (killed / name).read_bytes(), name
    assert (killed / "report.png").stat().st_size > 10_000


@pytest.mark.parametrize("ranks", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_two_kills(tmp_path: Path, world: Path, ranks: int) -> None:
    harness.Series(command(world, tmp_path), str(tmp_path), kills=2, ranks=ranks).prove()
    assert_same_files(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("ranks", [1, 2])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_ten_kills(tmp_path: Path, world: Path, ranks: int, precision: str) -> None:
    """Every run a new Python, with the default reader."""
    words = [*command(world, tmp_path, steps=96, precision=precision), "data.reader=auto", "data.threads=2"]
    harness.Series(words, str(tmp_path), kills=10, ranks=ranks, fork=False).prove()
    assert_same_files(tmp_path)


@pytest.mark.slow
def test_ten_kills_of_units(tmp_path: Path, world: Path) -> None:
    values = unit_values(world, train={"steps": 96, "save_every": 3, "eval_every": 8})
    values["model"] = {**PARENT, "ffn_dim": [12000] * 4, "dropout": 0.1}
    words = ["-m", "lighthubert.pretrain", str(write_yaml(tmp_path / "units.yaml", values))]
    harness.Series(words, str(tmp_path), kills=10, fork=False).prove()
    names = ("hubert.safetensors", "units/train.npz", "units/valid.npz", "units/centres.npz")
    for name in names:
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "killed" / name).read_bytes(), name


@pytest.fixture(scope="module")
def unit_run(tmp_path_factory: pytest.TempPathFactory, world: Path) -> Path:
    """A finished run from nothing, with all its checkpoints."""
    folder = tmp_path_factory.mktemp("units")
    values = unit_values(world, run_dir=str(folder / "run"), train={"keep_last": 9}, model={"dropout": 0.1})
    assert main([str(write_yaml(folder / "units.yaml", values))]) == 0
    return folder / "run"


def test_units_go_on_in_the_middle(tmp_path: Path, unit_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As a kill would have left it after step 3."""
    run = Path(shutil.copytree(unit_run, tmp_path / "run"))
    (run / "hubert.safetensors").unlink()
    for path in (run / "checkpoints").glob("step_*"):
        if "00000003" not in path.name:
            path.unlink()
    labels = {path: path.stat().st_mtime_ns for path in (run / "units").iterdir()}
    assert main([str(unit_run.parent / "units.yaml"), f"run_dir={run}"]) == 0
    assert f"{run}: goes on after step 3 of 8" in capsys.readouterr().out
    assert (run / "hubert.safetensors").read_bytes() == (unit_run / "hubert.safetensors").read_bytes()
    assert [e["values"] for e in harness.evals(run)] == [e["values"] for e in harness.evals(unit_run)]
    assert {path: path.stat().st_mtime_ns for path in (run / "units").iterdir()} == labels


def test_killed_while_labels_are_made(tmp_path: Path, world: Path, unit_run: Path) -> None:
    """After the centres, and after half of the labels: what is there stays, what is not comes out the same."""
    killed = tmp_path / "killed"
    words = ["-m", "lighthubert.pretrain", str(unit_run.parent / "units.yaml"), f"run_dir={killed}"]
    with harness.job(words, tmp_path / "text", fork=True) as job:
        job.wait_until((killed / "units" / "centres.npz").exists, "the centres are there")
        job.kill()
    assert not (killed / "hubert.safetensors").exists()
    (killed / "units" / ".train.npz.77.part").write_bytes(b"half")  # what a kill in writing leaves
    for name in ("train.npz", "valid.npz"):
        (killed / "units" / name).unlink(missing_ok=True)
    centres = (killed / "units" / "centres.npz").stat().st_mtime_ns
    assert main(words[2:]) == 0
    assert (killed / "units" / "centres.npz").stat().st_mtime_ns == centres
    for name in ("train", "valid", "centres"):
        with np.load(unit_run / "units" / f"{name}.npz") as a, np.load(killed / "units" / f"{name}.npz") as b:
            for key in a.files:
                assert np.array_equal(a[key], b[key]), (name, key)
    assert not [path.name for path in (killed / "units").glob(".*")]
    assert (killed / "hubert.safetensors").read_bytes() == (unit_run / "hubert.safetensors").read_bytes()


def start(recipe: Path, *overrides: str) -> None:
    """A run that ends before its first checkpoint: the held-out clips are not there."""
    assert main([str(recipe), *overrides, f"valid_manifest={recipe.parent / 'gone.tsv'}"]) == 2


@pytest.fixture
def gone(tmp_path: Path) -> None:
    (tmp_path / "gone.tsv").write_text("path\tsamples\nx.wav\t16000\n")


@pytest.mark.usefixtures("gone")
def test_the_kept_recipe_is_the_one_that_trained(tmp_path: Path, world: Path) -> None:
    """Nothing was trained by the first call, so the second may be another one; config.yaml then has to say so."""
    values = recipe_values(world, run_dir=str(tmp_path / "run"), eval_archs=0, train={"steps": 1, "warmup_steps": 0})
    recipe = write_yaml(tmp_path / "r.yaml", values)
    start(recipe, "seed=5")
    assert main([str(recipe), "seed=6"]) == 0
    assert "seed: 6" in (tmp_path / "run" / "config.yaml").read_text()


@pytest.mark.usefixtures("gone")
@pytest.mark.parametrize("change", ["units.num_units=6", "seed=2", "train_manifest={}/few.tsv"])
def test_labels_of_another_recipe_are_not_taken(tmp_path: Path, world: Path, change: str) -> None:
    """As a run that was killed before its first checkpoint, and then begun with other units or other clips."""
    values = unit_values(world, run_dir=str(tmp_path / "run"), train={"steps": 1, "warmup_steps": 0})
    recipe, change = write_yaml(tmp_path / "r.yaml", values), change.format(world)
    start(recipe)
    (tmp_path / "run" / "units" / "valid.npz").unlink(missing_ok=True)
    code = main([str(recipe), change])
    if code == 0:  # or it may refuse
        assert main([str(recipe), change, f"run_dir={tmp_path / 'fresh'}"]) == 0
        with np.load(tmp_path / "run/units/train.npz") as a, np.load(tmp_path / "fresh/units/train.npz") as b:
            assert np.array_equal(a["units"], b["units"])
    assert code in (0, 2)


def test_labels_of_other_weights_are_not_taken(tmp_path: Path, world: Path) -> None:
    """The source is another net under the same name."""
    config = UnitConfig(source=str(tmp_path / "source.safetensors"), layer=2, num_units=4, fit_clips=3)
    few = Manifest.read(world / "few.tsv")

    def label(name: str, seed: int) -> np.ndarray:
        save(random_hubert(HubertConfig.from_dict(TEACHER), seed), config.source)
        clips, device = {"train": few, "valid": few}, torch.device("cpu")
        make_units(config, read(config.source), HUBERT, clips, tmp_path / name, 1, device)
        return UnitLabels(tmp_path / name / "train.npz", HUBERT).units

    before = label("units", 0)
    assert not np.array_equal(label("units", 5), before)
    assert np.array_equal(label("units", 5), label("fresh", 5))


def test_other_weights_of_the_units_are_refused(
    tmp_path: Path, world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where training has begun with those of the first net."""
    source = tmp_path / "source.safetensors"
    save(random_hubert(HubertConfig.from_dict(TEACHER)), source)
    values = unit_values(world, run_dir=str(tmp_path / "run"), units={"source": str(source), "layer": 2},
                         train={"steps": 1, "warmup_steps": 0})  # fmt: skip
    recipe = write_yaml(tmp_path / "r.yaml", values)
    assert main([str(recipe)]) == 0
    save(random_hubert(HubertConfig.from_dict(TEACHER), seed=5), source)
    assert main([str(recipe)]) == 2
    assert "started with another recipe: source_weights was " in capsys.readouterr().err


@pytest.mark.parametrize("objective", ["units", "distill"])
def test_nothing_is_written_into_a_folder_in_use(
    tmp_path: Path, world: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, objective: str
) -> None:
    """Neither labels nor a recipe: the process that holds it may be making them."""
    monkeypatch.setattr(files, "LOCK_SECONDS", 0.1)
    values = (unit_values if objective == "units" else recipe_values)(world, run_dir=str(tmp_path / "run"))
    recipe = write_yaml(tmp_path / "r.yaml", values)
    (tmp_path / "run").mkdir()
    with FileLock(tmp_path / "run" / ".lock"):
        assert main([str(recipe)]) == 2
    assert "another process trains in this folder" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "run").iterdir()] == [".lock"]


def interrupted(folder: Path, world: Path, **values: Any) -> Path:
    """The recipe of a run that has two of four steps."""
    values = recipe_values(world, run_dir=str(folder / "run"), eval_archs=0, **values,
                           train={"steps": 4, "warmup_steps": 0, "save_every": 1, "keep_last": 9})  # fmt: skip
    recipe = write_yaml(folder / "r.yaml", values)
    assert main([str(recipe)]) == 0
    for path in [p for n in (3, 4) for p in (folder / "run" / "checkpoints").glob(f"step_0000000{n}*")]:
        path.unlink()
    return recipe


def test_another_space_under_the_same_name_is_refused(tmp_path: Path, world: Path) -> None:
    space = write_yaml(tmp_path / "space.yaml", SPACE)
    recipe = interrupted(tmp_path, world, space=str(space), subnets=["random"])
    write_yaml(space, {**SPACE, "embed_dim": [16], "num_layers": [2]})
    assert main([str(recipe)]) == 2


def test_another_teacher_under_the_same_name_is_refused(tmp_path: Path, world: Path) -> None:
    teacher = tmp_path / "teacher.safetensors"
    save(random_hubert(HubertConfig.from_dict(TEACHER)), teacher)
    recipe = interrupted(tmp_path, world, teacher=str(teacher))
    save(random_hubert(HubertConfig.from_dict(TEACHER), seed=5), teacher)
    assert main([str(recipe)]) == 2
