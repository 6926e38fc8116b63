"""Exported nets in onnxruntime, OpenVINO and torch.export against the nets that they were made of."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import openvino
import pytest
import soundfile
import tiny
import torch

import lighthubert as lh
from lighthubert.export.__main__ import main
from lighthubert.export.graph import Graph
from lighthubert.export.prove import ExportError, prove
from lighthubert.finetune.apply import transcribe
from lighthubert.tasks.config import TaskConfig
from lighthubert.tasks.model import TaskModel
from lighthubert.tasks.vocabulary import BLANK, SPACE, Vocabulary

TWO = replace(tiny.NET, num_heads=(4, 2), ffn_dim=(48, 24))
NETS = {
    "base": TWO,
    "large": replace(TWO, **tiny.LARGE),
    "pruned": replace(TWO, num_heads=(0, 3), ffn_dim=(40, 0)),
}
BATCHES = [(1, 400), (1, 719), (2, 720), (5, 401), (2, 16_000), (1, 480_000)]  # clips, samples
WITHOUT = """
import sys
sys.modules.update(torch=None, lighthubert=None, torchaudio=None)
exec(open(sys.argv.pop(1), encoding="utf-8").read())
"""


def net_of(name: str) -> lh.Hubert:
    return tiny.random_hubert(NETS[name], gain=5).eval()


def run_onnx(folder: Path) -> Callable[..., dict[str, np.ndarray]]:
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    names = [output.name for output in session.get_outputs()]
    return lambda x, n: dict(zip(names, session.run(None, {"input_values": x, "input_lengths": n}), strict=True))


def run_openvino(folder: Path) -> Callable[..., dict[str, np.ndarray]]:
    net = openvino.compile_model(folder / "model.xml", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda x, n: {port.any_name: v for port, v in net({"input_values": x, "input_lengths": n}).items()}


def run_torch(folder: Path) -> Callable[..., dict[str, np.ndarray]]:
    net = torch.export.load(folder / "model.pt2").module()
    return lambda x, n: {k: v.numpy() for k, v in net(torch.from_numpy(x), torch.from_numpy(n)).items()}


@torch.no_grad()
def compare(net: lh.Hubert, run: Callable[..., dict[str, np.ndarray]]) -> None:
    generator = torch.Generator().manual_seed(3)
    for clips, samples in BATCHES:
        waveform = torch.randn(clips, samples, generator=generator)
        lengths = torch.tensor([samples, *(max(400, samples // (2 + i)) for i in range(clips - 1))])
        expected, found = net(waveform, lengths), run(waveform.numpy(), lengths.numpy())
        assert found["lengths"].tolist() == expected.lengths.tolist()
        states = {"last_hidden_state": -1, "hidden_states.0": 0, "hidden_states.1": 1}
        assert found.keys() == {*states, "lengths"}
        for name, number in states.items():
            state = expected.hidden_states[number]
            assert found[name].shape == tuple(state.shape)
            assert np.abs(found[name] - state.numpy()).max() < 1e-4 * float(state.std()), (name, clips, samples)


@pytest.mark.parametrize("name", NETS)
def test_onnx(tmp_path: Path, name: str) -> None:
    measured = lh.to_onnx(net_of(name), tmp_path / "net", layers=[0, 1])
    assert 0 < measured.error < 1e-4
    compare(net_of(name), run_onnx(tmp_path / "net"))


@pytest.mark.filterwarnings("ignore:The given buffer is not writable")  # torch's own way to read its file
@pytest.mark.parametrize(("to", "run"), [(lh.to_openvino, run_openvino), (lh.to_torch, run_torch)])
def test_openvino_and_torch(tmp_path: Path, to: Callable[..., object], run: Callable[..., Callable]) -> None:
    to(net_of("large"), tmp_path / "net", layers=[0, 1])
    compare(net_of("large"), run(tmp_path / "net"))


@torch.no_grad()
def ctc_model(clip: torch.Tensor) -> TaskModel:
    """Random weights whose logits are around 0 for a clip: it has a long text."""
    torch.manual_seed(0)
    task = TaskConfig(kind="ctc", column="transcript", layers="weighted")
    model = TaskModel(net_of("base"), task, Vocabulary((BLANK, SPACE, *"abcdeé"))).eval()
    model.head.proj.weight.normal_()
    model.head.proj.bias -= model(clip[None])[0][0].mean(0)
    return model


def test_texts_without_torch_are_those_of_the_net(tmp_path: Path, repo_root: Path) -> None:
    files = sorted((repo_root / "lighthubert/data/mini/en").glob("*.ogg"))[:3]
    model, clips = ctc_model(lh.load_audio(files[0])), []
    model.save(tmp_path / "ctc.safetensors")
    assert main([str(tmp_path / "ctc.safetensors"), "-o", str(tmp_path / "net"), "--to", "onnx", "--task"]) == 0
    for i, name in enumerate(files):
        clips.append(str(tmp_path / f"{i}.wav"))
        soundfile.write(clips[-1], lh.load_audio(name).numpy(), 16_000, subtype="FLOAT")
    words = [sys.executable, "-c", WITHOUT, str(repo_root / "docs/transcribe.py"), str(tmp_path / "net"), *clips]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    expected = [transcribe(model, Path(clip)).splitlines()[0] for clip in clips]
    assert done.stdout.splitlines() == expected
    assert all(len(line.split("\t")[1]) > 10 for line in expected), expected


def test_the_folder_and_its_card(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    few = tiny.random_supernet(tiny.FEW)
    lh.save(few, tmp_path / "few.safetensors")
    lh.config.write_yaml(tmp_path / "arch.yaml", tiny.ARCH)
    words = [str(tmp_path / "few.safetensors"), "-o", str(tmp_path / "net"), "--to", "torch", "--arch"]
    assert main([*words, str(tmp_path / "arch.yaml")]) == 0
    assert "of an output's deviation from the net" in capsys.readouterr().out
    assert sorted(path.name for path in (tmp_path / "net").iterdir()) == ["README.md", "config.json", "model.pt2"]
    settings = json.loads((tmp_path / "net/config.json").read_text())
    net = few.sample(few.space.arch(tmp_path / "arch.yaml"))
    assert lh.HubertConfig.from_dict(settings["net"]) == net.config
    assert settings["outputs"] == ["last_hidden_state", "lengths"]
    assert "last_hidden_state (1, 49, 16)" in (tmp_path / "net/README.md").read_text()  # the example ran
    assert main([*words, str(tmp_path / "arch.yaml")]) == 2
    assert "net: exists already and is not an empty folder" in capsys.readouterr().err


WRONG = {
    "--to onnx": "few.safetensors: holds a supernet; --arch says which subnet",
    "--to onnx --task": "few.safetensors: holds no fine-tuned task",
    "--to onnx --arch arch.yaml --layers 4": "layers: must lie within 0 and 2, got 4",
}


@pytest.mark.parametrize("words", WRONG)
def test_wrong_inputs(
    tmp_path: Path, words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    lh.save(tiny.random_supernet(tiny.FEW), "few.safetensors")
    lh.config.write_yaml("arch.yaml", tiny.ARCH)
    assert main(["few.safetensors", "-o", "net", *words.split()]) == 2
    assert WRONG[words] in capsys.readouterr().err
    assert not list(tmp_path.glob("*net"))


def test_a_missing_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(ValueError, match=r"openvino: .* pip install 'lighthubert\[export\]'"):
        lh.to_openvino(net_of("base"), tmp_path / "net")
    assert not list(tmp_path.iterdir())


@torch.no_grad()
def test_a_graph_that_disagrees_is_an_error() -> None:
    graph = Graph(net_of("base"))

    def run(x: np.ndarray, n: np.ndarray, spoil: Callable[[dict], object]) -> dict[str, np.ndarray]:
        output = graph.model(torch.from_numpy(x), torch.from_numpy(n))
        found = {name: value.numpy() for name, value in graph.named(output).items()}
        spoil(found)
        return found

    assert prove(graph, lambda x, n: run(x, n, lambda found: None), "same") < 1e-6
    for spoil, told in (
        (lambda found: found["last_hidden_state"].__iadd__(1e-3), r"last_hidden_state is \S+e-04 of its deviation"),
        (lambda found: found["last_hidden_state"].fill(np.nan), "last_hidden_state is nan of its deviation"),
        (lambda found: found["lengths"].__iadd__(1), "lengths are"),
        (lambda found: found.update(last_hidden_state=found["last_hidden_state"][:, 1:]), "has shape"),
    ):
        with pytest.raises(ExportError, match=told):
            prove(graph, lambda x, n, spoil=spoil: run(x, n, spoil), "spoilt")
