"""Original fairseq HuBERT files, with what real ones pickle beside the weights."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from foreign_nets import (
    BASE,
    LARGE,
    SIZES,
    assert_same,
    fairseq_name,
    fairseq_state,
    hugging_face,
    write_fairseq,
)
from omegaconf import OmegaConf
from tiny import jittered
from torch import Tensor

from lighthubert.checkpoint import CheckpointError, load

CONVS = "[(16, 10, 5)] + [(16,3,2)] * 4 + [(16,2,2)]*2"
MODEL = {
    "_name": "hubert",
    "extractor_mode": "default",
    "layer_norm_first": False,
    "encoder_embed_dim": 128,
    "encoder_attention_heads": 2,
    "encoder_layers": 3,
    "conv_feature_layers": CONVS,
    "activation_fn": "gelu",
    "dropout": 0.25,
    "attention_dropout": 0.1,
    "activation_dropout": 0,
}
LAYER_NORM = {"extractor_mode": "layer_norm", "layer_norm_first": True}


def sections(model: dict[str, Any], task: dict[str, Any]) -> dict[str, Any]:
    return {"args": None, "cfg": {"common": {"fp16": True}, "model": model, "task": task}}


def nodes(model: dict[str, Any], task: dict[str, Any]) -> dict[str, Any]:
    """omegaconf containers, a list, a missing value and an interpolation among them."""
    cfg = OmegaConf.create({"common": {"seeds": [1, 2], "x": "???", "y": "${common.x}"}, "model": model, "task": task})
    return {"args": None, "cfg": cfg}


def namespace(model: dict[str, Any], task: dict[str, Any]) -> dict[str, Any]:
    return {"args": argparse.Namespace(arch="hubert", lr=[0.0005], **{**model, **task}), "cfg": None}


@pytest.mark.parametrize("large", [False, True], ids=["base", "large"])
@pytest.mark.parametrize("settings", [sections, nodes, namespace])
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_fairseq(tmp_path: Path, wave: Tensor, large: bool, settings: Callable[..., Any], zipped: bool) -> None:
    model = hugging_face(**{**(LARGE if large else BASE), "conv_bias": False})
    said = settings({**MODEL, **LAYER_NORM} if large else MODEL, {"normalize": large, "sample_rate": 16000})
    write_fairseq(tmp_path / "net.pt", fairseq_state(model, large), said, _use_new_zipfile_serialization=zipped)
    assert b"fairseq.data.dictionary" in (tmp_path / "net.pt").read_bytes()  # the test's file is what it should be
    net = load(tmp_path / "net.pt")
    assert (net.config.norm_first, net.config.normalize_waveform) == (large, large)
    assert (net.config.dropout, net.config.ffn_dropout) == (0.25, 0.0)
    assert "fairseq" not in sys.modules
    assert_same(net, model, wave)


def test_settings_of_fairseq_that_are_wrong(tmp_path: Path) -> None:
    state = fairseq_state(hugging_face(**BASE), False)

    def message(settings: dict[str, Any]) -> str:
        write_fairseq(tmp_path / "net.pt", state, settings)
        with pytest.raises(CheckpointError) as caught:
            load(tmp_path / "net.pt")
        return str(caught.value).removeprefix(f"{tmp_path / 'net.pt'}: ")

    none = "fairseq's tensors without settings: needs 'cfg' with a section 'model', or 'args'"
    assert message({"cfg": {}}) == none
    assert message({"args": None}) == none
    assert message(sections({**MODEL, "layer_norm_first": 1, "activation_fn": "relu", "dropout": None}, {})) == (
        "settings of the model: layer_norm_first: expected bool, got 1; dropout: expected float, got None; "
        "activation_fn: only 'gelu' is supported, got 'relu'"
    )
    convs = {**MODEL, "conv_feature_layers": "__import__('os').system('true')"}
    assert message(sections(convs, {})) == (
        "settings of the model: conv_feature_layers: expected terms like [(512,3,2)] * 4, "
        "got \"__import__('os').system('true')\""
    )
    assert message(sections(MODEL, {"normalize": "no"})) == "settings of the task: normalize: expected bool, got 'no'"
    heads = {**MODEL, "encoder_attention_heads": 3}
    assert message(sections(heads, {})) == "settings of the model: a width of 128 cannot be split into 3 heads"
    state["target_glu.0.weight"] = torch.zeros(3)
    assert message(sections(MODEL, {})) == "not a whole net in fairseq layout: target_glu.0.weight: unexpected"


@pytest.mark.parametrize("large", [False, True], ids=["base", "large"])
def test_wav2vec2(tmp_path: Path, wave: Tensor, large: bool) -> None:
    """With its quantizer; settings as in the first published files, an argument list."""
    torch.manual_seed(0)
    kind = LARGE if large else BASE
    model = jittered(transformers.Wav2Vec2Model(transformers.Wav2Vec2Config(**SIZES, **kind)))
    state = {fairseq_name(key, large): value for key, value in model.state_dict().items()}
    state |= {"quantizer.vars": torch.zeros(1, 640, 128), "quantizer.weight_proj.weight": torch.zeros(640, 16)}
    state |= {f"{name}.{leaf}": torch.zeros(8) for name in ("project_q", "final_proj") for leaf in ("weight", "bias")}
    settings = {**MODEL, **(LAYER_NORM if large else {}), "_name": "wav2vec2", "quantize_targets": True}
    write_fairseq(tmp_path / "net.pt", state, namespace(settings, {"normalize": large}))
    net = load(tmp_path / "net.pt")
    assert (net.config.norm_first, net.config.normalize_waveform, net.config.conv_bias) == (large, large, large)
    assert_same(net, model, wave)


def test_a_state_dict_of_nothing_known(tmp_path: Path) -> None:
    torch.save(
        {"net.conv.weight": torch.zeros(2), "feature_extractor.conv_layers.0.conv.weight": torch.zeros(2)},
        tmp_path / "a",
    )
    with pytest.raises(CheckpointError) as caught:
        load(tmp_path / "a")
    assert str(caught.value) == (
        f"{tmp_path / 'a'}: no known layout; of its 2 keys ('net.conv.weight', "
        "'feature_extractor.conv_layers.0.conv.weight') know: released LightHuBERT 0, Hugging Face 1, torchaudio 1, "
        "lighthubert 0"
    )
    for got, content in {"list": [1], "str": "x", "an empty one": {}, "3": {3: 1}}.items():
        torch.save(content, tmp_path / "b")
        with pytest.raises(CheckpointError, match=f"expected a state dict, alone or under 'model', got {got}$"):
            load(tmp_path / "b")
