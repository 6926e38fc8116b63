"""Valid files of every kind, small ones; each function writes some into an empty folder and names them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import test_dphubert
import tiny
import torch
import yaml
from foreign_nets import BASE, fairseq_state, hugging_face, wav2vec2, write_fairseq
from safetensors.torch import save_file

from lighthubert import save
from lighthubert.cost import Latency
from lighthubert.cost.latency import covering, entries, space_digest
from lighthubert.data import write_manifest
from lighthubert.search.record import Record
from lighthubert.train.checkpoints import PARTS, Checkpoints

SMALL: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "conv_dim": (8,) * 7,
    "num_conv_pos_embeddings": 8,
}
MODEL = {"encoder_embed_dim": 32, "encoder_attention_heads": 2, "encoder_layers": 1}
RECIPE = {
    "run_dir": "run",
    "seed": 1,
    "teacher": "t",
    "space": "s",
    "subnets": ["largest"],
    "train_manifest": "a",
    "valid_manifest": "b",
    "target": {"layers": 3},
    "data": tiny.DATA,
    "train": tiny.TRAIN,
}
UNITS = {
    "objective": "units",
    "model": tiny.PARENT,
    "units": {"num_units": 8},
    "run_dir": "run",
    "train_manifest": "a",
    "valid_manifest": "b",
    "data": tiny.DATA,
    "train": tiny.TRAIN,
}


def natives(folder: Path) -> list[Path]:
    tiny.write_nets(folder)
    save(tiny.random_hubert(tiny.NET), folder / "half.safetensors", torch.float16)
    return [folder / "net.safetensors", folder / "supernet.safetensors", folder / "half.safetensors"]


def fairseqs(folder: Path) -> list[Path]:
    state = fairseq_state(hugging_face(**BASE, **SMALL), False)
    settings = {"cfg": {"model": MODEL, "task": {"normalize": False}}}
    for name, zipped in (("zip", True), ("legacy", False)):
        write_fairseq(folder / f"{name}.pt", state, settings, _use_new_zipfile_serialization=zipped)
    torch.save({"model": state, **settings}, folder / "plain.pt")
    return [folder / f"{name}.pt" for name in ("zip", "legacy", "plain")]


def small_torchaudio() -> dict[str, torch.Tensor]:
    sizes = {
        "encoder_embed_dim": 32,
        "encoder_ff_interm_features": 32,
        "encoder_num_layers": 1,
        "encoder_pos_conv_kernel": 8,
        "encoder_num_heads": 2,
        "extractor_conv_layer_config": [(8, 10, 5), *[(8, 3, 2)] * 4, *[(8, 2, 2)] * 2],
    }
    return dict(wav2vec2(False, **sizes).state_dict())


def torchaudios(folder: Path) -> list[Path]:
    state = small_torchaudio()
    torch.save(state, folder / "zip.pt")
    torch.save(state, folder / "legacy.pt", _use_new_zipfile_serialization=False)
    save_file(state, folder / "net.safetensors")
    return [folder / "zip.pt", folder / "legacy.pt", folder / "net.safetensors"]


def hugging_faces(folder: Path, pickled: bool) -> list[Path]:
    model = hugging_face(**BASE, **SMALL)
    model.save_pretrained(folder / "hf")
    (folder / "hf/preprocessor_config.json").write_text('{"do_normalize": false}')
    if pickled:
        (folder / "hf/model.safetensors").unlink()
        torch.save(model.state_dict(), folder / "hf/pytorch_model.bin")
    return [folder / "hf"]


def wrapped(folder: Path) -> list[Path]:
    """As Lightning, DDP, torchaudio's pretraining, fairseq's fine-tuning, s3prl and DPHuBERT keep a net."""
    audio, state = small_torchaudio(), fairseq_state(hugging_face(**BASE, **SMALL), False)
    settings = {"cfg": {"model": MODEL, "task": {"normalize": False}}}
    contents = {
        "lightning": {"state_dict": {f"model.{k}": v for k, v in audio.items()}, "epoch": 3},
        "module": {"state_dict": {f"model.wav2vec2.{k}": v for k, v in audio.items()}, "hyper_parameters": {}},
        "ddp": {"model": {f"module.{k}": v for k, v in state.items()}, **settings},
        "finetuned": {"model": {f"w2v_encoder.w2v_model.{k}": v for k, v in state.items()}, **settings},
        "s3prl": {"model_weight": state, "model_cfg": MODEL, "task_cfg": {"normalize": False}},
    }
    for name, content in contents.items():
        torch.save(content, folder / f"{name}.pt")
    dphubert = test_dphubert.write(folder / "dphubert.pt", test_dphubert.pruned(False), test_dphubert.settings(False))
    return [*(folder / f"{name}.pt" for name in contents), dphubert]


def yamls(*values: Any) -> Callable[[Path], list[Path]]:
    def write(folder: Path) -> list[Path]:
        """Each as YAML and as JSON, which YAML includes."""
        for number, value in enumerate(values):
            (folder / f"{number}.json.yaml").write_text(json.dumps(value))
            (folder / f"{number}.yaml").write_text(yaml.safe_dump(value))
        return sorted(folder.iterdir())

    return write


def manifests(folder: Path) -> list[Path]:
    rows = [{"path": f"clip {i}.wav", "samples": 16000 + i, "text": "слово word"} for i in range(20)]
    write_manifest(folder / "a.tsv", ("path", "samples", "text"), rows)
    lines = [f"{folder}", *(f"{i}.wav\t{i + 9000}" for i in range(20))]
    (folder / "fairseq.tsv").write_text("\n".join(lines))
    return [folder / "a.tsv", folder / "fairseq.tsv"]


def sounds(folder: Path) -> list[Path]:
    noise = np.random.default_rng(0).normal(0, 0.1, (4000, 2)).astype(np.float32)
    for name in ("a.wav", "a.flac", "a.ogg", "a.mp3", "a.aiff", "a.au"):
        soundfile.write(folder / name, noise if name == "a.wav" else noise[:, 0], 16000)
    soundfile.write(folder / "b.wav", noise[:, 0], 8000, subtype="FLOAT")
    return sorted(folder.glob("*.*"))


def records(folder: Path) -> list[Path]:
    Record(tiny.FEW, lambda arch: arch.embed_dim / 7, [], folder / "scored.jsonl", {"seed": 1, "x": {"y": [2]}})(
        tiny.every_arch(tiny.FEW)[::40], "random"
    )
    return [folder / "scored.jsonl"]


def latencies(folder: Path) -> list[Path]:
    times = {entry: 1.5 for arch in covering(tiny.FEW) for entry in entries(tiny.FEW.config(arch))}
    Latency(tiny.FEW, {"space": space_digest(tiny.FEW), "threads": 1}, times).save(folder / "latency.json")
    return [folder / "latency.json"]


def models_of_words(folder: Path) -> list[Path]:
    text = "\\data\\\nngram 1=4\nngram 2=2\n\n\\1-grams:\n-1.0\t<s>\t-0.3\n-0.5\ta\t-0.2\n-0.7\tслово\t-0.1\n-1\t</s>\n"
    (folder / "lm.arpa").write_text(text + "\n\\2-grams:\n-0.4\t<s> a\n-0.2\ta слово\n\n\\end\\\n")
    return [folder / "lm.arpa"]


def training(folder: Path) -> list[Path]:
    net = torch.nn.Linear(8, 8)
    optimizer = torch.optim.AdamW(net.parameters())
    net(torch.ones(8)).sum().backward()
    optimizer.step()
    state = {
        "model": net.state_dict(),
        "optimizer": optimizer.state_dict(),
        "scaler": {},
        "recipe": {"seed": "1"},
        "reader": {"epoch": 1, "batch": 2, "key": "x"},
        "progress": {"step": 1, "evals": [{"values": {}}]},
    }
    assert state.keys() == PARTS
    (folder / "run").mkdir()
    Checkpoints(folder / "run", 1).save(1, state, None)
    return [folder / "run"]
