"""A command looks at a file once: one that vanishes as soon as it has been read is not missed, by nobody."""

import importlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import (
    DATA,
    PARENT,
    SPACE,
    TEACHER,
    random_hubert,
    recipe_values,
    task_values,
    unit_values,
    write_labelled_world,
    write_world,
    write_yaml,
)

import lighthubert as lh
from lighthubert.checkpoint import CheckpointError, Loaded, read, weights_digest
from lighthubert.extract import main as extract
from lighthubert.finetune.__main__ import main as finetune
from lighthubert.pretrain.__main__ import main as pretrain
from lighthubert.prune.__main__ import main as prune
from lighthubert.search.__main__ import main as search

ARCH = {"embed_dim": 24, "num_heads": [3, 2, 4], "ffn_dim": [48, 24, 36], "conv_channels": [4] * 7, "layers": [0, 2, 3]}
SHORT = {"steps": 2, "warmup_steps": 1, "save_every": 2, "eval_every": 2, "log_every": 2}
Vanishing = Callable[..., set[Path]]


@pytest.fixture(scope="module")
def nets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Manifests, and files that every test takes a copy of: a teacher, a supernet, its subnet, a fine-tuned net."""
    folder = tmp_path_factory.mktemp("nets")
    write_labelled_world(folder)
    for name in ("train", "valid"):
        shutil.copy(folder / f"{name}.tsv", folder / f"labelled_{name}.tsv")
    write_world(folder)
    values = recipe_values(folder, run_dir=str(folder / "stage1"), train=SHORT)
    assert pretrain([str(write_yaml(folder / "stage1.yaml", values))]) == 0
    shutil.copy(folder / "stage1/supernet.safetensors", folder / "supernet.safetensors")
    supernet = lh.load(folder / "supernet.safetensors")
    lh.save(supernet.sample(ARCH), folder / "subnet.safetensors")
    assert finetune([str(write_yaml(folder / "tuned.yaml", labelled(folder, run_dir=str(folder / "tuned"))))]) == 0
    shutil.copy(folder / "tuned/model.safetensors", folder / "tuned.safetensors")
    lh.save(random_hubert(lh.HubertConfig.from_dict(PARENT)), folder / "parent.safetensors")
    return folder


def labelled(nets: Path, **changes: Any) -> dict[str, Any]:
    manifests = {f"{name}_manifest": str(nets / f"labelled_{name}.tsv") for name in ("train", "valid")}
    return task_values(nets, train={"steps": 2, "eval_every": 2}, **manifests, **changes)


@pytest.fixture
def vanish(nets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Vanishing:
    """Copies of these files here, which are deleted once they have been read; the set of those still there."""
    left: set[Path] = set()

    def loaded(path: str, *content: Any) -> Loaded:
        if Path(path) in left:
            Path(path).unlink()
            left.remove(Path(path))
        return Loaded(path, *content)

    def prepare(*names: str) -> set[Path]:
        for name in names:
            shutil.copy(nets / f"{name}.safetensors", tmp_path)
            left.add(tmp_path / f"{name}.safetensors")
        return left

    # Every file that is read becomes a Loaded here, whoever asked for it.
    monkeypatch.setattr(importlib.import_module("lighthubert.checkpoint.load"), "Loaded", loaded)
    return prepare


PRETRAIN: dict[str, tuple[list[str], dict[str, Any], str]] = {  # files, keys of the recipe, what the run writes
    "stage 2": (["teacher", "supernet"], {"init": "supernet"}, "supernet"),
    "one file": (["teacher"], {"init": "teacher", "order_by_importance": True}, "supernet"),
    "a space too": (["teacher", "supernet"], {"init": "supernet", "space": "init"}, "supernet"),
    "a head": (["teacher", "subnet", "supernet"], {"init": "subnet", "space": "init", "head": "supernet"}, "hubert"),
}


@pytest.mark.parametrize("case", PRETRAIN)
def test_pretrain(nets: Path, tmp_path: Path, vanish: Vanishing, case: str) -> None:
    names, keys, written = PRETRAIN[case]
    left = vanish(*names)
    files = {key: str(tmp_path / f"{keys[key]}.safetensors") for key in ("init", "head") if key in keys}
    values = recipe_values(nets, run_dir=str(tmp_path / "run"), train=SHORT, eval_archs=0,
                           **(keys | files | {"teacher": str(tmp_path / "teacher.safetensors")}))  # fmt: skip
    assert pretrain([str(write_yaml(tmp_path / "r.yaml", values))]) == 0
    assert not left
    assert (tmp_path / f"run/{written}.safetensors").is_file()


def test_pretrain_from_units_of_the_net_itself(nets: Path, tmp_path: Path, vanish: Vanishing) -> None:
    left, net = vanish("parent"), str(tmp_path / "parent.safetensors")
    values = unit_values(nets, run_dir=str(tmp_path / "run"), train=SHORT, init=net, units={"source": net, "layer": 2})
    assert pretrain([str(write_yaml(tmp_path / "r.yaml", values))]) == 0
    assert not left


def test_finetune_goes_on(nets: Path, tmp_path: Path, vanish: Vanishing) -> None:
    """Net, task and head out of one reading."""
    left = vanish("tuned")
    values = labelled(nets, run_dir=str(tmp_path / "run"), init=str(tmp_path / "tuned.safetensors"))
    assert finetune([str(write_yaml(tmp_path / "r.yaml", values))]) == 0
    assert not left


@pytest.mark.parametrize("job", ["task", "distill", "distill from itself"])
def test_prune(nets: Path, tmp_path: Path, vanish: Vanishing, job: str) -> None:
    """Its report needs the weights as they were; a fine-tuned net keeps its head."""
    teacher = {"task": [], "distill": ["teacher"], "distill from itself": ["tuned"]}[job]
    left = vanish(*{"tuned", *teacher})
    values = labelled(nets, run_dir=str(tmp_path / "run"), init=str(tmp_path / "tuned.safetensors"))
    values |= {"sparsity": {"params": 0.3, "warmup_steps": 1}, "gate_lr": 0.2}
    values["train"] = {**values["train"], "schedule": "poly", "warmup_steps": 1}
    for name in teacher:
        values["distill"] = {"teacher": str(tmp_path / f"{name}.safetensors"), "layers": [0, 2, 5]}
        values.pop("task", None)
    assert prune([str(write_yaml(tmp_path / "r.yaml", values))]) == 0
    assert not left
    before, after = (read(path) for path in (nets / "tuned.safetensors", tmp_path / "run/pruned.safetensors"))
    assert before.task == after.task
    assert torch.equal(before.head["proj.weight"], after.head["proj.weight"]) == (job != "task")
    ordered = read(tmp_path / "run/ordered.safetensors").hubert
    norms = [net.encoder.layers[2].fc1.weight.norm() for net in (before.hubert, ordered)]
    torch.testing.assert_close(*norms)  # the weights as they were read, in another order


def test_search(nets: Path, tmp_path: Path, vanish: Vanishing) -> None:
    left = vanish("teacher", "supernet")
    values = {"run_dir": str(tmp_path / "run"), "supernet": str(tmp_path / "supernet.safetensors"), "data": DATA,
              "teacher": str(tmp_path / "teacher.safetensors"), "budget": {"params": 1e9}, "seconds": 2,
              "valid_manifest": str(nets / "valid.tsv"), "test_manifest": str(nets / "few.tsv"), "test_seconds": 2,
              "evaluations": 4, "population": 4}  # fmt: skip
    assert search([str(write_yaml(tmp_path / "r.yaml", values))]) == 0
    assert not left
    record = json.loads((tmp_path / "run/scored.jsonl").read_text().splitlines()[0])
    assert weights_digest(lh.load(nets / "supernet.safetensors")) in json.dumps(record)


def test_extract(tmp_path: Path, vanish: Vanishing) -> None:
    left = vanish("supernet")
    extract([str(tmp_path / "supernet.safetensors"), "--largest", "-o", str(tmp_path / "subnet.safetensors")])
    assert not left


def test_many_subnets_of_a_sweep(nets: Path, tmp_path: Path, vanish: Vanishing) -> None:
    """Nets of two files in turns; each is what it is alone."""
    from lighthubert.superb.plan import _candidates
    from lighthubert.superb.recipe import Net, SuperbTask, Sweep

    left = vanish("supernet", "teacher")
    supernet, teacher = (str(tmp_path / f"{name}.safetensors") for name in ("supernet", "teacher"))
    sweep = Sweep("run", {"a": Net(arch="largest"), "b": Net(teacher), "c": Net(arch="smallest"), "d": Net(teacher)},
                  {"KS": SuperbTask()}, supernet)  # fmt: skip
    problems: list[str] = []
    found = _candidates(sweep, problems)
    assert (list(found), problems, left) == (["a", "b", "c", "d"], [], set())
    net, whole = lh.load(nets / "supernet.safetensors"), weights_digest(lh.load(nets / "teacher.safetensors"))
    subnets = [weights_digest(net.sample(arch)) for arch in (net.space.largest(), net.space.smallest())]
    assert [found[name].weights for name in "abcd"] == [subnets[0], whole, subnets[1], whole]


def test_what_was_read_says_what_it_is(nets: Path) -> None:
    supernet, tuned = read(nets / "supernet.safetensors"), read(nets / "tuned.safetensors")
    assert supernet.space == lh.SearchSpace.from_dict(SPACE)
    assert supernet.predicts is not None
    assert supernet.predicts["teacher"] == str(nets / "teacher.safetensors")
    assert supernet.hubert is supernet.supernet("").hubert
    assert (supernet.task, supernet.head) == (None, {})
    assert (tuned.space, tuned.predicts, tuned.net) == (None, None, tuned.hubert)
    assert tuned.hubert.config == lh.HubertConfig.from_dict(TEACHER)
    assert tuned.head.keys() == {"proj.weight", "proj.bias"}
    with pytest.raises(CheckpointError, match=r"tuned\.safetensors: holds a single net, not a supernet; no"):
        tuned.supernet("no")


def test_digests_of_the_shipped_files_are_those_of_every_version(repo_root: Path) -> None:
    """Runs that were started before remember them."""
    names = {"hubert-mini": "16796a51841e721f", "lighthubert-mini": "15f8e48b70dabbd0"}
    found = {name: read(repo_root / f"checkpoints/{name}.safetensors").digest for name in names}
    assert found == names
