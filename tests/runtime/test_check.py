"""`--check` of every job: it reads the recipe and its files, says what would run, and writes nothing."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiny import DATA, manifests, recipe_values, task_values, unit_values, write_labelled_world, write_yaml

import lighthubert.finetune.__main__ as finetune
import lighthubert.pretrain.__main__ as pretrain
import lighthubert.prune.__main__ as prune
import lighthubert.search.__main__ as search


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_labelled_world(tmp_path_factory.mktemp("labelled"))


def prune_values(world: Path) -> dict[str, Any]:
    teacher = str(world / "teacher.safetensors")
    return {"init": teacher, "distill": {"teacher": teacher, "layers": [0, 5]}, "sparsity": {"params": 0.5},
            **manifests(world), "data": DATA, "train": {"steps": 8, "lr": 1e-3}}  # fmt: skip


def search_values(world: Path) -> dict[str, Any]:
    return {"supernet": str(world / "supernet.safetensors"), "valid_manifest": str(world / "valid.tsv"), "seconds": 4,
            "budget": {"macs": 3.2e7}, "evaluations": 40, "population": 10, "data": DATA}  # fmt: skip


Job = tuple[Callable[[list[str]], int], Callable[[Path], dict[str, Any]], str, list[str]]
JOBS: dict[str, Job] = {  # the command, its recipe, what else makes it fail, what it says
    "distil": (pretrain.main, recipe_values, "target.layers=9", ["teacher.safetensors: ", "8 steps", "a new run"]),
    "units": (pretrain.main, unit_values, "units.source=gone.pt", ["8 units of mfcc", "8 steps", "a new run"]),
    "finetune": (finetune.main, task_values, "task.column=gone", ["4 steps", "a new run"]),
    "prune": (prune.main, prune_values, "sparsity.params=0.99", ["8 steps", "a new run"]),
    "search": (search.main, search_values, "budget.macs=1", ["budget: macs at most 3.2e+07", "40 archs by evolution"]),
}


@pytest.mark.parametrize("name", JOBS)
def test_check(name: str, world: Path, labelled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
               capsys: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    main, values, wrong, lines = JOBS[name]
    where = labelled if name == "finetune" else world
    recipe = str(write_yaml(tmp_path / "r.yaml", {"run_dir": "run", **values(where)}))
    before = files(where)
    monkeypatch.chdir(tmp_path)

    assert main([recipe, "--check"]) == 0
    text = capsys.readouterr().out
    assert not [line for line in lines if line not in text], text
    for problem in (wrong, "valid_manifest=gone.tsv"):
        assert main([recipe, "--check", problem]) == 2
        assert capsys.readouterr().err.startswith("error: ")
    assert list(tmp_path.iterdir()) == [tmp_path / "r.yaml"]
    assert files(where) == before


def files(folder: Path) -> dict[Path, int]:
    """All that a folder holds, and when it was written."""
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
