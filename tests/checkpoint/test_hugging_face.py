"""Hugging Face folders give the hidden states that transformers computes."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from foreign_nets import BASE, LARGE, SIZES, assert_same, hugging_face, save_bin
from safetensors.torch import load_file, save_file
from tiny import jittered
from torch import Tensor

from lighthubert.checkpoint import CheckpointError, load


@pytest.mark.parametrize("safe", [True, False], ids=["safetensors", "bin"])
@pytest.mark.parametrize("settings", [BASE, LARGE, {**BASE, "conv_bias": True}], ids=["base", "large", "bias"])
def test_a_folder_computes_what_transformers_does(
    tmp_path: Path, wave: Tensor, settings: dict[str, Any], safe: bool
) -> None:
    model = hugging_face(**settings)
    model.save_pretrained(tmp_path) if safe else save_bin(tmp_path, model)
    net = load(tmp_path)
    assert net.config.norm_first == settings.get("do_stable_layer_norm", False)
    assert torch.equal(net.mask_embed, model.masked_spec_embed)
    assert_same(net, model, wave)


def test_the_older_names_of_weight_norm(tmp_path: Path, wave: Tensor) -> None:
    model = hugging_face(**BASE)
    model.save_pretrained(tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    (tmp_path / "model.safetensors").unlink()
    conv = "encoder.pos_conv_embed.conv."
    for new, old in {"original0": "weight_g", "original1": "weight_v"}.items():
        state[conv + old] = state.pop(f"{conv}parametrizations.weight.{new}")
    torch.save(state, tmp_path / "pytorch_model.bin")
    assert_same(load(tmp_path), model, wave)


@pytest.mark.parametrize("task", ["HubertForCTC", "HubertForSequenceClassification"])
def test_the_trunk_of_a_task_s_model(tmp_path: Path, wave: Tensor, task: str) -> None:
    model = hugging_face(getattr(transformers, task), **BASE, vocab_size=32, use_weighted_layer_sum=True)
    model.save_pretrained(tmp_path)
    assert_same(load(tmp_path), model.hubert, wave)


def test_shards(tmp_path: Path, wave: Tensor) -> None:
    model = hugging_face(**BASE)
    model.save_pretrained(tmp_path, max_shard_size="500KB")
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 1
    assert_same(load(tmp_path), model, wave)


@pytest.mark.parametrize("safe", [True, False], ids=["safetensors", "bin"])
@pytest.mark.parametrize("whole", [True, False], ids=["whole", "shards"])
@pytest.mark.parametrize("variant", ["", ".fp16"])
def test_the_names_of_weights(tmp_path: Path, wave: Tensor, safe: bool, whole: bool, variant: str) -> None:
    """As the Hub has them; `.bin` files are written here, for transformers 5 does not."""
    model = hugging_face(**BASE)
    model.config.save_pretrained(tmp_path)
    stem, end, write = ("model", "safetensors", save_file) if safe else ("pytorch_model", "bin", torch.save)
    items = list(model.state_dict().items())
    parts = [dict(items)] if whole else [dict(items[:20]), dict(items[20:])]
    names = [f"{stem}{variant}{'' if whole else f'-{i:05}-of-00002'}.{end}" for i, _ in enumerate(parts, 1)]
    for name, part in zip(names, parts, strict=True):
        write(part, tmp_path / name)
    if not whole:
        places = {key: name for name, part in zip(names, parts, strict=True) for key in part}
        (tmp_path / f"{stem}.{end}.index{variant}.json").write_text(json.dumps({"weight_map": places}))
    assert_same(load(tmp_path), model, wave)
    if variant and whole:
        write({}, tmp_path / f"{stem}.bf16.{end}")
        with pytest.raises(CheckpointError, match=rf"{stem}\.bf16\.{end}, {stem}\.fp16\.{end}: variants of one net"):
            load(tmp_path)


def test_settings_with_a_byte_order_mark(tmp_path: Path, wave: Tensor) -> None:
    model = hugging_face(**BASE)
    model.save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    path.write_text(path.read_text(), encoding="utf-8-sig")
    assert path.read_bytes().startswith(b"\xef\xbb\xbf")
    assert_same(load(tmp_path), model, wave)


def test_a_lightning_file_in_the_place_of_weights(tmp_path: Path, wave: Tensor) -> None:
    """Its settings are those of the folder."""
    model = hugging_face(transformers.HubertForCTC, **BASE, vocab_size=32)
    model.config.save_pretrained(tmp_path)
    state = {f"model.{key}": value for key, value in model.state_dict().items()}
    torch.save({"epoch": 1, "state_dict": state}, tmp_path / "pytorch_model.bin")
    assert_same(load(tmp_path), model.hubert, wave)


def test_half_precision_becomes_float32(tmp_path: Path) -> None:
    hugging_face(**BASE).half().save_pretrained(tmp_path)
    assert {p.dtype for p in load(tmp_path).parameters()} == {torch.float32}


@pytest.mark.parametrize("settings", [{}, {"do_stable_layer_norm": True}], ids=["base", "large"])
def test_data2vec(tmp_path: Path, wave: Tensor, settings: dict[str, Any]) -> None:
    """Five positional convolutions, post-norm layers whatever the config says: transformers has no others."""
    torch.manual_seed(0)
    sizes = {**SIZES, "num_conv_pos_embeddings": 5, "conv_pos_kernel_size": 19}
    model = jittered(transformers.Data2VecAudioModel(transformers.Data2VecAudioConfig(**sizes, **settings)))
    model.save_pretrained(tmp_path)
    net = load(tmp_path)
    assert (net.config.pos_conv_depth, net.config.pos_conv_kernel) == (5, 19)
    assert_same(net, model, wave)


@pytest.mark.parametrize("task", ["Wav2Vec2Model", "Wav2Vec2ForPreTraining", "Wav2Vec2ForCTC"])
@pytest.mark.parametrize("settings", [BASE, LARGE], ids=["base", "large"])
def test_wav2vec2(tmp_path: Path, wave: Tensor, settings: dict[str, Any], task: str) -> None:
    """Alone, with its quantizer, and fine-tuned."""
    torch.manual_seed(0)
    config = transformers.Wav2Vec2Config(**SIZES, **settings, vocab_size=32)
    model = jittered(getattr(transformers, task)(config))
    model.save_pretrained(tmp_path)
    net = load(tmp_path)
    assert net.config.norm_first == net.config.normalize_waveform == (settings is LARGE)
    assert_same(net, model if task == "Wav2Vec2Model" else model.wav2vec2, wave)


def test_an_adapter_is_not_dropped(tmp_path: Path) -> None:
    """What some fine-tuned wav2vec 2.0 nets have behind the last layer."""
    model = transformers.Wav2Vec2Model(transformers.Wav2Vec2Config(**SIZES, **BASE, add_adapter=True))
    model.save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match=r"adapter\.\S+: unexpected"):
        load(tmp_path)


def test_heads_of_any_size(tmp_path: Path, wave: Tensor) -> None:
    model = hugging_face(**BASE, num_attention_heads=8)
    model.save_pretrained(tmp_path)
    net = load(tmp_path)
    assert (net.config.head_dim, net.config.num_heads) == (16, (8, 8, 8))
    assert_same(net, model, wave)


@pytest.mark.parametrize(
    ("settings", "said", "normalizes"),
    [(BASE, None, False), (LARGE, None, True), (BASE, True, True), (LARGE, False, False)],
)
def test_the_preprocessor_says_whether_audio_is_normalised(
    tmp_path: Path, settings: dict[str, Any], said: bool | None, normalizes: bool
) -> None:
    hugging_face(**settings).save_pretrained(tmp_path)
    if said is not None:
        transformers.Wav2Vec2FeatureExtractor(do_normalize=said).save_pretrained(tmp_path)
    assert load(tmp_path).config.normalize_waveform == normalizes


def test_dropouts_and_mask_embedding(tmp_path: Path) -> None:
    settings = {"hidden_dropout": 0.3, "attention_dropout": 0.2, "activation_dropout": 0.05, "mask_time_prob": 0.0}
    hugging_face(**settings).save_pretrained(tmp_path)  # without masking transformers has no mask embedding
    net = load(tmp_path)
    assert (net.config.dropout, net.config.attention_dropout, net.config.ffn_dropout) == (0.3, 0.2, 0.05)
    assert not net.mask_embed.any()


SETTINGS = [
    ({"model_type": "wavlm"}, "model_type: must be hubert, wav2vec2 or data2vec-audio, got 'wavlm'"),
    ({"model_type": None}, "model_type: must be hubert, wav2vec2 or data2vec-audio, got None"),
    (
        {"hidden_act": "relu", "feat_proj_layer_norm": False, "num_attention_heads": "2"},
        "num_attention_heads: expected int, got '2'; hidden_act: only 'gelu' is supported, got 'relu'; "
        "feat_proj_layer_norm: only True is supported, got False",
    ),
    ({"num_attention_heads": 0}, "num_attention_heads: must be positive, got 0"),
    ({"num_attention_heads": 3}, "a width of 128 cannot be split into 3 heads"),
    ({"conv_stride": [5, 2, "2"]}, "conv_stride: expected a list of integers, got [5, 2, '2']"),
    ({"conv_pos_batch_norm": True}, "conv_pos_batch_norm: only False is supported, got True"),
]


@pytest.mark.parametrize(("changes", "message"), SETTINGS)
def test_unsupported_settings_are_named(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    hugging_face(**BASE).save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    with pytest.raises(CheckpointError) as caught:
        load(tmp_path)
    assert str(caught.value) == f"{path}: {message}"


def test_settings_that_do_not_fit_the_tensors(tmp_path: Path) -> None:
    hugging_face(**BASE).save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "conv_stride": [5, 2], "hidden_size": 192}))
    with pytest.raises(CheckpointError, match="attention with 128 rows is no whole number of heads of 96"):
        load(tmp_path)
    path.write_text(json.dumps({**json.loads(path.read_text()), "hidden_size": 128}))
    path.write_text(json.dumps({**json.loads(path.read_text()), "num_hidden_layers": 4}))
    with pytest.raises(CheckpointError) as caught:
        load(tmp_path)
    assert "4 layers by the settings, but tensors of 3" in str(caught.value)
    assert "feature_extractor.conv_layers.2.conv.weight: unexpected" in str(caught.value)


def test_every_wrong_tensor_is_listed_by_its_name_in_the_file(tmp_path: Path) -> None:
    save_bin(tmp_path, hugging_face(**BASE))
    state = torch.load(tmp_path / "pytorch_model.bin", weights_only=True)
    for key in ("encoder.layers.1.feed_forward.intermediate_dense.weight", "encoder.layers.2.layer_norm.bias"):
        del state[key]
    del state["masked_spec_embed"], state["encoder.pos_conv_embed.conv.parametrizations.weight.original0"]
    state["encoder.layers.0.attention.k_proj.bias"] = torch.zeros(64)
    state["hubert.encoder.layer_norm.bias"] = state["encoder.layer_norm.bias"]
    state["encoder.adapter.weight"] = torch.zeros(1)
    torch.save(state, tmp_path / "pytorch_model.bin")
    with pytest.raises(CheckpointError) as caught:
        load(tmp_path)
    for problem in (
        "encoder.layers.1.feed_forward.intermediate_dense.weight: missing",
        "encoder.layers.2.layer_norm.bias: missing",
        "masked_spec_embed: missing",
        "encoder.layers.0.attention.k_proj.bias: shape (64,), expected (128,)",
        "hubert.encoder.layer_norm.bias: the same as encoder.layer_norm.bias",
        "encoder.adapter.weight: unexpected",
        "encoder.pos_conv_embed.conv.parametrizations.weight.original1: the other half of this weight norm is missing",
    ):
        assert problem in str(caught.value)
    assert str(caught.value).count("; ") == 6


def test_incomplete_folders(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"a folder without config\.json; expected a Hugging Face model folder"):
        load(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"config\.json: cannot be read as JSON: "):
        load(tmp_path)
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(CheckpointError, match=r"config\.json: expected a JSON object, got list"):
        load(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "hubert"}')
    with pytest.raises(CheckpointError, match=r"neither model\.safetensors nor pytorch_model\.bin, nor"):
        load(tmp_path)
    torch.save([1], tmp_path / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"pytorch_model\.bin: expected a state dict, got list"):
        load(tmp_path)
    (tmp_path / "model.safetensors.index.json").write_text('{"weight_map": {"a": "model-1.safetensors"}}')
    with pytest.raises(CheckpointError, match=r"model-1\.safetensors: No such file"):
        load(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text('{"do_normalize": "yes"}')
    with pytest.raises(CheckpointError, match="do_normalize: expected true or false, got 'yes'"):
        load(tmp_path)


def test_weights_alone_ask_for_their_folder(tmp_path: Path) -> None:
    hugging_face(**BASE).save_pretrained(tmp_path)
    with pytest.raises(
        CheckpointError, match=r"Hugging Face weights: give the folder that also holds their config\.json"
    ):
        load(tmp_path / "model.safetensors")
