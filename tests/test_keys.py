"""Every key is explained, in docs/keys.md and by --help."""

import runpy
from pathlib import Path
from typing import Any

import pytest

from lighthubert.keys import Key, list_keys
from lighthubert.pretrain.__main__ import main
from lighthubert.pretrain.recipe import Distill, Units
from lighthubert.schema import parse

KEYS: dict[str, Any] = runpy.run_path(str(Path(__file__).resolve().parents[1] / "docs/keys.py"))
MANIFESTS = {"run_dir": "r", "train_manifest": "t", "valid_manifest": "v", "train": {"steps": 1, "lr": 1}}
RECIPES = [parse(Units, MANIFESTS), parse(Distill, {**MANIFESTS, "teacher": "t", "space": "s"})]


def test_the_page_is_made_of_the_classes() -> None:
    assert KEYS["PAGE"].read_text() == KEYS["page"](), "run `make keys`"


@pytest.mark.parametrize("title", KEYS["SECTIONS"])
def test_every_key_has_a_text(title: str) -> None:
    keys = list(list_keys(KEYS["SECTIONS"][title]))
    assert keys
    assert not [key.name for key in keys if not key.about]


def test_help_prints_every_key_with_its_default(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["--help"])
    assert stopped.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    for recipe in RECIPES:
        for key in list_keys(type(recipe)):
            assert f"{key.name}: {key.kind} = {key.default} {' '.join(key.about.split())}" in text


@pytest.mark.parametrize("recipe", RECIPES, ids=["units", "distill"])
def test_the_defaults_are_those_of_a_recipe_without_the_keys(recipe: Any) -> None:
    for key in list_keys(type(recipe)):
        value = recipe
        for name in key.name.split("."):
            value = getattr(value, name)
        assert key.default in ("required", "its own defaults") or key.default == _text(value), key.name


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_text, value))}]"
    return {"None": "null", "True": "true", "False": "false"}.get(str(value), str(value).removesuffix(".0"))


def test_an_example() -> None:
    keys = {key.name: key for key in list_keys(Distill)}
    assert keys["train.lr"] == Key("train.lr", "number, above 0", "required", "The highest learning rate.")
    assert keys["target.tap"].kind == "ffn | layer"
    assert keys["subnets"].default == "[largest, smallest, random, random]"
