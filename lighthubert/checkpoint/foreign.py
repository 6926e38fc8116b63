"""Files of other programs: what their settings say, in our words, and the net that they hold."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from lighthubert.checkpoint.build import build_hubert, build_supernet, infer_config
from lighthubert.checkpoint.errors import CheckpointError
from lighthubert.checkpoint.keys import LAYOUTS, translate
from lighthubert.checkpoint.pickles import plain
from lighthubert.elastic import SearchSpace, Supernet
from lighthubert.models import Hubert, HubertConfig

# Settings that shapes do not tell, with our name and the default of the program, and those of which we know only one
# value.
Table = Mapping[str, tuple[str, Any]]
HUGGING_FACE: Table = {
    "do_stable_layer_norm": ("norm_first", False),
    "num_attention_heads": ("num_heads", 12),
    "num_hidden_layers": ("num_layers", 12),
    "hidden_size": ("embed_dim", 768),
    "conv_stride": ("conv_strides", [5, 2, 2, 2, 2, 2, 2]),
    "hidden_dropout": ("dropout", 0.1),
    "attention_dropout": ("attention_dropout", 0.1),
    "activation_dropout": ("ffn_dropout", 0.1),
    "mask_time_prob": ("mask_time_prob", 0.05),
    "mask_feature_prob": ("mask_feature_prob", 0.0),
}
HUGGING_FACE_SIZES = {  # that shapes tell, too
    "intermediate_size": "ffn_dim",
    "conv_dim": "conv_channels",
    "conv_kernel": "conv_kernels",
    "num_conv_pos_embeddings": "pos_conv_kernel",
    "num_conv_pos_embedding_groups": "pos_conv_groups",
}
DATA2VEC_SIZES = {"num_conv_pos_embeddings": "pos_conv_depth", "conv_pos_kernel_size": "pos_conv_kernel"}
HUGGING_FACE_FIXED = {
    "hidden_act": "gelu",
    "feat_extract_activation": "gelu",
    "feat_proj_layer_norm": True,
    "conv_pos_batch_norm": False,
    "layer_norm_eps": 1e-5,
}
FAIRSEQ: Table = {
    "layer_norm_first": ("norm_first", False),
    "encoder_attention_heads": ("num_heads", 12),
    "encoder_embed_dim": ("embed_dim", 768),
    "encoder_layers": ("num_layers", 12),
    "conv_feature_layers": ("conv_strides", "[(512,10,5)] + [(512,3,2)] * 4 + [(512,2,2)] * 2"),
    "dropout": ("dropout", 0.1),
    "attention_dropout": ("attention_dropout", 0.1),
    "activation_dropout": ("ffn_dropout", 0.0),
}
FAIRSEQ_SIZES = {"encoder_ffn_embed_dim": "ffn_dim",
                 "conv_pos": "pos_conv_kernel", "conv_pos_groups": "pos_conv_groups"}  # fmt: skip
FAIRSEQ_FIXED = {"activation_fn": "gelu", "layer_type": "transformer"}
FINE_TUNED = ("dropout", "attention_dropout", "activation_dropout")  # what fine-tuning says anew
# Of HuBERT and wav2vec 2.0: width, layers, whether norms come first (and audio is normalised) -> head_dim.
PUBLISHED = {(768, 12, False): 64, (1024, 24, True): 64, (1280, 48, True): 80}
TOLD = ("head_dim", "norm_first", "normalize_waveform")
RELEASED = ("student_hubert", "hubert_pruner")  # names that LightHuBERT gives its nets of stage 1 and stage 2
# The released heads predict the mean of the teacher's last 8 FFN outputs, say its authors; whether these were
# normalised is not published.
RELEASED_PREDICTS = {"teacher": "hubert_base", "layers": 8, "tap": "ffn", "normalize": "unknown", "pairs": []}


ELEMENTS = {int: "integers", bool: "true and false", list: "lists"}


def read_settings(where: str, file: Mapping[str, Any], table: Table, fixed: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a table, by our names. Raises CheckpointError that lists all wrong and unsupported values."""
    settings, problems = {}, []
    for key, (name, default) in table.items():
        value = file.get(key, default)
        if type(default) is float and type(value) is int:
            value = float(value)
        if type(value) is not type(default):
            problems.append(f"{key}: expected {type(default).__name__}, got {value!r}")
        elif type(default) is int and value < 1:
            problems.append(f"{key}: must be positive, got {value}")
        elif type(default) is list and not all(type(v) is type(default[0]) for v in value):
            problems.append(f"{key}: expected a list of {ELEMENTS[type(default[0])]}, got {value!r}")
        settings[name] = value
    problems += [f"{k}: only {v!r} is supported, got {file[k]!r}" for k, v in fixed.items() if file.get(k, v) != v]
    if problems:
        raise CheckpointError(f"{where}: {'; '.join(problems)}")
    return settings


def _split_heads(where: str, settings: dict[str, Any]) -> None:
    """Replace width and heads, which tensors tell too, by the width of a head."""
    embed_dim, num_heads = settings.pop("embed_dim"), settings.pop("num_heads")
    if embed_dim % num_heads:
        raise CheckpointError(f"{where}: a width of {embed_dim} cannot be split into {num_heads} heads")
    settings |= {"head_dim": embed_dim // num_heads, "width": embed_dim}


def from_hugging_face(
    folder: Path, state: Mapping[str, Any], config: Mapping[str, Any], do_normalize: bool | None
) -> Hubert:
    """A transformers HubertModel, Wav2Vec2Model or Data2VecAudioModel, alone or inside a task's model.

    config: config.json; do_normalize: of preprocessor_config.json; None: by the kind of front-end, as published.
    """
    where = f"{folder / 'config.json'}"
    kind = config.get("model_type")
    if kind not in ("hubert", "wav2vec2", "data2vec-audio"):
        raise CheckpointError(f"{where}: model_type: must be hubert, wav2vec2 or data2vec-audio, got {kind!r}")
    settings = read_settings(where, config, HUGGING_FACE, HUGGING_FACE_FIXED)
    _split_heads(where, settings)
    settings["norm_first"] &= kind != "data2vec-audio"  # that one is post-norm always
    masked = [settings.pop(key) for key in ("mask_time_prob", "mask_feature_prob")]
    weights = translate(folder, state, LAYOUTS["hugging_face"])
    normalize = weights.layer_norms if do_normalize is None else do_normalize
    table = HUGGING_FACE_SIZES | (DATA2VEC_SIZES if kind == "data2vec-audio" else {})
    sizes = {key: (name, config[key]) for key, name in table.items() if key in config}
    net_config = infer_config(weights, sizes=sizes, normalize_waveform=normalize, **settings)
    if not any(masked):  # then transformers leaves it out
        weights.tensors.setdefault("mask_embed", torch.zeros(net_config.embed_dim))
    return build_hubert(weights, net_config)


def from_torchaudio(path: Path | str, state: Mapping[str, Any], told: Mapping[str, Any] | None = None) -> Hubert:
    """A torchaudio Wav2Vec2Model: a HuBERT or a wav2vec 2.0.

    The tensors do not tell the order of norms, the input's normalisation and the heads' size. For the sizes of
    PUBLISHED these are known, others need `told`: {"head_dim": 64, "norm_first": False, "normalize_waveform": False},
    say. Only its pretraining module has a mask embedding; else zeros. Raises CheckpointError, also without them.
    """
    weights = translate(path, state, LAYOUTS["torchaudio"])
    bias = weights.tensors.get("frontend.proj.bias")
    depth = len({name.split(".")[2] for name in weights.tensors if name.startswith("encoder.layers.")})
    large = weights.layer_norms
    head_dim = PUBLISHED.get((0 if bias is None else bias.numel(), depth, large))
    if told is None and head_dim is None:
        raise CheckpointError(
            f"{path}: torchaudio's tensors, in sizes that were not published, do not tell {', '.join(TOLD)}; "
            "say lighthubert.load(path, told={...}) with these keys, and save the net"
        )
    known = {"head_dim": head_dim, "norm_first": large, "normalize_waveform": large} if told is None else dict(told)
    if set(known) != set(TOLD):
        raise CheckpointError(f"{path}: told: needs the keys {', '.join(TOLD)}, got {', '.join(known) or 'none'}")
    dropout = 0.0 if known["norm_first"] else 0.1
    config = infer_config(weights, dropout=dropout, attention_dropout=dropout, **known)
    weights.tensors.setdefault("mask_embed", torch.zeros(config.embed_dim))
    return build_hubert(weights, config)


def from_fairseq(path: Path, checkpoint: Mapping[str, Any]) -> Hubert | Supernet:
    """A fairseq HuBERT or wav2vec 2.0, before or after fine-tuning with CTC, or a released LightHuBERT: weights under
    "model", settings under "cfg" or "args"."""
    model, task = _settings(path, checkpoint)
    released = model.get("_name") in RELEASED or "layer_pred_heads.11.weight" in checkpoint["model"]
    where = f"{path}: settings of the model"
    settings = read_settings(where, model, FAIRSEQ, FAIRSEQ_FIXED)
    # Where nothing is said: LightHuBERT's audio is normalised, HuBERT Base's is not.
    normalize: Table = {"normalize": ("normalize_waveform", released)}
    settings |= read_settings(f"{path}: settings of the task", task, normalize, {})
    _split_heads(where, settings)
    channels, kernels, settings["conv_strides"] = _convs(where, settings["conv_strides"])
    sizes = {key: (name, model[key]) for key, name in FAIRSEQ_SIZES.items() if key in model}
    if "conv_feature_layers" in model:
        sizes |= {"conv_feature_layers": ("conv_channels", channels), "its kernels": ("conv_kernels", kernels)}
    weights = translate(path, checkpoint["model"], LAYOUTS["released" if released else "fairseq"])
    config = infer_config(weights, sizes=sizes, **settings)
    if not released:
        return build_hubert(weights, config)
    if "head.last.weight" not in weights.tensors:
        weights.problems.append("layer_pred_heads.11.weight: missing")
    return build_supernet(weights, _released_space(path, model, config), dict(RELEASED_PREDICTS))


def _settings(path: Path, checkpoint: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Settings of the model and of the task: sections of "cfg", or, from older versions, both in "args".

    A fine-tuned net's model keeps those of the net inside as "w2v_args", all but the dropouts.
    """
    try:
        cfg, args = plain(checkpoint.get("cfg")), plain(checkpoint.get("args"))
    except ValueError as error:
        raise CheckpointError(f"{path}: settings: {error}") from None
    sections = isinstance(cfg, dict) and isinstance(cfg.get("model"), dict)
    if not sections and not isinstance(args, dict):
        needs = "needs 'cfg' with a section 'model', or 'args'"
        raise CheckpointError(f"{path}: fairseq's tensors without settings: {needs}")
    model, task = _sections(cfg if sections else args)
    if "w2v_path" in model:
        if not isinstance(model.get("w2v_args"), dict):
            raise CheckpointError(f"{path}: a fine-tuned net without 'w2v_args', the settings of the net inside")
        model = _sections(model["w2v_args"])[0] | {key: model[key] for key in FINE_TUNED if key in model}
    return model, task


def _sections(settings: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Of the model and of the task, or all in one."""
    model, task = settings.get("model"), settings.get("task")
    return model if isinstance(model, dict) else settings, task if isinstance(task, dict) else settings


def _convs(where: str, layers: str) -> list[list[int]]:
    """Channels, kernels and strides out of "[(channels, kernel, stride)] * n + ..."; the string is Python in fairseq,
    and not run here."""
    compact = re.sub(r"\s", "", layers)
    term = r"\[\((\d+),(\d+),(\d{1,2})\)\](?:\*(\d{1,2}))?"
    if len(compact) > 1000 or not re.fullmatch(rf"{term}(?:\+{term})*", compact):
        raise CheckpointError(f"{where}: conv_feature_layers: expected terms like [(512,3,2)] * 4, got {layers!r}")
    terms = re.findall(term, compact)
    return [[int(row[i]) for row in terms for _ in range(int(row[3] or 1))] for i in range(3)]


def _released_space(path: Path, model: Mapping[str, Any], config: HubertConfig) -> SearchSpace:
    """The space that a released file was trained in, over the file's own net.

    Stage 1 trained no subnets: its space has one arch, the whole net.
    """
    if model.get("_name") == "student_hubert":
        return SearchSpace.from_dict(
            {
                "name": "stage1",
                "parent": config.to_dict(),
                "embed_dim": [config.embed_dim],
                "num_layers": [config.num_layers],
                "num_heads": [config.num_heads[0]],
                "ffn_ratio": [config.ffn_dim[0] / config.embed_dim],
                "conv_channels": [list(config.conv_channels)],
                "layer_rule": "lighthubert",
            }
        )
    name_of_space = str(model.get("pruner_supernet") or f"{model.get('supernet_type')}.yaml").lower()
    for name in ("base", "small"):
        if name_of_space.endswith(f"{name}.yaml"):
            return SearchSpace.from_dict({**SearchSpace.load(name).to_dict(), "parent": config.to_dict()})
    raise CheckpointError(
        f"{path}: settings of the model: pruner_supernet must end in base.yaml or small.yaml, or supernet_type be base "
        f"or small, got {model.get('pruner_supernet')!r} and {model.get('supernet_type')!r}"
    )
