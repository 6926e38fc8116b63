"""Both stages as a user runs them, in processes of their own, on clips of the embedded corpus."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

import harness
import pytest
import torch
from matplotlib.image import imread
from tiny import recipe_values, table_rows, write_yaml

import lighthubert as lh
from lighthubert.config import read_yaml
from lighthubert.pretrain.__main__ import main

ARCHS = ["largest", "random0", "random1", "random2", "smallest"]


@dataclass(frozen=True)
class Stages:
    """Two finished runs and what they printed."""

    folder: Path
    recipes: dict[str, Path]
    printed: dict[str, str]


@pytest.fixture(scope="module")
def stages(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Stages:
    folder = tmp_path_factory.mktemp("stages")
    init = str(folder / "stage1" / "supernet.safetensors")
    values = {
        "stage1": recipe_values(world, run_dir=str(folder / "stage1"), frames={"unmasked_weight": 1.0}),
        "stage2": recipe_values(world, run_dir=str(folder / "stage2"), frames={"unmasked_weight": 1.0}, init=init,
                                subnets=["largest", "smallest", "random"], train={"steps": 10}),
    }  # fmt: skip
    recipes = {name: write_yaml(folder / f"{name}.yaml", value) for name, value in values.items()}
    command = ["-m", "lighthubert.pretrain"]
    printed = {n: harness.finish([*command, str(path)], folder / f"{n}.txt", fork=True) for n, path in recipes.items()}
    return Stages(folder, recipes, printed)


def test_every_file_is_there(stages: Stages) -> None:
    for name in ("stage1", "stage2"):
        folder = stages.folder / name
        assert {path.stem for path in (folder / "subnets").iterdir()} == set(ARCHS)
        assert any((folder / "tensorboard").glob("events*"))
        assert any((folder / "checkpoints").glob("step_*.pt"))
        assert isinstance(lh.load(folder / "supernet.safetensors"), lh.Supernet)
        picture = imread(folder / "report.png")
        assert picture.shape[0] > 300
        assert picture.std() > 0.05
        given, kept = json.loads(stages.recipes[name].read_text()), read_yaml(folder / "config.yaml")
        assert {key: kept[key] for key in given if key not in ("target", "data", "train", "frames")} == {
            key: given[key] for key in given if key not in ("target", "data", "train", "frames")
        }
        assert kept["train"]["steps"] == (10 if name == "stage2" else 8)
        assert f"Picture: {folder / 'report.png'}" in stages.printed[name].replace("\n", " ")


def test_the_table_has_every_row(stages: Stages) -> None:
    """Parameters as counted in the files; the losses at the start, after stage 1 and after stage 2 as measured."""
    evals = {name: [e["values"] for e in harness.evals(stages.folder / name)] for name in ("stage1", "stage2")}
    text = stages.printed["stage2"]
    (heading,) = table_rows(text, "arch")
    assert heading == ["arch", "M parameters", "GMACs / 10 s", "start", "after stage1", "after stage2"]
    for name in ARCHS:
        (row,) = table_rows(text, name)
        net = lh.load(stages.folder / "stage2" / "subnets" / f"{name}.safetensors")
        assert row[1] == f"{sum(p.numel() for p in net.parameters()) / 1e6:.2f}"
        assert row[2] == f"{lh.cost.macs(net.config, 160000) / 1e9:.2f}"
        key = f"clean_loss/{name}"
        moments = [evals["stage1"][0][key], evals["stage1"][-1][key], evals["stage2"][-1][key]]
        assert row[3:] == [f"{value:.3f}" for value in moments]
    (first,) = table_rows(stages.printed["stage1"], "arch")
    assert first[3:] == ["start", "after stage1"]


def test_stage_2_starts_where_stage_1_ended_and_improves_everything(stages: Stages) -> None:
    one, two = (harness.evals(stages.folder / name) for name in ("stage1", "stage2"))
    assert two[0]["values"] == one[-1]["values"]
    assert one[-1]["values"]["masked_loss/largest"] < one[0]["values"]["masked_loss/largest"]
    for name, value in two[0]["values"].items():
        assert two[-1]["values"][name] < value, name


def test_subnets_agree_with_the_supernet_bit_for_bit(stages: Stages) -> None:
    for stage in ("stage1", "stage2"):
        supernet = lh.load(stages.folder / stage / "supernet.safetensors")
        wave = torch.randn(2, 9000, generator=torch.Generator().manual_seed(0))
        for name in ARCHS:
            net = lh.load(stages.folder / stage / "subnets" / f"{name}.safetensors")
            with torch.no_grad():
                alone, shared = net(wave), supernet(wave, None, net.config.arch)
            for a, b in zip(alone.hidden_states, shared.hidden_states, strict=True):
                assert torch.equal(a, b), name
        told = re.findall(r"([\w.]+)\.safetensors: [\d.]+ MB, loaded; largest difference from the supernet: 0\n",
                          stages.printed[stage])  # fmt: skip
        assert sorted(path.rpartition("/")[2] for path in told) == ARCHS


def test_the_supernet_says_what_its_head_predicts(stages: Stages, world: Path) -> None:
    supernet = lh.load(stages.folder / "stage2" / "supernet.safetensors")
    assert supernet.head["last"].weight.shape == (48, 40)
    assert supernet.predicts == {"teacher": str(world / "teacher.safetensors"), "layers": 3, "tap": "ffn",
                                 "normalize": "layer", "pairs": []}  # fmt: skip


def test_the_second_call_says_that_it_is_done(stages: Stages, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is trained or measured anew; files that got lost come back with the same bytes."""
    folder = stages.folder / "stage2"
    kept = [folder / "evals.jsonl", *sorted((folder / "checkpoints").iterdir())]
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in kept[1:]}
    evals, supernet = kept[0].read_bytes(), (folder / "supernet.safetensors").read_bytes()
    for name in ("supernet.safetensors", "report.png", "subnets/largest.safetensors"):
        (folder / name).unlink()
    assert main([str(stages.recipes["stage2"])]) == 0
    text = capsys.readouterr().out
    assert f"{folder}: finished, nothing to do: all 10 steps are done" in text
    assert [table_rows(text, name) for name in ARCHS] == [table_rows(stages.printed["stage2"], name) for name in ARCHS]
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in kept[1:]} == before
    assert sorted((folder / "checkpoints").iterdir()) == kept[1:]
    assert kept[0].read_bytes() == evals
    assert (folder / "supernet.safetensors").read_bytes() == supernet
    assert (folder / "report.png").stat().st_size > 10_000
    assert lh.load(folder / "subnets" / "largest.safetensors").config.arch == lh.load(
        folder / "supernet.safetensors").space.largest()  # fmt: skip
