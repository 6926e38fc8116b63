"""Small random nets of other programs, files of them, and the comparison with ours."""

import enum
import sys
import types
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchaudio
import transformers
from tiny import jittered
from torch import Tensor, nn

from lighthubert import Hubert

BASE: dict[str, Any] = {"feat_extract_norm": "group"}
LARGE: dict[str, Any] = {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}
SIZES: dict[str, Any] = {
    "hidden_size": 128,
    "num_attention_heads": 2,
    "num_hidden_layers": 3,
    "intermediate_size": 160,
    "conv_dim": (16,) * 7,
    "num_conv_pos_embeddings": 32,
}


def hugging_face(cls: Any = transformers.HubertModel, **settings: Any) -> Any:
    torch.manual_seed(0)
    return jittered(cls(transformers.HubertConfig(**{**SIZES, **settings})))


def save_bin(folder: Path, model: Any) -> None:
    """A folder as before safetensors, which transformers 5 writes no more."""
    model.save_pretrained(folder)
    (folder / "model.safetensors").unlink()
    torch.save(model.state_dict(), folder / "pytorch_model.bin")


def wav2vec2(large: bool, **settings: Any) -> Any:
    """torchaudio's model with the structure of HuBERT Base or Large."""
    torch.manual_seed(0)
    sizes = {
        "extractor_mode": "layer_norm" if large else "group_norm",
        "extractor_conv_layer_config": [(16, 10, 5), *[(16, 3, 2)] * 4, *[(16, 2, 2)] * 2],
        "extractor_conv_bias": False,
        "encoder_embed_dim": 128,
        "encoder_projection_dropout": 0.0,
        "encoder_pos_conv_kernel": 32,
        "encoder_pos_conv_groups": 16,
        "encoder_num_layers": 3,
        "encoder_num_heads": 2,
        "encoder_attention_dropout": 0.0,
        "encoder_ff_interm_features": 160,
        "encoder_ff_interm_dropout": 0.0,
        "encoder_dropout": 0.0,
        "encoder_layer_norm_first": large,
        "encoder_layer_drop": 0.0,
        "aux_num_out": None,
    }
    return jittered(torchaudio.models.wav2vec2_model(**{**sizes, **settings}))


def told(large: bool) -> dict[str, Any]:
    """What the tensors of `wav2vec2` do not say."""
    return {"head_dim": 64, "norm_first": large, "normalize_waveform": large}


def fairseq_name(key: str, large: bool) -> str:
    """fairseq's name of a tensor of transformers, after transformers' documented conversion, written down anew."""
    if key.startswith("feature_extractor."):
        return key.replace(".conv.", ".0.").replace(".layer_norm.", ".2.1." if large else ".2.")
    for new, old in {
        "masked_spec_embed": "mask_emb",
        "feature_projection.layer_norm": "layer_norm",
        "feature_projection.projection": "post_extract_proj",
        "pos_conv_embed.conv": "pos_conv.0",
        "parametrizations.weight.original0": "weight_g",
        "parametrizations.weight.original1": "weight_v",
        ".attention.": ".self_attn.",
        "feed_forward.intermediate_dense": "fc1",
        "feed_forward.output_dense": "fc2",
    }.items():
        key = key.replace(new, old)
    if key.startswith("encoder.layers.") and ".layer_norm." in key:
        key = key.replace(".layer_norm.", ".self_attn_layer_norm.")
    return key


def fairseq_state(model: Any, large: bool) -> dict[str, Tensor]:
    """A transformers model under fairseq's names, with HuBERT's own output layer."""
    state = {fairseq_name(key, large): value for key, value in model.state_dict().items()}
    extra = {"label_embs_concat": torch.ones(504, 64), "final_proj.weight": torch.ones(64, 128)}
    return state | extra | {"final_proj.bias": torch.ones(64)}


def write_fairseq(path: Path, state: dict[str, Tensor], settings: dict[str, Any], **options: Any) -> None:
    """A file as fairseq's trainers write it: labels, meters, enums and numpy's numbers beside the weights."""
    words = foreign("fairseq.data.dictionary.Dictionary")()
    words.symbols, words.indices, words.counts = ["<s>", "0"], {"<s>": 0, "0": 1}, defaultdict(int, x=2)
    meter = foreign("fairseq.meters.AverageMeter")()
    meter.val, meter.sum = np.float64(2.5), np.ones(3)
    kind = foreign("fairseq.dataclass.constants.Kind", enum.Enum("Kind", {"gelu": "gelu"}))
    content = {
        **settings,
        "model": state,
        "criterion": None,
        "optimizer_history": [{"criterion_name": "HubertCriterion", "num_updates": 400000}],
        "task_state": {"dictionaries": [words]},
        "extra_state": {"train_iterator": {"epoch": 3}, "val_loss": np.float64(2.5), "meter": meter, "kind": kind.gelu},
    }
    save_foreign(content, path, **options)


FOREIGN: dict[str, types.ModuleType] = {}


def foreign(name: str, cls: Any = None) -> Any:
    """A class of a library that is not here; pickled by `save_foreign`."""
    path, _, last = name.rpartition(".")
    cls = cls or type(last, (), {})
    cls.__module__, cls.__qualname__ = path, last
    parts = path.split(".")
    for parent in (".".join(parts[:n]) for n in range(1, len(parts) + 1)):
        FOREIGN.setdefault(parent, types.ModuleType(parent))
    setattr(FOREIGN[path], last, cls)
    return cls


def save_foreign(content: Any, path: Path, **options: Any) -> None:
    """The classes of `foreign` can be imported while the file is written alone."""
    before = dict(sys.modules)
    sys.modules.update(FOREIGN)
    try:
        torch.save(content, path, **options)
    finally:
        for name in FOREIGN:
            del sys.modules[name]
        sys.modules.update({name: before[name] for name in FOREIGN if name in before})


def assert_same(net: Any, model: Any, wave: Tensor) -> None:
    """All states but 0 agree to 1e-5 of their scale; ours of that number precedes the positional convolution."""
    assert isinstance(net, Hubert)
    assert not net.training
    normalized = nn.functional.layer_norm(wave, wave.shape[-1:])
    heard = normalized if net.config.normalize_waveform else wave
    with torch.no_grad():
        if isinstance(model, torchaudio.models.Wav2Vec2Model):  # its list lacks the projection and Large's final norm
            theirs = [*model.extract_features(heard)[0][:-1], model(heard)[0]]
        else:
            out = model(heard, output_hidden_states=True)  # of transformers 5 the last one lacks Large's final norm
            theirs = [*out.hidden_states[1:-1], out.last_hidden_state]
        ours = net(wave).hidden_states[1:]
    assert len(ours) == len(theirs)
    for x, y in zip(ours, theirs, strict=True):
        torch.testing.assert_close(x, y, rtol=0, atol=1e-5 * y.abs().max().item())
