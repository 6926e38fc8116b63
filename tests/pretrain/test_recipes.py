"""Every shipped recipe: loads, fits its space and its teacher, and takes a real step (big ones at small widths)."""

import random
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from harness import evals
from tiny import random_hubert, write_clips, write_yaml

import lighthubert as lh
from lighthubert.config import Recipes, read_values, read_yaml
from lighthubert.data import Manifest
from lighthubert.pretrain.__main__ import main
from lighthubert.pretrain.init import slices
from lighthubert.pretrain.recipe import Distill, Units

RECIPES = Path(__file__).resolve().parents[2] / "recipes"
OTHER_JOBS = ("finetune", "prune", "search", "superb/")
NAMES = sorted(
    name
    for path in RECIPES.rglob("*.yaml")
    if not (name := path.relative_to(RECIPES).with_suffix("").as_posix()).startswith(OTHER_JOBS)
    and not path.name.startswith(OTHER_JOBS)
)
PUBLISHED = {"HUBERT_BASE": lh.HubertConfig.base, "HUBERT_LARGE": lh.HubertConfig.large}
MINI_TEACHER = "checkpoints/hubert-mini.safetensors"


def load(name: str) -> Distill | Units:
    path = str(RECIPES / f"{name}.yaml")
    return Recipes(Distill, Units).read(path, [])


def teacher_config(recipe: Distill) -> lh.HubertConfig:
    if recipe.teacher == MINI_TEACHER:
        return load("mini/teacher").model  # type: ignore[union-attr]
    return PUBLISHED[recipe.teacher]()


def test_there_are_recipes_of_all_sizes() -> None:
    assert {name.split("/")[0] for name in NAMES} == {"mini", "base", "small", "large"}
    assert {"mini/teacher", "mini/stage1", "mini/stage2", "base/stage1", "base/stage2", "small/stage2",
            "large/stage1", "large/stage2"} <= set(NAMES)  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_fits_its_space_and_teacher(name: str) -> None:
    """Full size, without storage. Stage 2 starts from a run that a recipe makes, of a space with the same parent."""
    recipe = load(name)
    assert recipe.run_dir == f"runs/{name}"
    with torch.device("meta"):
        if isinstance(recipe, Units):
            lh.Hubert(recipe.model)
            return
        teacher = lh.Hubert(teacher_config(recipe))
        if recipe.space == "init":  # of a file that a user extracts
            return
        supernet = lh.Supernet(lh.SearchSpace.load(recipe.space))
        recipe.target.check(teacher.config, supernet.config)
        source = teacher
        if recipe.init != "teacher":
            run, file = Path(recipe.init).parent.relative_to("runs").as_posix(), Path(recipe.init).name
            if file == "ordered.safetensors":  # the teacher, its units in the order of gates
                assert read_yaml(RECIPES / f"{run}.yaml")["init"] == recipe.teacher
            else:
                before = load(run)
                assert isinstance(before, Distill)
                assert before.teacher == recipe.teacher
                source = lh.Supernet(lh.SearchSpace.load(before.space)).hubert
        filled = slices(source, supernet.config)
    assert {k: v.shape for k, v in filled.items()} == {k: v.shape for k, v in supernet.hubert.named_parameters()}


def narrow(config: lh.HubertConfig) -> lh.HubertConfig:
    """A sixteenth of the width, all layers, and what kind of net it is."""
    return replace(config, conv_channels=(8,) * 7, embed_dim=config.embed_dim // 16, head_dim=4, pos_conv_kernel=8,
                   pos_conv_groups=1, ffn_dim=tuple(n // 16 for n in config.ffn_dim))  # fmt: skip


def narrow_space(name: str) -> dict[str, Any]:
    """A shipped space with its choices, at a sixteenth of the width."""
    space = lh.SearchSpace.load(name)
    values = {**space.to_dict(), "parent": narrow(space.parent).to_dict(), "name": f"narrow_{name}"}
    values["embed_dim"] = [n // 16 for n in space.embed_dim]
    values["conv_channels"] = [[c // 64 for c in choice] for choice in space.conv_choices()]
    if not space.joint_convs:
        values["conv_channels"] = [choice[0] for choice in values["conv_channels"]]
    return values


def run_a_step(name: str, folder: Path, world: Path, overrides: list[str]) -> None:
    """With everything that the recipe says but paths, widths and the length of the run."""
    run_dir = folder / name
    write_clips(folder / "one.tsv", Manifest.read(world / "few.tsv"), [0])
    quick = ["train.steps=1", f"run_dir={run_dir}", f"train_manifest={world / 'few.tsv'}",
             f"valid_manifest={folder / 'one.tsv'}"]  # fmt: skip
    recipe = load(name)
    if recipe.train.schedule != "tri_stage":
        quick.append("train.warmup_steps=0")
    if isinstance(recipe, Distill):
        quick.append("eval_archs=0")
    elif recipe.units.source.startswith("runs/"):
        quick.append(f"units.source={folder / recipe.units.source.removeprefix('runs/')}")
    if recipe.init.startswith("runs/"):
        quick.append(f"init={folder / recipe.init.removeprefix('runs/')}")
    assert main([str(RECIPES / f"{name}.yaml"), *quick, *overrides]) == 0
    measured = evals(run_dir)
    assert [entry["step"] for entry in measured] == [0, 1]
    assert all(value is not None for entry in measured for value in entry["values"].values())
    kept, given = read_yaml(run_dir / "config.yaml"), read_values(RECIPES / f"{name}.yaml", [])
    for section in ("target", "distance", "frames", "units"):
        said = {key: value for key, value in given.get(section, {}).items() if not str(value).startswith("runs/")}
        assert {key: kept[section][key] for key in said} == said
    assert kept["train"]["precision"] == given["train"]["precision"] == "bf16"


def supernet_of(folder: Path, name: str) -> lh.Supernet:
    net = lh.load(folder / name / "supernet.safetensors")
    assert isinstance(net, lh.Supernet)
    return net


def test_mini_recipes_run(tmp_path: Path, world: Path) -> None:
    teacher = tmp_path / "teacher.safetensors"
    lh.save(random_hubert(teacher_config(load("mini/stage1"))), teacher)  # type: ignore[arg-type]
    short = [f"teacher={teacher}", "data.max_seconds=5", "data.max_clip_seconds=1"]
    ordered = tmp_path / "mini" / "prune_dphubert" / "ordered.safetensors"  # tests/prune makes a real one
    ordered.parent.mkdir(parents=True)
    shutil.copy(teacher, ordered)
    stages = ("stage1", "stage2", "stage2_gates", "stage2_in_place", "stage2_pairs", "stage2_paper", "release_stage1",
              "release_stage2")  # fmt: skip
    for stage in stages:
        run_a_step(f"mini/{stage}", tmp_path, world, short)
    first, second = (supernet_of(tmp_path, f"mini/{name}").head["last"].weight for name in ("stage1", "stage2"))
    first, second = (weight.abs().sum(0).sort().values for weight in (first, second))  # stage 2 has ordered the inputs
    assert 0 < (first - second).abs().max() < 0.01 * len(first)  # a step away
    assert list(supernet_of(tmp_path, "mini/stage2_pairs").head) == ["2", "4", "6"]

    supernet, init = supernet_of(tmp_path, "mini/stage2"), tmp_path / "mini/search/subnet.safetensors"
    init.parent.mkdir()
    lh.save(supernet.sample(rng=random.Random(0)), init)
    run_a_step("mini/adapt", tmp_path, world, [*short, f"head={tmp_path / 'mini/stage2/supernet.safetensors'}"])
    assert lh.load(tmp_path / "mini/adapt/hubert.safetensors").config == lh.load(init).config


def test_the_mini_teacher_s_recipes_run(tmp_path: Path, world: Path) -> None:
    nets = []
    for name in ("mini/teacher", "mini/teacher_iter2"):
        run_a_step(name, tmp_path, world, ["data.max_seconds=5"])
        nets.append(lh.load(tmp_path / name / "hubert.safetensors"))
        assert nets[-1].config == lh.SearchSpace.load("mini").parent
    first, second = (net.encoder.layers[0].fc1.weight for net in nets)
    assert 0 < (first - second).abs().max() < 0.01  # a step away


@pytest.mark.parametrize("names", [["base/stage1", "base/stage2", "small/stage2"], ["large/stage1", "large/stage2"]])
def test_big_recipes_run_at_small_widths(tmp_path: Path, world: Path, names: list[str]) -> None:
    recipe = load(names[0])
    assert isinstance(recipe, Distill)
    lh.save(random_hubert(narrow(teacher_config(recipe))), tmp_path / "teacher.safetensors")
    for name in names:
        space = write_yaml(tmp_path / "space.yaml", narrow_space(load(name).space))  # type: ignore[union-attr]
        run_a_step(name, tmp_path, world, [f"teacher={tmp_path / 'teacher.safetensors'}", f"space={space}"])
        assert supernet_of(tmp_path, name).space.num_archs == lh.SearchSpace.load(load(name).space).num_archs  # type: ignore[union-attr]
    nets = (supernet_of(tmp_path, name).hubert for name in (names[0], names[-1]))
    first, last = (net.encoder.layers[0].fc1.weight.flatten().sort().values for net in nets)  # whatever their order
    assert 0 < (first - last).abs().max() < 0.01
