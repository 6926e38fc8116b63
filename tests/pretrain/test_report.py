"""What a finished run shows of itself and of those before it."""

import shutil
from pathlib import Path
from typing import Any

import harness
import pytest
from tiny import SPACE, recipe_values, table_rows, write_yaml

from lighthubert.pretrain.__main__ import main
from lighthubert.pretrain.plots import stages

STEP = {"eval_archs": 0, "train": {"steps": 1, "warmup_steps": 0}}


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal in which headings stay on one line."""
    monkeypatch.setenv("COLUMNS", "160")


@pytest.fixture(scope="module")
def stage1(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one step."""
    folder = tmp_path_factory.mktemp("report")
    values = recipe_values(world, run_dir=str(folder / "stage1"), **STEP)
    assert main([str(write_yaml(folder / "r.yaml", values))]) == 0
    return folder / "stage1"


def follow(folder: Path, world: Path, init: Path, **changes: Any) -> list[dict[str, float]]:
    """A run of one step from another one's weights; its held-out losses."""
    values = recipe_values(
        world, init=str(init / "supernet.safetensors"), **{"run_dir": str(folder), **STEP, **changes}
    )
    folder.parent.mkdir(parents=True, exist_ok=True)
    assert main([str(write_yaml(folder.with_suffix(".yaml"), values))]) == 0
    return [entry["values"] for entry in harness.evals(folder)]


def row(capsys: pytest.CaptureFixture[str], name: str = "largest") -> tuple[list[str], list[float]]:
    """Column names and losses of the last table."""
    text = capsys.readouterr().out
    return table_rows(text, "arch")[-1][3:], [float(cell) for cell in table_rows(text, name)[-1][3:]]


def shown(*losses: dict[str, float]) -> list[float]:
    return [round(values["clean_loss/largest"], 3) for values in losses]


def test_a_chain_of_runs(tmp_path: Path, world: Path, stage1: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = [entry["values"] for entry in harness.evals(stage1)]
    two = follow(tmp_path / "second", world, stage1)
    three = follow(tmp_path / "third", world, tmp_path / "second")
    names, losses = row(capsys)
    assert names == ["start", "after stage1", "after second", "after third"]
    assert losses == pytest.approx(shown(one[0], one[1], two[1], three[1]), abs=1e-3)


def test_a_file_without_a_history(
    tmp_path: Path, world: Path, stage1: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Weights that somebody copied elsewhere: this run's own start comes first."""
    (tmp_path / "copied").mkdir()
    (tmp_path / "copied" / "supernet.safetensors").write_bytes((stage1 / "supernet.safetensors").read_bytes())
    own = follow(tmp_path / "second", world, tmp_path / "copied")
    names, losses = row(capsys)
    assert names == ["start", "after second"]
    assert losses == pytest.approx(shown(*own), abs=1e-3)


@pytest.mark.parametrize("change", ["space", "target", "valid_manifest"])
def test_only_what_can_be_compared_is_compared(
    tmp_path: Path, world: Path, stage1: Path, capsys: pytest.CaptureFixture[str], change: str
) -> None:
    """A small space from stage 1 of the base space, or pairs after a mean: then only the run's own start counts."""
    space = write_yaml(tmp_path / "small.yaml", {**SPACE, "embed_dim": [16], "num_layers": [2]})
    target = {"pairs": [1, 4], "tap": "layer", "normalize": "none"}
    changes = {"space": str(space), "target": target, "valid_manifest": str(world / "few.tsv")}
    own = follow(tmp_path / "second", world, stage1, **{change: changes[change]})
    names, losses = row(capsys)
    assert names == ["start", "after second"]
    assert losses == pytest.approx(shown(*own), abs=1e-3)


def test_folders_of_one_name(tmp_path: Path, world: Path, stage1: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, two = harness.evals(stage1)[-1]["values"], follow(tmp_path / "again" / "stage1", world, stage1)
    _, losses = row(capsys)
    assert losses[1:] == pytest.approx(shown(one, two[-1]), abs=1e-3)


def test_a_narrow_terminal_hides_nothing(
    stage1: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "50")
    assert main([str(stage1.parent / "r.yaml")]) == 0
    text = capsys.readouterr().out
    assert "…" not in text
    assert table_rows(text, "smallest")


def test_a_run_within_its_own_folder(
    world: Path, stage1: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """init: teacher is no path: the folder in which the command is called is not a run that came before."""
    monkeypatch.chdir(stage1)
    assert main([str(stage1.parent / "r.yaml"), "run_dir=."]) == 0
    assert row(capsys)[0] == ["start", "after stage1"]


def test_runs_that_start_from_each_other(
    tmp_path: Path, world: Path, stage1: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run's folder that was emptied and used again, from the weights of the run that had started from it."""
    one, two = tmp_path / "one", tmp_path / "two"
    follow(one, world, stage1)
    follow(two, world, one)
    weights = (one / "supernet.safetensors").read_bytes()
    shutil.rmtree(one)
    again = follow(one, world, two)
    assert (one / "supernet.safetensors").read_bytes() != weights
    names, losses = row(capsys)
    assert names == ["start", "after two", "after one"]
    assert losses[-1] == pytest.approx(shown(again[-1])[0], abs=1e-3)


def test_archs_without_a_loss(tmp_path: Path, world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Pairs of layers that the smallest does not keep: it has a row and a file, but nothing to show."""
    values = recipe_values(world, run_dir=str(tmp_path / "run"), target={"pairs": [2, 3]}, **STEP)
    assert main([str(write_yaml(tmp_path / "r.yaml", values))]) == 0
    text = capsys.readouterr().out
    assert table_rows(text, "smallest")[0][3:] == ["-", "-"]
    assert "-" not in table_rows(text, "largest")[0][3:]
    assert (tmp_path / "run" / "subnets" / "smallest.safetensors").exists()


def test_the_picture_shows_the_numbers() -> None:
    rows = [
        {"name": "largest", "macs": 4e9, "start": 1.0, "after x": 0.5},
        {"name": "random0", "macs": 1e9, "start": None, "after x": 0.75},
        {"name": "smallest", "macs": 2e9, "start": 1.5, "after x": 0.9},
    ]
    (axes,) = stages(rows, ["start", "after x"]).axes
    drawn = {line.get_label(): line.get_xydata().tolist() for line in axes.lines}
    assert drawn == {"start": [[2, 1.5], [4, 1]], "after x": [[1, 0.75], [2, 0.9], [4, 0.5]]}
    assert {text.get_text() for text in axes.texts} == {"largest", "random0", "smallest"}
