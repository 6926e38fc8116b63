"""`lighthubert profile`: its table of the shipped files, and what it says of wrong calls."""

import random
from pathlib import Path

import pytest
import torch

from lighthubert import cost, load, save
from lighthubert.config import write_yaml
from lighthubert.profile import main

SHORT = ["--seconds", "0.5"]


def table(capsys: pytest.CaptureFixture[str], *args: object) -> dict[str, list[float]]:
    """Row -> its numbers."""
    assert main([*map(str, args), *SHORT]) == 0
    text = capsys.readouterr().out
    assert "a clip of 0.5 s" in " ".join(text.split())
    (headings,) = (line for line in text.splitlines() if line.startswith("┃"))
    assert [cell.strip() for cell in headings.strip("┃ ").split("┃")] == ["M parameters", "GMACs", "ms", "x real time"]
    rows = [[cell.strip() for cell in line.strip("│").split("│")] for line in text.splitlines() if line[0] == "│"]
    return {f"{i} {name}": [float(cell) for cell in row if cell] for i, (name, *row) in enumerate(rows)}


@pytest.mark.parametrize("precision", cost.PRECISIONS)
def test_a_shipped_supernet(repo_root: Path, capsys: pytest.CaptureFixture[str], precision: str) -> None:
    path = repo_root / "checkpoints/lighthubert-mini.safetensors"
    rows, supernet = table(capsys, path, "--precision", precision), load(path)
    assert list(rows) == ["0 largest", "1 frontend", "2 transformer", "3 smallest", "4 frontend", "5 transformer"]
    for start, arch in {0: supernet.space.largest(), 3: supernet.space.smallest()}.items():
        whole, front, rest = list(rows.values())[start : start + 3]
        net = supernet.sample(arch)
        assert whole[0] == pytest.approx(sum(p.numel() for p in net.parameters()) / 1e6, abs=6e-4)
        assert front[0] == pytest.approx(sum(p.numel() for p in net.frontend.parameters()) / 1e6, abs=6e-4)
        assert whole[1] == pytest.approx(cost.macs(net.config, 8000) / 1e9, abs=6e-4)
        for column in range(3):
            assert whole[column] == pytest.approx(front[column] + rest[column], abs=0.02)
        assert min(whole[2], front[2], rest[2]) > 0
        assert whole[3] == pytest.approx(500 / whole[2], rel=0.05, abs=0.6)


def test_a_single_net_and_an_arch(repo_root: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert next(iter(table(capsys, repo_root / "checkpoints/hubert-mini.safetensors"))) == "0 hubert-mini"
    path = repo_root / "checkpoints/lighthubert-mini.safetensors"
    supernet = load(path)
    write_yaml(tmp_path / "mine.yaml", supernet.space.sample(random.Random(1)).to_dict())
    rows = table(capsys, path, "--arch", tmp_path / "mine.yaml")
    net = supernet.sample(tmp_path / "mine.yaml")
    save(net, tmp_path / "alone.safetensors")
    same = table(capsys, tmp_path / "alone.safetensors")
    assert next(iter(rows)) == "0 mine"
    assert [row[:2] for row in rows.values()] == [row[:2] for row in same.values()]
    assert rows["0 mine"][0] == pytest.approx(sum(p.numel() for p in net.parameters()) / 1e6, abs=6e-4)


def test_wrong_calls_say_why(repo_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    single, supernet = (repo_root / f"checkpoints/{name}-mini.safetensors" for name in ("hubert", "lighthubert"))
    for args, message in {
        (single, "--arch", "a.yaml"): f"{single}: holds a single net, not a supernet; there is no subnet to choose",
        (tmp_path / "no",): f"{tmp_path / 'no'}: no such file or folder",
        (supernet, "--arch", tmp_path / "no.yaml"): "no.yaml: ",
        (supernet, "--precision", "int8"): "precision: must be one of fp32, bf16, got 'int8'",
        (supernet, "--device", "tpu"): "device: must be cpu or cuda, got 'tpu'",
        (supernet, "--threads", 0): "threads: must be at least 1, got 0",
        (supernet, "--seconds", 0): "seconds: must be positive and finite, got 0.0",
        **({} if torch.cuda.is_available() else {(supernet, "--device", "cuda"): "device: cuda: torch cannot use it"}),
    }.items():
        assert main([str(arg) for arg in args]) == 2
        error = capsys.readouterr().err
        assert error.startswith("error: ")
        assert message in error
        assert error.count("\n") == 1
