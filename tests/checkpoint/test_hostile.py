"""Files that nobody writes but to harm: each is refused in one line that names it, soon, and in little memory."""

import functools
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from foreign_nets import BASE, fairseq_state, hugging_face, save_bin, told, wav2vec2, write_fairseq
from safetensors.torch import save_file

from lighthubert import Hubert
from lighthubert.checkpoint import CheckpointError, load, save

MODEL = {"encoder_embed_dim": 128, "encoder_attention_heads": 2, "encoder_layers": 3}
TEN = 10**400
NESTED = "[" * 10**5

# In a process of its own: the time and the memory that a file costs.
LOAD = """
import json, os, resource, sys, time
from lighthubert.checkpoint import CheckpointError, load

def cost(path):
    start, before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        load(path)
        kind, message = "loaded", ""
    except Exception as error:
        kind, message = type(error).__name__, str(error)
    return kind, message, time.monotonic() - start, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024

for path in sys.stdin.read().split("\\0"):
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.write(writer, json.dumps(cost(path)).encode())
        os._exit(0)
    os.wait()
    os.close(writer)
    print(os.read(reader, 65536).decode() or '["died", "", 0, 0]')
"""


published = functools.cache(lambda: hugging_face(**BASE))


def in_header(**changes: Any) -> Callable[[Path], Path]:
    """A native net whose config has these values."""

    def write(path: Path) -> Path:
        header = {"format": 1, "config": {**tiny.NET.to_dict(), **changes}}
        save_file(dict(tiny.random_hubert(tiny.NET).named_parameters()), path, {"lighthubert": json.dumps(header)})
        return path

    return write


def in_space(**changes: Any) -> Callable[[Path], Path]:
    def write(path: Path) -> Path:
        net = tiny.random_supernet(tiny.FEW)
        header = {"format": 1, "config": net.config.to_dict(), "space": {**net.space.to_dict(), **changes}}
        save_file(dict(net.hubert.named_parameters()), path, {"lighthubert": json.dumps(header)})
        return path

    return write


def raw_header(text: str) -> Callable[[Path], Path]:
    def write(path: Path) -> Path:
        save_file({"mask_embed": torch.zeros(2)}, path, {"lighthubert": text})
        return path

    return write


def in_config(name: str = "config.json", text: str | None = None, **changes: Any) -> Callable[[Path], Path]:
    """A Hugging Face folder with these settings, or this text in a file."""

    def write(path: Path) -> Path:
        published().save_pretrained(path)
        values = json.loads((path / "config.json").read_text())
        (path / name).write_text(json.dumps({**values, **changes}) if text is None else text)
        return path

    return write


def in_bin(change: Callable[[dict[Any, Any]], dict[Any, Any]]) -> Callable[[Path], Path]:
    def write(path: Path) -> Path:
        in_config()(path)
        (path / "model.safetensors").unlink()
        torch.save(change(dict(published().state_dict())), path / "pytorch_model.bin")
        return path

    return write


def in_index(shard: str) -> Callable[[Path], Path]:
    def write(path: Path) -> Path:
        in_config("model.safetensors.index.json", json.dumps({"weight_map": {"a": shard}}))(path)
        (path / "model.safetensors").unlink()
        if shard == "pipe":
            os.mkfifo(path / "pipe")
        return path

    return write


def in_fairseq(cfg: Any = MODEL, change: Callable[[torch.Tensor], torch.Tensor] | None = None,
               **state: Any) -> Callable[[Path], Path]:  # fmt: skip
    """change: of every tensor."""

    def write(path: Path) -> Path:
        tensors = fairseq_state(published(), False)
        tensors = {name: change(t) if change else t for name, t in tensors.items()} | state
        write_fairseq(path, tensors, {"cfg": {"model": cfg}})
        return path

    return write


def lying(**changes: Any) -> Callable[[Path], Path]:
    """A safetensors file whose header says something else of its one tensor."""

    def write(path: Path) -> Path:
        entry = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8], **changes}
        text = json.dumps({"mask_embed": entry}).encode()
        path.write_bytes(len(text).to_bytes(8, "little") + text + b"\0" * 8)
        return path

    return write


def nodes() -> Any:
    shared: Any = []
    for _ in range(100):
        shared = [shared, shared]
    return {**MODEL, "x": shared}


def blown_up(tensor: torch.Tensor) -> torch.Tensor:
    return torch.zeros((1,) * tensor.ndim).expand(tensor.shape)


FILES: dict[str, tuple[Callable[[Path], Path], str]] = {
    "pos_conv_depth": (in_header(pos_conv_depth=10**9), "pos_conv_depth: 1,000,000,000 are more than any net has"),
    "layers": (in_header(num_heads=[4] * 50_000, ffn_dim=[48] * 50_000), "num_heads: 50,000 are more"),
    "convolutions": (
        in_header(conv_channels=[8] * 50_000, conv_kernels=[2] * 50_000, conv_strides=[2] * 50_000), "50,000 are more"),
    "more layers": (in_header(num_heads=[4] * 10**5, ffn_dim=[48] * 10**5), "more than 200,000 values"),
    "a kernel": (in_header(pos_conv_kernel=10**18), "encoder.pos_convs.0.weight: shape"),
    "a larger kernel": (in_header(pos_conv_kernel=10**30), "more than 64 bits"),
    "kernels": (in_header(conv_kernels=[10**18] * 7), "frontend.convs.0.weight: shape"),
    "head_dim": (in_header(head_dim=10**18), "attention.q_proj.weight: shape"),
    "dropout": (in_header(dropout=TEN), "more than 64 bits"),
    "many layers": (
        in_header(num_heads=[4] * 900, ffn_dim=[48] * 900, layers=None),
        "encoder.layers.3.attention.q_proj.weight: missing",
    ),
    "choices": (in_space(embed_dim=list(range(1, 10**5))), "embed_dim: expected 1,000 choices at most"),
    "more choices": (in_space(embed_dim=list(range(1, 10**6))), "header of .* at most|more than 200,000"),
    "units": (in_space(ffn_ratio=[1e9]), "ffn_ratio: 1000000000.0 x"),
    "strided units": (in_space(ffn_ratio=[1e9], ffn_rule="strided"), "ffn_ratio: 1000000000.0 x"),
    "a ratio": (in_space(ffn_ratio=[1e308]), "ffn_ratio: expected numbers below"),
    "a width": (in_space(embed_dim=[TEN]), "more than 64 bits"),
    "a rule": (in_space(ffn_rule=[]), "ffn_rule: must be one of"),
    "nested": (raw_header(NESTED), "metadata 'lighthubert': not JSON: nested more than"),
    "digits": (raw_header("1" * 5000), "metadata 'lighthubert': not JSON: "),
    "strides": (in_config(conv_stride=[1] * 10**6), "conv_stride|more than|config.json"),
    "fewer strides": (in_config(conv_stride=[1] * 10**5), "conv_channels: 100,000 are more"),
    "a width by the settings": (in_config(hidden_size=64), "64 wide by the settings, but tensors of 128"),
    **{
        f"{key} by the settings": (in_config(**{key: size}), f"{key}: .* by the settings, but tensors of")
        for key, size in {
            "intermediate_size": 96,
            "conv_dim": [16] * 6 + [8],
            "conv_kernel": [10, 3, 3, 3, 3, 2, 3],
            "num_conv_pos_embeddings": 64,
            "num_conv_pos_embedding_groups": "16",
        }.items()
    },
    **{
        f"fairseq's {rule}": (in_fairseq({**MODEL, key: size}), rf"{rule}.* by the settings, but tensors of")
        for key, size, rule in (
            ("encoder_embed_dim", 64, "64 wide"),
            ("encoder_layers", 4, "4 layers"),
            ("encoder_ffn_embed_dim", 10**9, "encoder_ffn_embed_dim: 1000000000"),
            ("conv_feature_layers", "[(16,10,5)]+[(16,3,2)]*4+[(8,2,2)]*2", "conv_feature_layers: "),
            ("conv_feature_layers", "[(16,10,5)]+[(16,4,2)]*4+[(16,2,2)]*2", "its kernels: "),
            ("conv_pos", [32], r"conv_pos: \[32\]"),
            ("conv_pos_groups", 8, "conv_pos_groups: 8"),
        )
    },
    "nested settings": (in_config("config.json", NESTED), "config.json: cannot be read as JSON: nested more than"),
    "nested preprocessor": (in_config("preprocessor_config.json", NESTED), "preprocessor_config.json: .*nested more"),
    "a number for a key": (in_bin(lambda state: {1: torch.zeros(1)}), "pytorch_model.bin: expected a state dict"),
    "a layer's number": (
        in_bin(lambda state: {**state, f"encoder.layers.{'1' * 5000}.layer_norm.bias": torch.zeros(1)}), "unexpected"),
    "a shard's name": (in_index("\ud800" * 300), "surrogates not allowed"),
    "a longer shard's name": (in_index("a" * 5000), "File name too long"),
    "a pipe for a shard": (in_index("pipe"), "pipe: not a regular file"),
    "terms": (
        in_fairseq({**MODEL, "conv_feature_layers": "+".join(["[(4,3,2)]*99"] * 20_000)}), "expected terms like"),
    "shared lists": (in_fairseq(nodes()), "settings: nested more than 50 deep, or more than 200,000 values"),
    "meta": (in_fairseq(change=lambda t: t.to("meta")), "mask_emb: expected a tensor of floats, got one without"),
    "one on meta": (in_fairseq(mask_emb=torch.zeros(128, device="meta")), "mask_emb: .* without its numbers"),
    "sparse": (in_fairseq(mask_emb=torch.zeros(128).to_sparse()), "mask_emb: .*got a nested or sparse one"),
    "of several shapes": (
        in_fairseq(mask_emb=torch.nested.nested_tensor([torch.zeros(2)], layout=torch.jagged)), "refused: .*nested"),
    "strided by zero": (in_fairseq(change=blown_up), "mask_emb: .*whose numbers overlap"),
    "one number for a million": (
        in_fairseq(mask_emb=torch.zeros(1).expand(10**9)), r"mask_emb: .*\(1000000000,\) whose numbers overlap"),
    "one storage for all": (
        in_fairseq(change=lambda t: ONE[: t.numel()].reshape(t.shape)),
        "its tensors share their numbers"),
    "a key of 1 MB": (in_fairseq(**{"\x1b[2J\n" * (1 << 17): torch.zeros(1)}), r"\\x1b\[2J\\n"),
    "bytes before": (lying(data_offsets=[-8, 0]), r"are not the bytes from -8 to 0"),
    "bytes behind": (lying(data_offsets=[0, 10**12], shape=[250_000_000_000]), "bytes of tensors by the header, 8 in"),
    "a shape": (lying(shape=[10**18]), r"\[1000000000000000000\] of F32 are not the bytes"),
    "a turned shape": (lying(shape=[-1, -2]), r"\[-1, -2\] of F32 are not the bytes"),
    "a list for a type": (lying(dtype=["F32"]), "TypeError"),
    "no shape": (lying(shape=None), "TypeError"),
    "an unknown type": (lying(dtype="F33"), "KeyError: 'F33'"),
}  # fmt: skip
ONE = torch.zeros(2**15)


@pytest.mark.skipif(os.name != "posix", reason="asks for the memory of processes")
def test_hostile_files(tmp_path: Path) -> None:
    """At most twice a file's bytes and 100 MB; the time is that of a few MB read in Python, on a slow machine."""
    paths = [write(tmp_path / f"{i}.net") for i, (write, _) in enumerate(FILES.values())]
    text = "\0".join(map(str, paths))
    run = subprocess.run([sys.executable, "-c", LOAD], input=text, capture_output=True, text=True, check=True)
    lines = run.stdout.splitlines()
    wrong = []
    for (name, (_, rule)), path, line in zip(FILES.items(), paths, lines, strict=True):
        kind, message, seconds, memory = json.loads(line)
        size = sum(p.stat().st_size for p in [path, *path.glob("*")] if not p.is_fifo())
        fits = kind == "CheckpointError" and len(message) <= 1000 and message.isprintable() and str(path) in message
        if not (fits and re.search(rule, message) and seconds < 10 and memory < 2 * size + 100e6):
            wrong.append((name, kind, message, seconds, memory, size))
    assert not wrong, "\n".join(f"{w[0]} {w[1]} {w[3]:.1f} {w[4]:,} {w[5]:,} {w[2]}" for w in wrong)


@pytest.mark.skipif(os.name != "posix", reason="pipes and devices with names")
def test_what_is_no_file_is_refused_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    for name, rule in {
        "pipe": "not a regular file",
        "/dev/zero": "not a regular file",
        "/proc/self/mem": "Input/output error",
        "a" * 300: "no such file or folder",
        "a/" * 2500: "no such file or folder",
        "a\0b": "no such file or folder",
        "\ud800": "no such file or folder",
    }.items():
        with pytest.raises(CheckpointError, match=rule) as caught:
            load(name)
        assert len(str(caught.value)) <= 1000
        assert str(caught.value).isprintable()


@pytest.mark.parametrize("written", [b"", b"0" * 1000])
def test_a_file_that_is_written_to_while_it_is_read_is_refused(
    tmp_path: Path, hubert: Hubert, written: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In place, as cp does; a mapped file would end the process."""
    path = tmp_path / "net.safetensors"
    save(hubert, path)
    empty = torch.empty

    def meanwhile(*args: Any, **kwargs: Any) -> torch.Tensor:  # what every tensor is read into
        path.write_bytes(written)
        return empty(*args, **kwargs)

    monkeypatch.setattr(torch, "empty", meanwhile)
    with pytest.raises(CheckpointError, match=r"net\.safetensors: .*(the file ends before|was written to while)"):
        load(path)


@pytest.mark.slow
def test_threads_load_four_kinds_of_files(tmp_path: Path, hubert: Hubert) -> None:
    """320 loads by 8 threads; names that one file needs are not taken away from another's."""
    save(hubert, tmp_path / "native")
    save_bin(tmp_path / "hugging_face", published())
    in_fairseq()(tmp_path / "fairseq")
    torch.save(wav2vec2(False).state_dict(), tmp_path / "torchaudio")
    kinds = {"native": None, "hugging_face": None, "fairseq": None, "torchaudio": told(False)}
    with ThreadPoolExecutor(8) as pool:
        nets = list(pool.map(lambda kind: load(tmp_path / kind, kinds[kind]), list(kinds) * 80))
    for first, *others in (nets[i::4] for i in range(4)):
        assert isinstance(first, Hubert)
        assert all(torch.equal(first.mask_embed, net.mask_embed) for net in others)
