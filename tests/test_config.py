"""Recipes: a base, overrides, and problems one by one."""

import pickle
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import pytest
from tiny import write_yaml

from lighthubert.config import ConfigError, Recipes, read_values, read_yaml
from lighthubert.schema import Checked, Problems, Rule, parse

ODD = Rule("must be odd; 2 is even", lambda x: x % 2)


@dataclass(frozen=True)
class Part(Checked):
    size: Annotated[int, ODD] = 1
    name: str | None = "part"
    where: dict[str, str] = field(default_factory=dict)

    def problems(self) -> Iterator[str]:
        if self.size > 10:
            yield "size: too large; too dear"
            yield "name: none fits"


@dataclass(frozen=True)
class Whole(Checked):
    run_dir: str
    part: Part = field(default_factory=Part)
    parts: dict[str, Part] = field(default_factory=dict)
    budget: dict[str, float] = field(default_factory=dict)


def read(folder: Path, values: dict[str, Any], *overrides: str) -> Whole:
    return Recipes(Whole).read(write_yaml(folder / "r.yaml", {"run_dir": "run", **values}), list(overrides))


def test_a_base_gives_what_the_recipe_does_not_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Key by key; a base of a base; each from the folder of the file that names it."""
    (tmp_path / "sub").mkdir()
    write_yaml(tmp_path / "sub/first.yaml", {"run_dir": "first", "part": {"size": 3, "where": {"a": "1"}}, "list": [1]})
    write_yaml(tmp_path / "sub/second.yaml", {"base": "first.yaml", "part": {"where": {"b": "2"}}, "list": [2, 3]})
    recipe = write_yaml(tmp_path / "r.yaml", {"base": "sub/second.yaml", "part": {"name": None, "where": {"a": "x"}}})
    monkeypatch.chdir(tmp_path / "sub")
    assert read_values(recipe, ["part.where.c=3"]) == {
        "run_dir": "first",
        "part": {"size": 3, "where": {"a": "x", "b": "2", "c": 3}, "name": None},
        "list": [2, 3],
    }


def test_a_base_is_resolved_with_the_values_above_it(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("root: a\nrun_dir: ${root}/run\n")
    recipe = write_yaml(tmp_path / "r.yaml", {"base": "base.yaml", "root": "b"})
    assert read_values(recipe, [])["run_dir"] == "b/run"
    assert read_values(recipe, ["root=c"])["run_dir"] == "c/run"


@pytest.mark.parametrize(
    ("base", "message"),
    [
        ("r.yaml", r"r\.yaml: base: goes round in a circle"),
        ("around.yaml", r"r\.yaml: base: goes round in a circle"),
        ("gone.yaml", r"gone\.yaml: No such file"),
        (["r.yaml"], r"r\.yaml: base: expected text, got \['r.yaml'\]"),
    ],
)
def test_a_wrong_base(tmp_path: Path, base: Any, message: str) -> None:
    write_yaml(tmp_path / "around.yaml", {"base": "r.yaml"})
    with pytest.raises(ConfigError, match=message):
        read(tmp_path, {"base": base})


def test_a_mapping_in_an_override_replaces(tmp_path: Path) -> None:
    values = {"budget": {"macs": 1.0}, "part": {"size": 3, "where": {"a": "1"}}}
    assert read(tmp_path, values, "budget={params: 1e6}").budget == {"params": 1e6}
    assert read(tmp_path, values, "budget.params=2").budget == {"macs": 1.0, "params": 2.0}
    assert read(tmp_path, values, "part.where={}").part == Part(3)
    assert read(tmp_path, values, "part={size: 5}").part == Part(5)


def test_null_removes_a_key_of_a_free_mapping_and_is_nothing_for_a_field(tmp_path: Path) -> None:
    values = {"budget": {"macs": 1.0, "params": 2.0}}
    assert read(tmp_path, values, "budget.macs=null").budget == {"params": 2.0}
    assert read(tmp_path, values, "part.name=null").part.name is None
    with pytest.raises(ConfigError, match=r"part\.size: expected an integer, got None"):
        read(tmp_path, values, "part.size=null")


def test_nested_problems_are_listed_one_by_one() -> None:
    """Also those whose text holds what stands between two problems."""
    values = {"run_dir": "x", "part": {"size": 2}, "parts": {"a": {"size": 11}, "b": {"size": "1"}}, "bugdet": 3}
    with pytest.raises(Problems) as caught:
        parse(Whole, values, name="r.yaml")
    assert caught.value.problems == [
        "bugdet: unknown key; known are run_dir, part, parts, budget",
        "part.size: must be odd; 2 is even, got 2",
        "parts.a.size: too large; too dear",
        "parts.a.name: none fits",
        "parts.b.size: expected an integer, got '1'",
    ]
    assert str(caught.value) == "r.yaml: " + "; ".join(caught.value.problems)


def test_problems_pickle() -> None:
    """Ranks hand errors on so."""
    error = Problems(["a: must be odd; 2 is even", "b: is missing"], "r.yaml")
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301  our own
    assert type(copy) is Problems
    assert (str(copy), copy.problems, copy.name) == (str(error), error.problems, "r.yaml")


NESTED = "a: " + "[" * 10**5
BOMB = "a: &a [1, 1]\n" + "".join(f"{y}: &{y} [*{x}, *{x}]\n" for x, y in zip("abcdefgh", "bcdefghi", strict=True))
WRONG_YAML = {
    "a: !!int x": "invalid literal for int",
    "a: !!bool x": "KeyError 'x'",
    "a: !!float x": "could not convert",
    "a: !!timestamp 2001-99-99": "month must be in 1..12",
    "a: !!timestamp 2001-01-01": "Timestamp|date",
    "a: !!timestamp x": "AttributeError|NoneType",
    "a: !!binary x": "base64|bytes",
    "a: !!python/name:os.system": "could not determine a constructor",
    f"a: {'1' * 5000}": "4300|64 bits",
    f"a: {'1' * 400}": "64 bits",
    NESTED: "nested more than 50 deep",
    BOMB: "aliases are not read",
    "a: {b: &b {c: 1}}\nd: {<<: *b}": "aliases are not read",
    "[" + "1," * 10**5 + "]": "more than 10,000 values",
    "a: ${": "expecting|mismatched|missing|viable",
    "\x00": "special characters",
}


@pytest.mark.parametrize("text", WRONG_YAML, ids=range(len(WRONG_YAML)))
def test_yaml_that_nobody_writes_is_one_line(tmp_path: Path, text: str) -> None:
    """In a file and, where it is a value, in an override."""
    path = tmp_path / "r.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=rf"r\.yaml: cannot be read as YAML: .*({WRONG_YAML[text]})") as caught:
        read_yaml(path)
    assert len(str(caught.value)) <= 1000
    assert str(caught.value).isprintable()
    path.write_text("run_dir: x")
    if text.startswith("a: ") and "\n" not in text:
        with pytest.raises(ConfigError, match=WRONG_YAML[text]) as caught:
            read_values(path, [f"b={text[3:]}"])
        assert len(str(caught.value)) <= 1000


def test_the_environment_is_read_by_recipes_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "found")
    path = tmp_path / "r.yaml"
    path.write_text("a: ${oc.env:SECRET}")
    assert read_values(path, []) == {"a": "found"}
    assert read_yaml(path) == {"a": "${oc.env:SECRET}"}
