"""DPHuBERT's own files, against a net computed by hand from the tensors and the settings of the file."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from foreign_nets import assert_same, wav2vec2
from torch import Tensor

from lighthubert import cost
from lighthubert.checkpoint import CheckpointError, load, save

State = dict[str, Tensor]
CHANNELS, HEADS, UNITS = [9, 16, 4, 7, 16, 5, 11], [1, 0, 2], [60, 160, 3]
ATTENTION, FFN = [True, False, True], [True, True, False]


def settings(large: bool) -> dict[str, Any]:
    kernels, strides = [10, 3, 3, 3, 3, 2, 2], [5, 2, 2, 2, 2, 2, 2]
    return {
        "extractor_mode": "layer_norm" if large else "group_norm",
        "extractor_conv_layer_config": list(zip(CHANNELS, kernels, strides, strict=True)),
        "extractor_conv_bias": False,
        "encoder_embed_dim": 128,
        "encoder_projection_dropout": 0.1,
        "encoder_pos_conv_kernel": 32,
        "encoder_pos_conv_groups": 16,
        "encoder_num_layers": 3,
        "encoder_use_attention": ATTENTION,
        "encoder_use_feed_forward": FFN,
        "encoder_num_heads": HEADS,
        "encoder_head_dim": 64,
        "encoder_attention_dropout": 0.2,
        "encoder_ff_interm_features": UNITS,
        "encoder_ff_interm_dropout": 0.0,
        "encoder_dropout": 0.1,
        "encoder_layer_norm_first": large,
        "encoder_layer_drop": 0.05,
        "aux_num_out": None,
        "normalize_waveform": large,
        "extractor_prune_conv_channels": False,
    }


def pruned(large: bool) -> State:
    """torchaudio's net, cut down by hand."""
    state, layers = dict(wav2vec2(large).state_dict()), "encoder.transformer.layers."
    for key, tensor in list(state.items()):
        if key.startswith("feature_extractor."):
            i = int(key.split(".")[2])
            tensor = tensor[: CHANNELS[i]]
            state[key] = tensor[:, : CHANNELS[i - 1]] if i and tensor.ndim == 3 else tensor
        elif key.startswith("encoder.feature_projection.layer_norm."):
            state[key] = tensor[: CHANNELS[-1]]
        elif key == "encoder.feature_projection.projection.weight":
            state[key] = tensor[:, : CHANNELS[-1]]
        elif key.startswith(layers):
            i, part = int(key.split(".")[3]), ".".join(key.split(".")[4:])
            rows = 64 * HEADS[i] if part.startswith("attention") else UNITS[i]
            if part.startswith("attention") > ATTENTION[i] or part.startswith("feed_forward") > FFN[i]:
                del state[key]
            elif "out_proj.weight" in part or "output_dense.weight" in part:
                state[key] = tensor[:, :rows]
            elif ("_proj" in part and "out_proj" not in part) or "intermediate_dense" in part:
                state[key] = tensor[:rows]
    gates = torch.rand(CHANNELS[-1], generator=torch.Generator().manual_seed(1))
    return {key: t.clone() for key, t in state.items()} | {"feature_extractor.dummy_weight": 0.3 + 0.7 * gates}


def by_hand(state: State, config: dict[str, Any], wave: Tensor) -> list[Tensor]:
    """The outputs of the layers; what DPHuBERT's model computes, written down anew."""

    def linear(x: Tensor, name: str) -> Tensor:
        return F.linear(x, state[f"{name}.weight"], state[f"{name}.bias"])

    def norm(x: Tensor, name: str) -> Tensor:
        return F.layer_norm(x, x.shape[-1:], state[f"{name}.weight"], state[f"{name}.bias"])

    def attention(x: Tensor, name: str, heads: int) -> Tensor:
        q, k, v = (linear(x, f"{name}.{n}_proj").unflatten(2, (heads, 64)).transpose(1, 2) for n in "qkv")
        weights = (q @ k.transpose(2, 3) / math.sqrt(64)).softmax(-1)
        return linear((weights @ v).transpose(1, 2).flatten(2), f"{name}.out_proj")

    first, x = config["encoder_layer_norm_first"], wave[:, None]
    x = F.layer_norm(x, x.shape[-1:]) if config["normalize_waveform"] else x
    for i, (channels, _, stride) in enumerate(config["extractor_conv_layer_config"]):
        name = f"feature_extractor.conv_layers.{i}"
        x = F.conv1d(x, state[f"{name}.conv.weight"], stride=stride)
        if config["extractor_mode"] == "layer_norm":
            x = norm(x.transpose(1, 2), f"{name}.layer_norm").transpose(1, 2)
        elif i == 0:
            x = F.group_norm(x, channels, state[f"{name}.layer_norm.weight"], state[f"{name}.layer_norm.bias"])
        x = F.gelu(x)
    x = x.transpose(1, 2) * state["feature_extractor.dummy_weight"]
    x = linear(norm(x, "encoder.feature_projection.layer_norm"), "encoder.feature_projection.projection")
    conv = "encoder.transformer.pos_conv_embed.conv"
    lengths, directions = sorted((t for key, t in state.items() if conv in key and t.ndim == 3), key=Tensor.numel)
    kernel = directions * lengths / directions.square().sum((0, 1), keepdim=True).sqrt()
    positions = F.conv1d(x.transpose(1, 2), kernel, state[f"{conv}.bias"], padding=16, groups=16)[..., :-1]
    x, outputs = x + F.gelu(positions).transpose(1, 2), []
    x = x if first else norm(x, "encoder.transformer.layer_norm")
    for i in range(3):
        name = f"encoder.transformer.layers.{i}"
        if config["encoder_use_attention"][i]:
            heard = norm(x, f"{name}.layer_norm") if first else x
            x = x + attention(heard, f"{name}.attention", config["encoder_num_heads"][i])
        x = x if first else norm(x, f"{name}.layer_norm")
        if config["encoder_use_feed_forward"][i]:
            heard = norm(x, f"{name}.final_layer_norm") if first else x
            inner = F.gelu(linear(heard, f"{name}.feed_forward.intermediate_dense"))
            x = x + linear(inner, f"{name}.feed_forward.output_dense")
        x = x if first else norm(x, f"{name}.final_layer_norm")
        outputs.append(x)
    return [*outputs[:-1], norm(x, "encoder.transformer.layer_norm") if first else x]


def write(path: Path, state: State, config: dict[str, Any]) -> Path:
    torch.save({"state_dict": state, "config": config, "distill_linear_projs": {"0.weight": torch.zeros(3, 3)}}, path)
    return path


@pytest.mark.parametrize("large", [False, True], ids=["base", "large"])
def test_a_pruned_net(tmp_path: Path, wave: Tensor, large: bool) -> None:
    state, config = pruned(large), settings(large)
    net = load(write(tmp_path / "net.pth", state, config))
    assert (net.config.num_heads, net.config.ffn_dim) == ((1, 0, 2), (60, 160, 0))
    assert (net.config.conv_channels, net.config.attention_dropout) == (tuple(CHANNELS), 0.2)
    save(net, tmp_path / "ours.safetensors")
    with torch.no_grad():
        theirs = by_hand(state, config, wave)
        for ours in (net, load(tmp_path / "ours.safetensors")):
            for x, y in zip(ours(wave).hidden_states[1:], theirs, strict=True):
                torch.testing.assert_close(x, y, rtol=0, atol=1e-5 * y.abs().max().item())
    # Ours has mask embedding and two biases of zeros more.
    assert cost.num_params(net.config) == sum(t.numel() for t in state.values()) - 32 + 128 + 2 * 128


@pytest.mark.parametrize("large", [False, True], ids=["base", "large"])
def test_a_net_before_pruning(tmp_path: Path, wave: Tensor, large: bool) -> None:
    """As its converters write it, without gates, and with gates that are all open; and a test of `by_hand`."""
    model = wav2vec2(large)
    convs = [(16, kernel, stride) for _, kernel, stride in settings(large)["extractor_conv_layer_config"]]
    config = settings(large) | {"extractor_conv_layer_config": convs, "encoder_num_heads": [2] * 3}
    config |= {"encoder_ff_interm_features": [160] * 3, "encoder_use_attention": [True] * 3}
    config["encoder_use_feed_forward"] = [True] * 3
    state = dict(model.state_dict())
    assert_same(load(write(tmp_path / "net.pth", state, config)), model, wave)
    state["feature_extractor.dummy_weight"] = torch.ones(16)
    net = load(write(tmp_path / "net.pth", state, config))
    assert not net.config.conv_scale
    assert_same(net, model, wave)
    with torch.no_grad():
        theirs = by_hand(state, config, wave)
        torch.testing.assert_close(net(wave).last_hidden_state, theirs[-1], rtol=0, atol=1e-5 * theirs[-1].abs().max())


def test_settings_that_are_wrong(tmp_path: Path) -> None:
    state, config = pruned(False), settings(False)
    layer = "encoder.transformer.layers.1."
    for key, value, message in [
        ("encoder_head_dim", "x", "config: encoder_head_dim: expected int, got 'x'"),
        ("encoder_use_attention", [1, 1, 1], "encoder_use_attention: expected a list of true and false, got [1, 1, 1]"),
        ("extractor_conv_layer_config", [[16, 10]], "extractor_conv_layer_config: expected channels, kernel"),
        ("encoder_num_heads", [1, 1], "config: the settings of its layers are not of one length"),
        ("encoder_remaining_heads", [[0]], "config: of a WavLM; only HuBERT"),
        ("encoder_num_layers", 4, "4 layers by the settings, but tensors of 3"),
        ("encoder_ff_interm_features", [61, 160, 3], "intermediate_dense.weight: shape (60, 128), expected (61, 128)"),
        ("encoder_use_feed_forward", [True, False, False], f"{layer}feed_forward.intermediate_dense.weight: shape"),
        ("encoder_use_attention", [True] * 3, f"{layer}attention.out_proj.bias: missing"),
    ]:
        with pytest.raises(CheckpointError) as caught:
            load(write(tmp_path / "net.pth", state, config | {key: value}))
        assert message in str(caught.value)
    del config["normalize_waveform"]
    with pytest.raises(CheckpointError, match="config: normalize_waveform: missing"):
        load(write(tmp_path / "net.pth", state, config))
