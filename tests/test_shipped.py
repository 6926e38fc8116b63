"""The files of checkpoints/: listed, loadable, small, and a supernet whose subnets are what they say."""

import hashlib
import random
from pathlib import Path
from typing import Any

import pytest
import torch

import lighthubert as lh
from lighthubert.config import read_yaml
from lighthubert.data import MINI, Manifest

NUM_SUBNETS = 100


@pytest.fixture(scope="module")
def index(repo_root: Path) -> dict[str, Any]:
    return read_yaml(repo_root / "checkpoints/index.yaml")


@pytest.fixture(scope="module")
def supernet(repo_root: Path) -> lh.Supernet:
    loaded = lh.load(repo_root / "checkpoints/lighthubert-mini.safetensors")
    assert isinstance(loaded, lh.Supernet)
    return loaded.eval()


@pytest.fixture(scope="module")
def clips() -> tuple[torch.Tensor, torch.Tensor]:
    """Two clips of held-out speech, one of them padded."""
    manifest = Manifest.read(MINI / "valid.tsv")
    short = [int(row) for row in manifest.samples.argsort()[5:7]]
    waves = [lh.load_audio(manifest.file_path(row)) for row in short]
    return torch.nn.utils.rnn.pad_sequence(waves, batch_first=True), torch.tensor([len(w) for w in waves])


def test_the_index_lists_every_file(repo_root: Path, index: dict[str, Any]) -> None:
    folder = repo_root / "checkpoints"
    assert {entry["file"] for entry in index.values()} == {path.name for path in folder.glob("*.safetensors")}
    card = (folder / "README.md").read_text()
    for name, entry in index.items():
        content = (folder / entry["file"]).read_bytes()
        assert hashlib.sha256(content).hexdigest() == entry["sha256"], name
        assert len(content) == entry["bytes"] <= 10_000_000, name
        assert entry["licence"], name
        assert f"## {name}\n" in card


def test_a_hundred_subnets_are_standalone_nets(
    supernet: lh.Supernet, clips: tuple[torch.Tensor, torch.Tensor], tmp_path: Path
) -> None:
    """Extracted, saved, loaded: the same numbers as within the supernet, the counted parameters, and the arch."""
    rng, seen = random.Random(0), set()
    for _ in range(NUM_SUBNETS):
        arch = supernet.space.sample(rng)
        seen.add(arch)
        lh.save(supernet.sample(arch), tmp_path / "subnet.safetensors")
        subnet = lh.load(tmp_path / "subnet.safetensors")
        assert subnet.config.arch == arch
        assert sum(p.numel() for p in subnet.parameters()) == lh.cost.num_params(supernet.space.config(arch))
        with torch.no_grad():
            states, expected = subnet(*clips).hidden_states, supernet(*clips, arch).hidden_states
        assert len(states) == len(expected) == arch.num_layers + 1
        for state, wanted in zip(states, expected, strict=True):
            assert (state - wanted).abs().max() <= 1e-5 * wanted.abs().max()
    assert len(seen) == NUM_SUBNETS


def test_the_teacher_is_the_one_that_the_supernet_predicts(
    repo_root: Path, supernet: lh.Supernet, clips: tuple[torch.Tensor, torch.Tensor]
) -> None:
    """Its head on the largest subnet says more of the teacher's target than a constant does, on held-out speech."""
    from lighthubert.objectives import TargetConfig, targets

    assert supernet.predicts is not None
    teacher = lh.load(repo_root / supernet.predicts["teacher"]).eval()
    config = TargetConfig(**{key: value for key, value in supernet.predicts.items() if key != "teacher"})
    arch = supernet.space.largest()
    with torch.no_grad():
        output = teacher(*clips)
        target = targets(output, config)["last"]
        predicted = supernet.predict(supernet(*clips, arch).last_hidden_state, supernet.space.subnet(arch))
    valid = torch.arange(target.shape[1]) < output.lengths[:, None]
    constant = (target[valid] - target[valid].median(0).values).abs().mean()
    assert (predicted - target)[valid].abs().mean() < 0.5 * constant
