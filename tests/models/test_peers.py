"""Hidden states against other programs' HuBERTs with random weights, read through the checkpoint loader."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import lighthubert as lh
from lighthubert import checkpoint

TOLERANCE = 1e-5  # of the state's deviation

SMALL = {
    "hidden_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 96,
    "conv_dim": (24, 20, 20, 20, 20, 20, 28),
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}
HUBERTS = {
    "base-like": {"feat_extract_norm": "group"},
    "large-like": {"feat_extract_norm": "layer", "conv_bias": True, "do_stable_layer_norm": True},
    "group front-end, pre-norm": {"feat_extract_norm": "group", "do_stable_layer_norm": True},
}


@torch.no_grad()
def jittered(model: nn.Module) -> nn.Module:
    """Biases that are not 0, norms that are not 1, matrices that keep the scale of what they are given: freshly
    initialised ones are so small that GELU and attention are almost linear, and a wrong one would not show."""
    torch.manual_seed(0)
    for parameter in model.parameters():
        if parameter.ndim == 1:
            parameter += 0.1 * torch.randn_like(parameter)
        elif parameter.ndim == 2:
            parameter *= parameter.shape[1] ** -0.5 / parameter.std()
    return model.eval()


def assert_close(ours: Tensor, theirs: Tensor, what: str) -> None:
    assert ours.shape == theirs.shape, what
    error = float((ours - theirs).abs().max() / theirs.std())
    assert error < TOLERANCE, f"{what}: {error:.1e}"


@torch.no_grad()
def compare_with_transformers(model: nn.Module, folder: Path, num_samples: tuple[int, ...]) -> lh.HubertConfig:
    """One clip at a time: all states, and the norms that only transformers' state 0 includes."""
    model.save_pretrained(folder)  # type: ignore[operator]
    net = checkpoint.load(folder)
    assert isinstance(net, lh.Hubert)
    projection: list[Any] = []
    handle = model.feature_projection.register_forward_hook(lambda *args: projection.append(args[2]))  # type: ignore[union-attr,operator]
    for samples in num_samples:
        waveform = 0.1 * torch.randn(1, samples) + 0.05
        theirs = model(
            F.layer_norm(waveform, (samples,)) if net.config.normalize_waveform else waveform, output_hidden_states=True
        )
        ours = net(waveform)
        state0 = projection.pop()
        assert_close(ours.hidden_states[0], state0[0] if isinstance(state0, tuple) else state0, "state 0")
        assert len(ours.hidden_states) == len(theirs.hidden_states) == net.config.num_layers + 1
        # The last of transformers 5's states comes before the final norm of a pre-norm net, that of 4 behind it.
        for i, state in enumerate((*theirs.hidden_states[1:-1], theirs.last_hidden_state), start=1):
            assert_close(ours.hidden_states[i], state, f"state {i} of {samples} samples")
        assert torch.equal(ours.last_hidden_state, ours.hidden_states[-1])
    handle.remove()
    return net.config


@pytest.mark.parametrize("variant", HUBERTS)
def test_transformers_hubert(variant: str, tmp_path: Path) -> None:
    from transformers import HubertConfig, HubertModel

    torch.manual_seed(0)
    model = jittered(HubertModel(HubertConfig(**SMALL, **HUBERTS[variant])))
    config = compare_with_transformers(model, tmp_path, (400, 1000, 7999, 16000))
    assert (config.conv_norm == "layer") == (variant == "large-like") == config.conv_bias
    assert config.norm_first == (variant != "base-like")


def test_transformers_data2vec_with_five_positional_convolutions(tmp_path: Path) -> None:
    from transformers import Data2VecAudioConfig, Data2VecAudioModel

    torch.manual_seed(0)
    sizes = {**SMALL, "num_conv_pos_embeddings": 5}  # here: the number of convolutions
    model = jittered(Data2VecAudioModel(Data2VecAudioConfig(**sizes, conv_pos_kernel_size=19)))
    config = compare_with_transformers(model, tmp_path, (400, 1000, 7999, 16000))
    assert (config.pos_conv_depth, config.pos_conv_kernel, config.norm_first) == (5, 19, False)


@torch.no_grad()
def compare_with_torchaudio(model: nn.Module, path: Path) -> None:
    torch.save(jittered(model).state_dict(), path)
    net = checkpoint.load(path)
    assert isinstance(net, lh.Hubert)
    waveform = 0.1 * torch.randn(1, 9000)
    audio = F.layer_norm(waveform, (9000,)) if net.config.normalize_waveform else waveform
    states, _ = model.extract_features(audio)  # type: ignore[operator]
    last, _ = model(audio)
    ours = net(waveform).hidden_states
    assert len(ours) == len(states) + 1 == net.config.num_layers + 1
    for i, state in enumerate(states[:-1], start=1):
        assert_close(ours[i], state, f"state {i}")
    assert_close(ours[-1], last, "last state")  # with the final norm, which torchaudio's list is without


def test_torchaudio_base_as_published(tmp_path: Path) -> None:
    import torchaudio

    torch.manual_seed(0)
    compare_with_torchaudio(torchaudio.models.hubert_base(), tmp_path / "base.pt")


@pytest.mark.slow
def test_torchaudio_large_as_published(tmp_path: Path) -> None:
    import torchaudio

    torch.manual_seed(0)
    compare_with_torchaudio(torchaudio.models.hubert_large(), tmp_path / "large.pt")


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["base-like", "large-like"])
def test_transformers_at_full_size(variant: str, tmp_path: Path) -> None:
    from transformers import HubertConfig, HubertModel

    torch.manual_seed(0)
    large = {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096}
    sizes = large if variant == "large-like" else {}
    model = jittered(HubertModel(HubertConfig(**sizes, **HUBERTS[variant])))
    config = compare_with_transformers(model, tmp_path, (400, 16000))
    published = lh.HubertConfig.large() if sizes else lh.HubertConfig.base()
    for key in (
        "conv_channels",
        "conv_bias",
        "conv_norm",
        "embed_dim",
        "num_heads",
        "ffn_dim",
        "norm_first",
        "pos_conv_groups",
    ):
        assert getattr(config, key) == getattr(published, key), key
