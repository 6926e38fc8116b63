"""What other programs call the parts of a HuBERT: one flat table per layout, and the translation to our names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

# Module (or whole key) in the file -> ours. {i} is a layer's number, {x} one of q, k, v, out. A module's tensors follow
# their module: .weight, .bias, or the two halves of a weight norm.
FAIRSEQ = {
    "mask_emb": "mask_embed",
    "feature_extractor.conv_layers.{i}.0": "frontend.convs.{i}",
    "feature_extractor.conv_layers.0.2": "frontend.norms.0",
    "feature_extractor.conv_layers.{i}.2.1": "frontend.norms.{i}",
    "layer_norm": "frontend.norm",
    "post_extract_proj": "frontend.proj",
    "encoder.pos_conv.0": "encoder.pos_convs.0",
    "encoder.pos_conv.{i}.0": "encoder.pos_convs.{i}",
    "encoder.layer_norm": "encoder.norm",
    "encoder.layers.{i}.self_attn.{x}_proj": "encoder.layers.{i}.attention.{x}_proj",
    "encoder.layers.{i}.self_attn_layer_norm": "encoder.layers.{i}.attention_norm",
    "encoder.layers.{i}.fc1": "encoder.layers.{i}.fc1",
    "encoder.layers.{i}.fc2": "encoder.layers.{i}.fc2",
    "encoder.layers.{i}.final_layer_norm": "encoder.layers.{i}.ffn_norm",
}
LIGHTHUBERT = {**FAIRSEQ, "layer_pred_heads.11": "head.last"}
HUGGING_FACE = {
    "masked_spec_embed": "mask_embed",
    "feature_extractor.conv_layers.{i}.conv": "frontend.convs.{i}",
    "feature_extractor.conv_layers.{i}.layer_norm": "frontend.norms.{i}",
    "feature_projection.layer_norm": "frontend.norm",
    "feature_projection.projection": "frontend.proj",
    "encoder.pos_conv_embed.conv": "encoder.pos_convs.0",
    "encoder.pos_conv_embed.layers.{i}.conv": "encoder.pos_convs.{i}",  # data2vec
    "encoder.layer_norm": "encoder.norm",
    "encoder.layers.{i}.attention.{x}_proj": "encoder.layers.{i}.attention.{x}_proj",
    "encoder.layers.{i}.layer_norm": "encoder.layers.{i}.attention_norm",
    "encoder.layers.{i}.feed_forward.intermediate_dense": "encoder.layers.{i}.fc1",
    "encoder.layers.{i}.feed_forward.output_dense": "encoder.layers.{i}.fc2",
    "encoder.layers.{i}.final_layer_norm": "encoder.layers.{i}.ffn_norm",
}
TORCHAUDIO = {
    "mask_generator.mask_embedding": "mask_embed",  # of HuBERTPretrainModel
    "feature_extractor.conv_layers.{i}.conv": "frontend.convs.{i}",
    "feature_extractor.conv_layers.{i}.layer_norm": "frontend.norms.{i}",
    "feature_extractor.dummy_weight": "frontend.scale",  # of DPHuBERT
    "encoder.feature_projection.layer_norm": "frontend.norm",
    "encoder.feature_projection.projection": "frontend.proj",
    "encoder.transformer.pos_conv_embed.conv": "encoder.pos_convs.0",
    "encoder.transformer.layer_norm": "encoder.norm",
    "encoder.transformer.layers.{i}.attention.{x}_proj": "encoder.layers.{i}.attention.{x}_proj",
    "encoder.transformer.layers.{i}.layer_norm": "encoder.layers.{i}.attention_norm",
    "encoder.transformer.layers.{i}.feed_forward.intermediate_dense": "encoder.layers.{i}.fc1",
    "encoder.transformer.layers.{i}.feed_forward.output_dense": "encoder.layers.{i}.fc2",
    "encoder.transformer.layers.{i}.final_layer_norm": "encoder.layers.{i}.ffn_norm",
}
# Ours alone: a native file.
NATIVE = {name: name for name in ["head.{n}", "frontend.scale", *dict.fromkeys(FAIRSEQ.values())]}

LEAF = r"(\.weight|\.bias|\.weight_g|\.weight_v|\.parametrizations\.weight\.original[01])?"
HALVES = {".parametrizations.weight.original0": ".weight_g", ".parametrizations.weight.original1": ".weight_v"}
# What programs put before the names of a net that lies in another: DDP, torch.compile, Lightning, torchaudio's bundles,
# models of tasks and of pretraining, fairseq's fine-tuned nets. One may lie in another: any of them, again and again.
WRAPPERS = re.compile(
    r"(?:module\.|_orig_mod\.|model\.|hubert\.|wav2vec2\.|data2vec_audio\.|w2v_encoder\.w2v_model\.)+"
)
PLACES = {"i": "[0-9]{1,4}", "x": "q|k|v|out", "n": "last|[0-9]{1,4}"}


@dataclass(frozen=True)
class Layout:
    """How one program names its tensors."""

    name: str
    table: Mapping[str, str]
    ignored: tuple[str, ...] = ()  # beginnings of keys, behind those of wrappers, that are no part of a Hubert; dropped

    def rename(self, key: str) -> str | None:
        """Our name of a tensor of the file, None for a key that the layout does not have."""
        key = unwrapped(key)
        for pattern, ours in self.table.items():
            if match := re.fullmatch(_regex(pattern) + LEAF, key):
                leaf = match[match.re.groups] or ""
                return ours.format(**match.groupdict()) + HALVES.get(leaf, leaf)
        return None

    def original(self, name: str) -> str:
        """What the file would call our tensor `name`."""
        names = []
        for theirs, ours in self.table.items():
            if match := re.fullmatch(_regex(ours) + LEAF, name):
                names.append(theirs.format(**match.groupdict()) + (match[match.re.groups] or ""))
        return " or ".join(dict.fromkeys(names)) or name


def unwrapped(key: str) -> str:
    """A key without what wrappers put before it."""
    match = WRAPPERS.match(key)
    return key[match.end() :] if match else key


@cache
def _regex(pattern: str) -> str:
    escaped = re.escape(pattern)
    for place, choices in PLACES.items():
        escaped = escaped.replace(rf"\{{{place}\}}", f"(?P<{place}>{choices})")
    return escaped


# Objectives of HuBERT and wav2vec 2.0, and the output layer of fine-tuned ones.
_OBJECTIVES = ("label_embs_concat", "final_proj.", "quantizer.", "project_q.", "w2v_encoder.proj.")
# Heads of ForCTC and ForSequenceClassification, and of wav2vec 2.0's ForPreTraining.
_TASKS = ("lm_head.", "projector.", "classifier.", "layer_weights", "quantizer.", "project_q.", "project_hid.")
LAYOUTS = {
    "native": Layout("lighthubert", NATIVE),
    "released": Layout("released LightHuBERT", LIGHTHUBERT, ignored=_OBJECTIVES),
    "fairseq": Layout("fairseq", FAIRSEQ, ignored=_OBJECTIVES),
    "hugging_face": Layout("Hugging Face", HUGGING_FACE, ignored=_TASKS),
    "torchaudio": Layout("torchaudio", TORCHAUDIO, ignored=("aux.", "logit_generator.")),
}


@dataclass
class Weights:
    """Tensors of a file under our names, what the file calls them, and what is wrong with its keys."""

    path: Path | str
    layout: Layout
    tensors: dict[str, Tensor] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    @property
    def layer_norms(self) -> bool:
        """Whether every convolution has a norm (layer norm), not only the first one (group norm)."""
        return any(re.match(r"frontend\.norms\.[1-9]", name) for name in self.tensors)


def translate(path: Path | str, state: Mapping[str, Any], layout: Layout) -> Weights:
    """A state dict under our names, weight norm folded; `path` is for messages."""
    weights = Weights(path, layout)
    for key, tensor in state.items():
        if unwrapped(key).startswith(layout.ignored):
            continue
        name = layout.rename(key)
        if name is None:
            weights.problems.append(f"{key}: unexpected")
        elif name in weights.tensors:
            weights.problems.append(f"{key}: the same as {weights.sources[name]}")
        elif (kind := _kind(tensor)) is not None:
            weights.problems.append(f"{key}: expected a tensor of floats, got {kind}")
        else:
            weights.tensors[name], weights.sources[name] = tensor, key
    storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in weights.tensors.values()}
    if sum(t.numel() * t.element_size() for t in weights.tensors.values()) > 2 * sum(storages.values()):
        weights.problems.append("its tensors share their numbers")  # a small file would become a large net
    for name in list(weights.tensors):
        if name.endswith((".weight_v", ".weight_g")):
            _fold_weight_norm(weights, name[:-2])
    return weights


def _kind(value: Any) -> str | None:
    """What a value is that is no plain tensor of floats."""
    if not isinstance(value, Tensor):
        return type(value).__name__
    if value.is_nested or value.layout != torch.strided:
        return "a nested or sparse one"
    if value.is_meta:
        return "one without its numbers (on the device meta)"
    if not value.is_floating_point():
        return f"a tensor of {value.dtype}"
    if value.numel() * value.element_size() > value.untyped_storage().nbytes():
        return f"one of shape {tuple(value.shape)} whose numbers overlap"
    return None


def _fold_weight_norm(weights: Weights, name: str) -> None:
    """Replace both halves of a weight norm over dim 2 (one length for each kernel tap) by the weight that they make.

    At full size: a subnet's slice of the product is not the product of its slices.
    """
    direction, length = weights.tensors.pop(f"{name}_v", None), weights.tensors.pop(f"{name}_g", None)
    if direction is None and length is None:
        return  # done with the other half
    there = weights.sources[f"{name}_v" if direction is not None else f"{name}_g"]
    if direction is not None:
        weights.tensors[name], weights.sources[name] = direction, there
    if direction is None or length is None:
        weights.problems.append(f"{there}: the other half of this weight norm is missing")
    elif direction.ndim != 3 or length.shape != (1, 1, direction.shape[2]):
        expected = f"one length for each kernel tap of {there}, {tuple(direction.shape)}"
        weights.problems.append(f"{weights.sources[f'{name}_g']}: shape {tuple(length.shape)}, expected {expected}")
    else:
        norm = torch.linalg.vector_norm(direction.float(), dim=(0, 1), keepdim=True)
        weights.tensors[name] = direction.float() * (length.float() / norm)
