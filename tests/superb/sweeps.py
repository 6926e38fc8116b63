"""Recipes of sweeps on tiny nets and tiny data."""

from pathlib import Path
from typing import Any

import tiny_tasks

from lighthubert.config import read_yaml, write_yaml

NETS = {"largest": {"arch": "largest"}, "narrow": {"arch": "arch.yaml"}}


def write(folder: Path, tasks: dict[str, dict[str, Any]], nets: dict[str, Any] = NETS, **values: Any) -> Path:
    """recipe.yaml in the folder of the fixture `files`, with the data of each task in TASK/. A net of s3prl's own
    reads its data by itself: the paths of data are whole, those of nets relative."""
    recipe = {"run_dir": "run", "checkpoint": "supernet.safetensors", "device": "cpu", "nets": nets, "tasks": {}}
    for name, task in tasks.items():
        made = tiny_tasks.write(name, folder / name)
        recipe["tasks"][name] = {"config": f"{name}/settings.yaml", "split": made.split, **task}  # type: ignore[index]
    write_yaml(folder / "recipe.yaml", recipe | values)
    return folder / "recipe.yaml"


def steps(folder: Path, task: str, **runner: int) -> None:
    """Change the runner's settings of a task."""
    path = folder / task / "settings.yaml"
    values = read_yaml(path)
    write_yaml(path, values | {"runner": values["runner"] | runner})
