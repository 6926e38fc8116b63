"""What a stranger finds: documents that agree with the project, and no trace of the place where it was written."""

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import lighthubert as lh

NOT_OURS = {".git", ".hypothesis", "__pycache__", ".mypy_cache", ".pytest_cache", ".ruff_cache", "dist", "runs"}
NOT_OURS |= {".venv", ".venv-latest", ".venv-oldest"}
# Paths of a private machine, notes that are not in the repository, package hosts. Written so as not to match itself.
PRIVATE = re.compile(
    rb"(?<![\w.])/(work|root|tmp|opt)/|[.][.]/shared|[.]library\b|\bfarm[-]\w"
    rb"|\bfacts/\w|\b(DESIGN|CONTRACT|ISSUE)[.]md|\bDESIGN .[0-9]|\bpypi[.]|pythonhosted[.]"
)


def files(root: Path) -> Iterator[Path]:
    """All files of the checkout but its .git, environment, caches and runs."""
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if name not in NOT_OURS]
        yield from (Path(folder, name) for name in names if name != ".git")


def test_names_no_private_place(repo_root: Path) -> None:
    contents = {path.relative_to(repo_root).as_posix(): path.read_bytes() for path in files(repo_root)}
    assert not [f"{name}: {hit[0]!r}" for name, content in contents.items() for hit in PRIVATE.finditer(content)]


@pytest.mark.parametrize(
    "text", ["/" + "work/x", "'/" + "tmp/a.wav'", "fac" + "ts/mini.md", "../" + "shared/x", "farm" + "-7"]
)
def test_a_private_place_is_seen(text: str) -> None:
    assert PRIVATE.search(text.encode())


def test_readme_links_lead_somewhere(repo_root: Path) -> None:
    targets = re.findall(r"\]\(([^)#:]+)[^):]*\)", (repo_root / "README.md").read_text())
    assert targets
    assert not [target for target in targets if not (repo_root / target).exists()]


def test_readme_example_runs(repo_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", (repo_root / "README.md").read_text(), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    stage2 = tmp_path / "runs/mini/stage2"
    stage2.mkdir(parents=True)
    lh.save(lh.Supernet(lh.SearchSpace.load("mini")), stage2 / "supernet.safetensors")
    shutil.copy(next((repo_root / "lighthubert/data/mini").rglob("*.ogg")), "speech.ogg")
    names: dict[str, object] = {}
    exec(example, names)
    subnet, same = names["subnet"], names["same"]
    assert isinstance(subnet, lh.Hubert)
    assert isinstance(same, lh.Hubert)
    assert subnet.config == same.config
    assert all(torch.equal(a, b) for a, b in zip(subnet.parameters(), same.parameters(), strict=True))


def test_ci_runs_what_the_readme_says(repo_root: Path) -> None:
    readme = (repo_root / "README.md").read_text()
    assert {"make pretrain", "make test"} <= set(re.findall(r"^make [a-z-]+", readme, re.MULTILINE))
    assert "make test" in (repo_root / ".ci/run").read_text().splitlines()
