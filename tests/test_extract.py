"""`lighthubert extract`: the file it writes is the subnet, and wrong calls say why."""

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tiny import ARCH, FEW, random_supernet

from lighthubert import Arch, Hubert, SearchSpace, Supernet
from lighthubert.checkpoint import load, save
from lighthubert.extract import main


@pytest.fixture
def supernet(tmp_path: Path) -> Supernet:
    """A tiny supernet, also saved as supernet.safetensors."""
    net = random_supernet(FEW)
    save(net, tmp_path / "supernet.safetensors")
    return net


def expected(which: str, space: SearchSpace) -> Arch:
    return {
        "--largest": space.largest(),
        "--smallest": space.smallest(),
        "--random": space.sample(random.Random(7)),
        "--arch": space.arch(ARCH),
    }[which]


@pytest.mark.parametrize("which", ["--largest", "--smallest", "--random", "--arch"])
def test_the_file_is_the_subnet(
    tmp_path: Path, supernet: Supernet, which: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "arch.json").write_text(json.dumps(ARCH))
    value = {"--random": ["7"], "--arch": [str(tmp_path / "arch.json")]}.get(which, [])
    output = tmp_path / "subnet.safetensors"
    main([str(tmp_path / "supernet.safetensors"), which, *value, "-o", str(output)])
    arch = expected(which, supernet.space)
    subnet = load(output)
    assert isinstance(subnet, Hubert)
    assert subnet.config.arch == arch
    wave = torch.randn(1, 8000)
    assert torch.equal(subnet(wave).last_hidden_state, supernet(wave, None, arch).last_hidden_state)
    printed = capsys.readouterr().out
    assert f"{sum(p.numel() for p in subnet.parameters()):,} parameters" in printed
    assert "G MACs" in printed
    assert f"{output.stat().st_size / 1e6:.1f} MB" in printed
    assert repr(arch) in printed


def failure(capsys: pytest.CaptureFixture[str], *args: object) -> str:
    """The message of a call that must fail: its own, or argparse's."""
    try:
        code: object = main([str(arg) for arg in args])
    except SystemExit as stopped:
        code = stopped.code
    assert code == 2
    return capsys.readouterr().err.rstrip("\n")


def test_wrong_calls_say_why(tmp_path: Path, supernet: Supernet, capsys: pytest.CaptureFixture[str]) -> None:
    source, output = tmp_path / "supernet.safetensors", tmp_path / "subnet.safetensors"
    single = tmp_path / "single.safetensors"
    save(supernet.sample(), single)
    before = single.read_bytes()
    message = f"error: {single}: holds a single net, not a supernet; there is no subnet to extract"
    assert failure(capsys, single, "--largest", "-o", output) == message
    message = f"error: {single}: exists already; --force replaces it"
    assert failure(capsys, source, "--largest", "-o", single) == message
    assert single.read_bytes() == before
    missing = tmp_path / "no"
    assert failure(capsys, missing, "--largest", "-o", output) == f"error: {missing}: no such file or folder"
    (tmp_path / "arch.yaml").write_text(json.dumps({**ARCH, "embed_dim": 20}))
    assert "embed_dim" in failure(capsys, source, "--arch", tmp_path / "arch.yaml", "-o", output)
    assert "arch.yaml" in failure(capsys, source, "--arch", tmp_path / "arch.yaml", "-o", output)
    nowhere = tmp_path / "no" / "net.safetensors"
    assert failure(capsys, source, "--largest", "-o", nowhere).startswith(f"error: {nowhere}: cannot be written: ")
    assert "one of the arguments --arch --largest --smallest --random is" in failure(capsys, source, "-o", output)
    assert "not allowed with" in failure(capsys, source, "--largest", "--smallest", "-o", output)
    assert not output.exists()
    main([str(source), "--smallest", "-o", str(single), "--force"])
    assert load(single).config.arch == supernet.space.smallest()


def test_a_light_installation_is_enough(tmp_path: Path, supernet: Supernet) -> None:
    """The module runs as a command where no library for training is installed."""
    block = (
        "import sys\nfor name in ('torchaudio', 'transformers', 'fairseq2', 'soundfile'): sys.modules[name] = None\n"
    )
    run = "import runpy; runpy.run_module('lighthubert.extract', run_name='__main__', alter_sys=True)"
    source, output = tmp_path / "supernet.safetensors", tmp_path / "subnet.safetensors"
    command = [sys.executable, "-c", block + run, str(source), "--random", "3", "-o", str(output)]
    subprocess.run(command, check=True, capture_output=True)
    assert load(output).config.arch == supernet.space.sample(random.Random(3))
