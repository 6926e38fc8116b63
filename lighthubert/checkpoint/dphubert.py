"""DPHuBERT's files: torchaudio's HuBERT in sizes of its own for each layer, and the settings that say them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from lighthubert.checkpoint.build import build_hubert, infer_config
from lighthubert.checkpoint.errors import CheckpointError
from lighthubert.checkpoint.foreign import Table, read_settings
from lighthubert.checkpoint.keys import LAYOUTS, translate
from lighthubert.checkpoint.pickles import plain
from lighthubert.elastic import shapes
from lighthubert.models import Hubert

# Arguments of its function that makes a net, with our names and, for their types, values of HuBERT Base.
SETTINGS: Table = {
    "extractor_conv_layer_config": ("convs", [[512, 10, 5]]),
    "encoder_embed_dim": ("width", 768),
    "encoder_num_layers": ("num_layers", 12),
    "encoder_use_attention": ("attention", [True]),
    "encoder_use_feed_forward": ("ffn", [True]),
    "encoder_num_heads": ("num_heads", [12]),
    "encoder_head_dim": ("head_dim", 64),
    "encoder_ff_interm_features": ("ffn_dim", [3072]),
    "encoder_layer_norm_first": ("norm_first", False),
    "normalize_waveform": ("normalize_waveform", False),
    "encoder_dropout": ("dropout", 0.1),
    "encoder_attention_dropout": ("attention_dropout", 0.1),
    "encoder_ff_interm_dropout": ("ffn_dropout", 0.0),
}


def from_dphubert(path: Path, state: Mapping[str, Any], config: Mapping[str, Any]) -> Hubert:
    """A net that DPHuBERT converted or pruned (Peng et al. 2023).

    What is left of a layer's attention or FFN that was pruned away is nothing, not even a bias: zeros. The gates behind
    the last convolution, "dummy_weight", are the net's `frontend.scale` unless all are 1. No mask embedding: zeros.
    """
    settings, uses = _settings(path, config)
    weights = translate(path, state, LAYOUTS["torchaudio"])
    scale = weights.tensors.get("frontend.scale")
    if scale is not None and bool((scale == 1).all()):
        del weights.tensors["frontend.scale"]
    net_config = infer_config(weights, **settings)
    gone = [f"encoder.layers.{i}.{part}." for i, parts in enumerate(uses) for part in parts]
    for name, shape in shapes(net_config).items():
        if name == "mask_embed" or name.startswith(tuple(gone)):
            weights.tensors.setdefault(name, torch.zeros(shape))
    return build_hubert(weights, net_config)


def _settings(path: Path, config: Mapping[str, Any]) -> tuple[dict[str, Any], list[list[str]]]:
    """Arguments of `infer_config`, and for each layer the modules that were pruned away."""
    where = f"{path}: config"
    if "encoder_remaining_heads" in config:
        raise CheckpointError(f"{where}: of a WavLM; only HuBERT and wav2vec 2.0 are read")
    if missing := [key for key in SETTINGS if key not in config]:
        raise CheckpointError(f"{where}: {', '.join(missing)}: missing")
    try:
        said = plain(config)
    except ValueError as error:
        raise CheckpointError(f"{where}: {error}") from None
    settings = read_settings(where, said, SETTINGS, {})
    convs, attention, ffn = (settings.pop(key) for key in ("convs", "attention", "ffn"))
    if not all(len(conv) == 3 and all(type(n) is int for n in conv) for conv in convs):
        raise CheckpointError(f"{where}: extractor_conv_layer_config: expected channels, kernel and stride of each")
    keys = ("conv_channels", "conv_kernels", "conv_strides")
    settings |= {key: tuple(conv[i] for conv in convs) for i, key in enumerate(keys)}
    if len({len(attention), len(ffn), len(settings["num_heads"]), len(settings["ffn_dim"])}) > 1:
        raise CheckpointError(f"{where}: the settings of its layers are not of one length")
    for key, uses in (("num_heads", attention), ("ffn_dim", ffn)):
        settings[key] = tuple(size * used for size, used in zip(settings[key], uses, strict=True))
    gone = [["attention"] * (not a) + ["fc1", "fc2"] * (not f) for a, f in zip(attention, ffn, strict=True)]
    return settings, gone
