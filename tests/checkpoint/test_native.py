"""Our own files: what goes in comes out, and a wrong file says what is wrong."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from lighthubert import Hubert, HubertConfig, Supernet
from lighthubert.checkpoint import CheckpointError, load, save


@pytest.mark.parametrize("dtype", [None, torch.float32, torch.float16, torch.bfloat16])
def test_a_net_comes_back(tmp_path: Path, hubert: Hubert, wave: torch.Tensor, dtype: torch.dtype | None) -> None:
    save(hubert, tmp_path / "net.safetensors", dtype)
    net = load(tmp_path / "net.safetensors")
    assert isinstance(net, Hubert)
    assert net.config == hubert.config
    assert not net.training
    with safe_open(tmp_path / "net.safetensors", "pt") as file:
        assert {file.get_slice(name).get_dtype() for name in file.keys()} == {  # noqa: SIM118
            {None: "F32", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16"}[dtype]
        }
    for (name, ours), (other, theirs) in zip(net.named_parameters(), hubert.named_parameters(), strict=True):
        assert name == other
        assert ours.dtype == torch.float32
        assert ours.requires_grad
        assert torch.equal(ours, theirs.to(dtype or torch.float32).float())
    if dtype in (None, torch.float32):
        assert torch.equal(net(wave).last_hidden_state, hubert(wave).last_hidden_state)


def test_a_half_precision_net_keeps_its_precision(tmp_path: Path, hubert: Hubert) -> None:
    save(hubert.bfloat16(), tmp_path / "net.safetensors")
    assert load_file(tmp_path / "net.safetensors")["mask_embed"].dtype == torch.bfloat16


def test_a_supernet_comes_back_with_space_and_heads(tmp_path: Path, supernet: Supernet, wave: torch.Tensor) -> None:
    save(supernet, tmp_path / "net.safetensors")
    net = load(tmp_path / "net.safetensors")
    assert isinstance(net, Supernet)
    assert (net.space, net.space.name, net.predicts) == (supernet.space, "few", supernet.predicts)
    ours, theirs = net.state_dict(), supernet.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    arch = net.space.smallest()
    assert torch.equal(net(wave, None, arch).last_hidden_state, supernet(wave, None, arch).last_hidden_state)


def test_a_subnet_keeps_its_arch(tmp_path: Path, supernet: Supernet) -> None:
    save(supernet.sample(supernet.space.smallest()), tmp_path / "net.safetensors")
    net = load(tmp_path / "net.safetensors")
    assert net.config.arch == supernet.space.smallest()


def test_names_in_the_file_are_the_net_s_own(tmp_path: Path, supernet: Supernet) -> None:
    save(supernet, tmp_path / "net.safetensors")
    with safe_open(tmp_path / "net.safetensors", "pt") as file:
        names, metadata = set(file.keys()), file.metadata()
    own = {name for name, _ in supernet.hubert.named_parameters()}
    assert names == own | {"head.last.weight", "head.2.weight"}
    assert set(metadata) == {"lighthubert"}
    assert json.loads(metadata["lighthubert"])["format"] == 1


def test_parameters_do_not_depend_on_the_file(tmp_path: Path, hubert: Hubert) -> None:
    save(hubert, tmp_path / "net.safetensors")
    net = load(tmp_path / "net.safetensors")
    before = net.mask_embed.detach().clone()
    (tmp_path / "net.safetensors").write_bytes(b"\0" * (tmp_path / "net.safetensors").stat().st_size)
    assert torch.equal(net.mask_embed, before)


def test_a_failed_save_leaves_the_old_file(tmp_path: Path, hubert: Hubert, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "net.safetensors"
    save(hubert, path)
    before = path.read_bytes()

    def full(_: int) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space left"):
        save(Hubert(hubert.config), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


WRITER = """
import sys, torch
from lighthubert import Hubert, HubertConfig
from lighthubert.checkpoint import save
config = HubertConfig(embed_dim=192, num_heads=(3,) * 4, ffn_dim=(768,) * 4, conv_channels=(64,) * 7)
net = Hubert(config)
print("go", flush=True)
for i in range(10**9):
    torch.nn.init.constant_(net.mask_embed, i)
    save(net, sys.argv[1])
"""


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
def test_a_killed_save_leaves_a_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "go\n"
        while not path.exists():
            assert writer.poll() is None
        try:
            writer.wait(0.37)  # in the midst of some save
        except subprocess.TimeoutExpired:
            writer.send_signal(signal.SIGKILL)
    mask_embed = load(path).mask_embed
    assert torch.equal(mask_embed, mask_embed[:1].expand(192))


def test_a_file_may_be_read_by_whoever_may_read_new_files(tmp_path: Path, hubert: Hubert) -> None:
    (tmp_path / "other").write_text("")
    save(hubert, tmp_path / "net.safetensors")
    assert (tmp_path / "net.safetensors").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_only_half_and_full_precision_are_written(tmp_path: Path, hubert: Hubert) -> None:
    with pytest.raises(ValueError, match=r"dtype must be one of torch.float32, .*, got torch.int8"):
        save(hubert, tmp_path / "net.safetensors", torch.int8)


def rewritten(path: Path, net: Hubert | Supernet, change: Any) -> Path:
    """A saved net whose header went through `change` (a dict of changes, or the new text)."""
    save(net, path)
    with safe_open(path, "pt") as file:
        header = json.loads(file.metadata()["lighthubert"])
    text = change if isinstance(change, str) else json.dumps({**header, **change})
    save_file(load_file(path), path, {"lighthubert": text})
    return path


HEADERS = [
    ("{", "not JSON: Expecting property name"),
    ("3", "expected a JSON object, got 3"),
    ({"format": 2}, "format: this lighthubert reads 1, got 2"),
    ({"format": None}, "format: this lighthubert reads 1, got None"),
    ('{"format": 1}', "config: is missing"),
    ({"licence": "?", "predicts": 3}, "licence: unknown key; predicts: expected an object or null, got 3"),
    (
        {"config": {"embed_dim": "wide", "head_count": 3}},
        "config: HubertConfig: head_count: unknown key; .*embed_dim: .*got 'wide'",
    ),
    ({"config": 3}, "config: HubertConfig: .*got 3"),
    ({"space": {"embed_dim": [16]}}, "space: search space custom: parent: is missing"),
    ({"space": 3}, "space: "),
    ({"config": HubertConfig().to_dict()}, "space: its parent is not the net in 'config'"),
]


@pytest.mark.parametrize(("change", "message"), HEADERS)
def test_a_wrong_header_is_named(tmp_path: Path, supernet: Supernet, change: Any, message: str) -> None:
    path = rewritten(tmp_path / "net.safetensors", supernet, change)
    with pytest.raises(CheckpointError, match=rf"net\.safetensors: metadata 'lighthubert': {message}"):
        load(path)


def test_without_metadata(tmp_path: Path, hubert: Hubert) -> None:
    save_file(dict(hubert.named_parameters()), tmp_path / "net.safetensors")
    with pytest.raises(CheckpointError, match=r"metadata 'lighthubert': is missing; lighthubert.save writes it"):
        load(tmp_path / "net.safetensors")


def test_every_wrong_tensor_is_listed_at_once(tmp_path: Path, hubert: Hubert) -> None:
    path = tmp_path / "net.safetensors"
    save(hubert, path)
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    tensors = load_file(path)
    del tensors["encoder.norm.bias"], tensors["frontend.norms.0.bias"]
    tensors["frontend.proj.weight"] = torch.zeros(3, 4)
    tensors["mask_embed"] = torch.zeros(32, dtype=torch.int32)
    tensors["decoder.weight"] = torch.zeros(2)
    tensors["head.last.weight"] = torch.zeros(2, 32)  # heads belong to supernets
    save_file(tensors, path, metadata)
    with pytest.raises(CheckpointError) as caught:
        load(path)
    for problem in (
        "encoder.norm.bias: missing",
        "; frontend.norms.0.bias: missing",
        "frontend.proj.weight: shape (3, 4), expected (32, 8)",
        "mask_embed: expected a tensor of floats, got a tensor of torch.int32",
        "decoder.weight: unexpected",
        "head.last.weight: unexpected",
    ):
        assert problem in str(caught.value)
