"""Nets inside of what training programs write: the numbers are those of the net that was put in."""

from argparse import Namespace
from enum import Enum
from pathlib import Path

import numpy as np
import pytest
import torch
import torchaudio
from foreign_nets import (
    BASE,
    LARGE,
    assert_same,
    fairseq_state,
    foreign,
    hugging_face,
    save_foreign,
    told,
    wav2vec2,
    write_fairseq,
)
from torch import Tensor

from lighthubert.checkpoint import CheckpointError, load

MODEL = {"_name": "hubert", "encoder_embed_dim": 128, "encoder_attention_heads": 2, "encoder_layers": 3}


def prefixed(start: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {start + key: value for key, value in state.items()}


@pytest.mark.parametrize("start", ["module.", "model.", "model.module.", "_orig_mod.", "model._orig_mod.model."])
@pytest.mark.parametrize("lightning", [True, False], ids=["lightning", "bare"])
def test_prefixes(tmp_path: Path, wave: Tensor, start: str, lightning: bool) -> None:
    """DDP's, Lightning's, torch.compile's."""
    model = wav2vec2(True)
    state = prefixed(start, model.state_dict())
    settings = foreign("pytorch_lightning.utilities.parsing.AttributeDict", type("AttributeDict", (dict,), {}))(lr=1)
    callback = foreign("pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint")
    around = {
        "epoch": 3,
        "state_dict": state,
        "optimizer_states": [{"state": {0: {"exp_avg": torch.zeros(3)}}}],
        "callbacks": {callback: {"best": np.float32(1.5), "path": tmp_path}},
        "hyper_parameters": settings,
    }
    save_foreign(around if lightning else state, tmp_path / "net.ckpt")
    assert_same(load(tmp_path / "net.ckpt", told(True)), model, wave)


def test_two_nets_in_one_file_are_not_chosen_from(tmp_path: Path) -> None:
    state = wav2vec2(False).state_dict()
    both = prefixed("student_model.", state) | prefixed("teacher_model.", state)
    torch.save({"state_dict": both}, tmp_path / "net.ckpt")
    with pytest.raises(CheckpointError, match=r"no known layout; of its \d+ keys \('student_model\."):
        load(tmp_path / "net.ckpt", told(False))


@pytest.mark.parametrize("start", ["", "module.", "model."])
def test_torchaudio_s_pretraining_module(tmp_path: Path, wave: Tensor, start: str) -> None:
    trunk = wav2vec2(False)
    model = torchaudio.models.HuBERTPretrainModel(
        trunk,
        torchaudio.models.wav2vec2.components.MaskGenerator(128, 0.8, "static", 0.0, 10, False, 1, 0.0, "static", 0.0,
                                                            10, False, 1),
        torchaudio.models.wav2vec2.components.LogitGenerator(128, 100, 64, False, False),
        None,
    )  # fmt: skip
    torch.save({"state_dict": prefixed(start, model.state_dict())}, tmp_path / "net.pt")
    net = load(tmp_path / "net.pt", told(False))
    assert torch.equal(net.mask_embed, model.mask_generator.mask_embedding)
    assert_same(net, trunk, wave)


@pytest.mark.parametrize("large", [False, True], ids=["base", "large"])
@pytest.mark.parametrize("old", [False, True], ids=["cfg", "args"])
def test_fairseq_after_fine_tuning(tmp_path: Path, wave: Tensor, large: bool, old: bool) -> None:
    """The settings of the net inside are those of its pretraining, all but the dropouts."""
    model = hugging_face(**{**(LARGE if large else BASE), "conv_bias": False})
    state = prefixed("w2v_encoder.w2v_model.", fairseq_state(model, large))
    state |= {"w2v_encoder.proj.weight": torch.ones(32, 128), "w2v_encoder.proj.bias": torch.ones(32)}
    inside = {**MODEL, "layer_norm_first": large, "dropout": 0.1, "attention_dropout": 0.3}
    around = {"_name": "hubert_ctc", "w2v_path": "/x.pt", "dropout": 0.0, "layer_norm_first": True}
    task = {"normalize": large}
    if old:
        settings = {"args": Namespace(**around, **task, w2v_args=Namespace(**inside)), "cfg": None}
    else:
        around["w2v_args"] = {"model": inside, "task": {"normalize": not large}}
        settings = {"args": None, "cfg": {"model": around, "task": task}}
    write_fairseq(tmp_path / "net.pt", state, settings)
    net = load(tmp_path / "net.pt")
    assert (net.config.dropout, net.config.attention_dropout) == (0.0, 0.3)
    assert (net.config.norm_first, net.config.normalize_waveform) == (large, large)
    assert_same(net, model, wave)
    write_fairseq(tmp_path / "net.pt", state, {"cfg": {"model": {"w2v_path": "x", "w2v_args": None}}})
    with pytest.raises(CheckpointError, match="a fine-tuned net without 'w2v_args', the settings of the net inside"):
        load(tmp_path / "net.pt")


def test_s3prl_converted(tmp_path: Path, wave: Tensor) -> None:
    model = hugging_face(**{**LARGE, "conv_bias": False})
    content = {
        "task_cfg": {"_name": "hubert_pretraining", "normalize": True},
        "model_cfg": {**MODEL, "layer_norm_first": True},
        "model_weight": fairseq_state(model, True),
        "dictionaries_symbols": [["<s>", "0"]],
    }
    torch.save(content, tmp_path / "net.pt")
    net = load(tmp_path / "net.pt")
    assert net.config.normalize_waveform
    assert_same(net, model, wave)


def test_settings_that_are_enums(tmp_path: Path, wave: Tensor) -> None:
    """A member stands for its text; a wrong one is named."""
    model = hugging_face(**BASE)
    for name in ("gelu", "relu"):
        member = foreign("fairseq.dataclass.constants.Choices", Enum("Choices", {name: name}))[name]
        settings = {"cfg": {"model": {**MODEL, "activation_fn": member}}}
        write_fairseq(tmp_path / name, fairseq_state(model, False), settings)
    assert_same(load(tmp_path / "gelu"), model, wave)
    with pytest.raises(CheckpointError, match="activation_fn: only 'gelu' is supported, got 'relu'"):
        load(tmp_path / "relu")
