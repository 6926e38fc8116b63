"""Every command of docs/superb.md, as s3prl's own parser and its settings of the task take it."""

import csv
import re
import shlex
import sys
from pathlib import Path
from string import Template
from types import ModuleType
from typing import Any

import pytest
import tiny_tasks
import tiny_text
import torch

from lighthubert.config import read_yaml
from lighthubert.superb import __main__ as superb
from lighthubert.superb import corpora

GUIDE = (Path(__file__).parents[2] / "docs/superb.md").read_text()
SECTIONS = dict(re.findall(r"^### (\w+), .*?\n(.*?)(?=^##|\Z)", GUIDE, re.MULTILINE | re.DOTALL))
# The authors' learning rates, and clips for each of them.
PUBLISHED = {"KS": (1e-4, 32), "IC": (1e-4, 32), "SID": (5e-3, 32), "ASV": (5e-5, 50), "ASR": (1e-4, 32),
             "PR": (5e-4, 32), "SF": (1e-4, 32), "ER": (1e-4, 32), "SD": (5e-4, 32)}  # fmt: skip


def commands(task: str, values: dict[str, str]) -> list[list[str]]:
    """The words behind `lighthubert superb`, of each command of a task."""
    (script,) = re.findall(r"```bash\n(.*?)```", SECTIONS[task], re.DOTALL)
    lines = [line.strip() for line in script.replace("\\\n", " ").splitlines() if "lighthubert superb" in line]
    return [shlex.split(Template(line).substitute(values))[2:] for line in lines]


def value_of(settings: Any, key: str) -> Any:
    """Raises KeyError if the settings have no such key."""
    for name in key.split("."):
        settings = settings[name]
    return settings


def test_a_guide_for_every_task() -> None:
    assert SECTIONS.keys() == tiny_tasks.TASKS.keys()


@pytest.mark.parametrize("task", tiny_tasks.TASKS)
def test_commands(
    task: str, s3prl: ModuleType, package: Path, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from s3prl import run_downstream

    values = {"NET": str(files / "net.safetensors"), "DATA": str(tmp_path / "corpora"), "OUT": str(tmp_path / "out"),
              "N": "20000", "FOLD": "fold2", "LAYER": "3", "SPLIT": "dev"}  # fmt: skip
    monkeypatch.chdir(package)
    first, *others = commands(task, values)
    args, rest = superb._parser().parse_known_args(first)
    published = Path(args.config or package / "downstream" / args.downstream / "config.yaml").is_file()
    if not published:  # the package without its settings: ours have the same keys
        tiny_tasks.write(task, tmp_path / "tiny")
        args.config = str(tmp_path / "tiny/settings.yaml")
    words = [*rest, *superb.command(args, package)]
    monkeypatch.setattr(sys, "argv", ["superb", *words])
    found, config, _ = run_downstream.get_downstream_args()
    assert found.upstream_ckpt == values["NET"]
    assert not found.upstream_trainable
    assert (found.upstream_layer_selection, found.upstream_feature_selection) == (
        3 if task == "QbE" else None,
        "hidden_states",
    )

    settings = read_yaml(words[words.index("-c") + 1])
    for option in found.override.split(",,"):
        key, value = option.split("=")
        value_of({"config": settings}, key)  # is there: s3prl takes any
        assert str(value_of({"config": config}, key)) in (value, str(float(value)) if value[0].isdigit() else "")
    if published:  # no folder of somebody else's machine is left
        named = [Path(name) for names in corpora.paths(config["downstream_expert"]).values() for name in names]
        assert all(not name.is_absolute() or name.is_relative_to(values["DATA"]) for name in named)
    if task == "QbE":
        return
    rate, batch = PUBLISHED[task]
    assert config["optimizer"]["lr"] == rate
    if published:
        (key,) = re.findall(rf"^\| {task} \|.*`([\w.]+)` \|$", GUIDE, re.MULTILINE)
        clips = value_of(config["downstream_expert"], key)
        assert clips * config["runner"]["gradient_accumulate_steps"] == batch

    (words,) = others
    args, rest = superb._parser().parse_known_args(words)
    Path(args.past_exp).parent.mkdir(parents=True, exist_ok=True)
    torch.save({"Args": found, "Config": config}, args.past_exp)  # what the task leaves, but for its weights
    monkeypatch.setattr(sys, "argv", ["superb", *rest, *superb.command(args, package)])
    again, same, _ = run_downstream.get_downstream_args()
    assert (again.mode, again.upstream_ckpt, same) == ("evaluate", values["NET"], config)
    assert again.evaluate_split == ("test-clean" if task == "ASR" else "test")
    assert Path(again.expdir).is_relative_to(found.expdir)


def test_tables_of_lengths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (script,) = re.findall(r"```python\n(.*?)```", SECTIONS["ASR"], re.DOTALL)
    tiny_text.librispeech(tmp_path / "LibriSpeech")
    expected = {}
    for split, name in (("train", "train-clean-100"), ("dev", "dev-clean"), ("test", "test-clean")):
        (tmp_path / "LibriSpeech" / split).rename(tmp_path / "LibriSpeech" / name)
        with (tmp_path / "LibriSpeech" / "lengths" / f"{split}.csv").open() as file:
            expected[name] = {(row["file_path"].replace(split, name, 1), row["length"]) for row in csv.DictReader(file)}
    monkeypatch.setenv("DATA", str(tmp_path))
    exec(script, {})
    for name, rows in expected.items():
        with (tmp_path / "lengths" / f"{name}.csv").open() as file:
            assert {(row["file_path"], row["length"]) for row in csv.DictReader(file)} == rows
