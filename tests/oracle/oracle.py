"""What the original LightHuBERT computes with synthetic weights: rules that make the weights and the input, and its
recorded outputs (README.md beside this file)."""

from __future__ import annotations

import hashlib
import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

HERE = Path(__file__).parent
DIGESTS = {
    "default": "1b07b957576515e7a46eeca047fdb423516498638b5ddc8d7661279ed06504c9",
    "layer_norm": "b639e869a703effda3722fa13368293bd87187626368b5fa6d0a15fc287acf5d",
}
# How much wider than 1 / sqrt(fan in) a matrix is drawn, by the end of its module's name.
GAINS = {"q_proj": 2.0, "k_proj": 2.0, "out_proj": 0.5, "fc1": 1.5}
# What s3prl's bundled LightHuBERT runs of stage 2's files, by space.
S3PRL_ARCHS = {
    "small": {"embed_dim": 384, "num_layers": 12, "num_heads": 6, "ffn_ratio": 4.0},
    "base": {"embed_dim": 640, "num_layers": 12, "num_heads": 10, "ffn_ratio": 4.0},
}
CONVS = ((1, 10), (512, 3), (512, 3), (512, 3), (512, 3), (512, 2), (512, 2))


def shapes(mode: str) -> dict[str, tuple[int, ...]]:
    """Every tensor of the released layout; mode "default" (one group norm) or "layer_norm" (seven)."""
    matrices: dict[str, tuple[int, ...]] = {"post_extract_proj": (768, 512)}
    vectors = {"layer_norm": 512, "encoder.layer_norm": 768}
    for i in range(len(CONVS)):
        if mode == "layer_norm" or i == 0:
            vectors[f"feature_extractor.conv_layers.{i}.2" + ".1" * (mode == "layer_norm")] = 512
    for i in range(12):
        layer = f"encoder.layers.{i}"
        matrices |= {f"{layer}.self_attn.{x}_proj": (768, 768) for x in ("q", "k", "v", "out")}
        matrices |= {f"{layer}.fc1": (3072, 768), f"{layer}.fc2": (768, 3072)}
        vectors |= {f"{layer}.{norm}_layer_norm": 768 for norm in ("self_attn", "final")}
    found: dict[str, tuple[int, ...]] = {"mask_emb": (768,), "layer_pred_heads.11.weight": (768, 768)}
    found |= {f"feature_extractor.conv_layers.{i}.0.weight": (512, *conv) for i, conv in enumerate(CONVS)}
    found |= {f"{name}.weight": shape for name, shape in matrices.items()}
    found |= {f"{name}.bias": shape[:1] for name, shape in matrices.items()}
    found |= {f"{name}.{leaf}": (size,) for name, size in vectors.items() for leaf in ("weight", "bias")}
    found |= {"encoder.pos_conv.0.bias": (768,), "encoder.pos_conv.0.weight_g": (1, 1, 128)}
    return found | {"encoder.pos_conv.0.weight_v": (768, 48, 128)}


def tensor(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """The values of one tensor: normal numbers from a stream of its own, shifted and scaled by its kind."""
    generator = np.random.Generator(np.random.PCG64(zlib.crc32(name.encode())))
    values = generator.standard_normal(shape, dtype=np.float32)
    if name == "mask_emb":
        return values
    if name.endswith(".weight_g"):
        return np.float32(0.5) + np.abs(values)
    if name.endswith(".bias"):
        return np.float32(0.02) * values
    if len(shape) == 1:
        return np.float32(1) + np.float32(0.1) * values
    gain = 1.5 if name.startswith("feature_extractor.") else GAINS.get(name.split(".")[-2], 1.0)
    return np.float32(gain / np.sqrt(np.prod(shape[1:], dtype=float))) * values


def state_dict(mode: str) -> dict[str, Tensor]:
    """The whole network in the released layout, 95 M numbers: takes a second and 380 MB."""
    return {name: torch.from_numpy(tensor(name, shape)) for name, shape in shapes(mode).items()}


def write_released(path: Path, state: dict[str, Tensor], model: dict[str, Any]) -> Path:
    """A file in the published layout: plain dicts, and three tensors of HuBERT's own objective."""
    extras = {"label_embs_concat": torch.ones(504, 256), "final_proj.weight": torch.ones(256, 768)}
    extras["final_proj.bias"] = torch.ones(256)
    torch.save({"cfg": {"model": model, "task": {"normalize": True}}, "model": {**state, **extras}}, path)
    return path


def digest(state: dict[str, Tensor]) -> str:
    found = hashlib.sha256()
    for name in sorted(state):
        found.update(name.encode() + state[name].numpy().astype("<f4").tobytes())
    return found.hexdigest()


def wave(num_samples: int) -> Tensor:
    """(S,) normal numbers, normalised over the clip."""
    values = np.random.Generator(np.random.PCG64(7)).standard_normal(num_samples).astype(np.float32).astype(np.float64)
    return torch.from_numpy(((values - values.mean()) / np.sqrt(values.var() + 1e-5)).astype(np.float32))


def records() -> list[dict[str, Any]]:
    """name, space, mode, arch (num_layers, embed_dim, num_heads, ffn_ratio, ffn_dim), num_params, inputs (key ->
    samples) and arrays of every recorded subnet."""
    entries = json.loads((HERE / "records.json").read_text())
    with np.load(HERE / "records.npz", allow_pickle=False) as file:
        for entry in entries:
            start = entry["name"] + "/"
            entry["arrays"] = {name.removeprefix(start): file[name] for name in file.files if name.startswith(start)}
    return entries


def waves(record: dict[str, Any]) -> dict[str, Tensor]:
    """The record's inputs (S,), by key."""
    return {key: wave(num_samples) for key, num_samples in record["inputs"].items()}


def compare(record: dict[str, Any], key: str, states: list[Tensor], head: Tensor | None = None) -> dict[str, float]:
    """The largest absolute differences to the record of one input: at 64 places of every state ("values"), of their
    means and deviations, of the whole last state where it is recorded ("last"), of the head's output (T, 768) if given.

    states: (T, E) each, the front-end's projection first. Raises ValueError for another number or shape of them.
    """
    arrays = {name.removesuffix("_" + key): a for name, a in record["arrays"].items() if name.endswith("_" + key)}
    shape = tuple(arrays["shape"].tolist())
    found = np.stack([s.detach().double().numpy() for s in states])
    if found.shape != (len(arrays["val"]), *shape):
        raise ValueError(f"{record['name']}: expected {len(arrays['val'])} states {shape}, got {found.shape}")
    flat = found.reshape(len(found), -1)
    errors = {
        "values": np.abs(flat[:, arrays["pos"]] - arrays["val"]).max(),
        "mean": np.abs(flat.mean(1) - arrays["mean"]).max(),
        "std": np.abs(flat.std(1) - arrays["std"]).max(),
    }
    if "last" in arrays:
        errors["last"] = np.abs(found[-1] - arrays["last"]).max()
    if head is not None:
        errors["head"] = np.abs(head.detach().double().numpy().reshape(-1)[arrays["headpos"]] - arrays["headval"]).max()
    return {name: float(error) for name, error in errors.items()}
