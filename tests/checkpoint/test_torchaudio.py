"""State dicts of torchaudio's HuBERT give the outputs that torchaudio computes, and its bundles load by name."""

import sys
from pathlib import Path

import pytest
import test_dphubert
import torch
import torchaudio
from foreign_nets import BASE, assert_same, fairseq_state, hugging_face, told, wav2vec2, write_fairseq
from safetensors.torch import save_file
from torch import Tensor

from lighthubert import Hubert
from lighthubert.checkpoint import CheckpointError, load, save
from lighthubert.checkpoint.foreign import PUBLISHED


@pytest.mark.parametrize("large", [False, True], ids=["base", "large"])
@pytest.mark.parametrize("form", ["safetensors", "zip", "legacy"])
def test_a_state_dict_computes_what_torchaudio_does(tmp_path: Path, wave: Tensor, large: bool, form: str) -> None:
    model = wav2vec2(large)
    if form == "safetensors":
        save_file(model.state_dict(), tmp_path / "net")
    else:
        torch.save(model.state_dict(), tmp_path / "net", _use_new_zipfile_serialization=form == "zip")
    net = load(tmp_path / "net", told(large))
    assert (net.config.norm_first, net.config.normalize_waveform) == (large, large)
    assert not net.mask_embed.any()
    assert_same(net, model, wave)


def test_the_wrapper_of_a_bundle_that_normalises(tmp_path: Path, wave: Tensor) -> None:
    model = wav2vec2(True)
    torch.save({f"model.{name}": value for name, value in model.state_dict().items()}, tmp_path / "net.pt")
    assert_same(load(tmp_path / "net.pt", told(True)), model, wave)


def test_conv_biases(tmp_path: Path, wave: Tensor) -> None:
    model = wav2vec2(True, extractor_conv_bias=True)
    torch.save(model.state_dict(), tmp_path / "net.pt")
    assert_same(load(tmp_path / "net.pt", told(True)), model, wave)


def test_a_task_s_output_layer_is_left_out(tmp_path: Path) -> None:
    torch.save(wav2vec2(False, aux_num_out=29).state_dict(), tmp_path / "net.pt")
    assert load(tmp_path / "net.pt", told(False)).config.num_layers == 3


def test_other_sizes_than_the_published_ones_are_not_guessed(tmp_path: Path, wave: Tensor) -> None:
    """Another order of norms, or heads of another size, would be another net, without a word."""
    model = wav2vec2(True, encoder_num_heads=4, encoder_layer_norm_first=False)
    torch.save(model.state_dict(), tmp_path / "net.pt")
    with pytest.raises(CheckpointError, match="do not tell head_dim, norm_first, normalize_waveform; say "):
        load(tmp_path / "net.pt")
    with pytest.raises(CheckpointError, match=r"told: needs the keys head_dim, .*, got head_dim$"):
        load(tmp_path / "net.pt", {"head_dim": 32})
    right = {"head_dim": 32, "norm_first": False, "normalize_waveform": False}
    net = load(tmp_path / "net.pt", right)
    assert (net.config.num_heads, net.config.norm_first) == ((4,) * 3, False)
    assert_same(net, model, wave)


def test_what_is_told_of_another_file_is_refused(
    tmp_path: Path, hubert: Hubert, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    save(hubert, "native")
    published = hugging_face(**BASE)
    published.save_pretrained("folder")
    model = {"encoder_embed_dim": 128, "encoder_attention_heads": 2, "encoder_layers": 3}
    write_fairseq(tmp_path / "fairseq", fairseq_state(published, False), {"cfg": {"model": model}})
    test_dphubert.write(tmp_path / "dphubert", test_dphubert.pruned(False), test_dphubert.settings(False))
    for name in ("native", "folder", "fairseq", "dphubert", "HUBERT_BASE"):
        with pytest.raises(CheckpointError, match=f"{name}: told: is of state dicts of torchaudio alone"):
            load(name, told(False))


def test_the_published_sizes_are_those_of_torchaudio() -> None:
    sizes = {}
    for large, name in ((False, "hubert_base"), (True, "hubert_large"), (True, "hubert_xlarge")):
        with torch.device("meta"):
            layers = getattr(torchaudio.models, name)().encoder.transformer.layers
        sizes[layers[0].attention.embed_dim, len(layers), large] = layers[0].attention.head_dim
    assert sizes == PUBLISHED


def test_a_bundle_by_name(tmp_path: Path, wave: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bundle's file lies in torch.hub's cache, so nothing is downloaded; random weights at full size."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    cache = tmp_path / "hub" / "checkpoints"
    cache.mkdir(parents=True)
    torch.manual_seed(0)
    model = torchaudio.models.hubert_base().eval()
    torch.save(model.half().state_dict(), cache / "hubert_fairseq_base_ls960.pth")
    net = load("HUBERT_BASE")
    assert net.config.num_layers == 12
    assert not net.config.normalize_waveform
    assert_same(net, model.float(), wave[:, :2000])


def test_a_bundle_without_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # nobody listens there
    with pytest.raises(
        CheckpointError, match=r"HUBERT_BASE: cannot be downloaded \(.*\); without a network give a file"
    ):
        load("HUBERT_BASE")


def test_a_bundle_without_torchaudio(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchaudio", None)
    with pytest.raises(CheckpointError, match=r"HUBERT_BASE: needs torchaudio: pip install 'lighthubert\[train\]'"):
        load("HUBERT_BASE")


def test_a_file_goes_before_a_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the same name; a name that is no bundle's can only be a file's."""
    monkeypatch.chdir(tmp_path)
    torch.save(wav2vec2(False).state_dict(), "HUBERT_BASE")
    assert load("HUBERT_BASE", told(False)).config.num_layers == 3
    with pytest.raises(CheckpointError, match="WAV2VEC2_ASR_BASE_960H: no such file or folder"):
        load("WAV2VEC2_ASR_BASE_960H")
