"""Files in the released LightHuBERT's layout give what the original computes (the oracle beside these tests)."""

from pathlib import Path
from typing import Any

import oracle
import pytest
import torch
from oracle import write_released
from torch import Tensor

from lighthubert import Supernet
from lighthubert.checkpoint import CheckpointError, load, save


@pytest.mark.parametrize("mode", ["default", "layer_norm"])
def test_a_released_file_computes_what_the_original_does(tmp_path: Path, mode: str) -> None:
    model = {"_name": "hubert_pruner", "pruner_supernet": "/home/Someone/Small.yaml"}
    net = load(write_released(tmp_path / "net.pt", oracle.state_dict(mode), model))
    assert isinstance(net, Supernet)
    assert net.space.num_archs == 951_892_141_473
    assert net.space.parent.conv_norm == {"default": "group", "layer_norm": "layer"}[mode]
    records = [r for r in oracle.records() if (r["space"], r["mode"]) == ("small", mode)]
    assert records
    for record in records:
        key, wave = next(iter(oracle.waves(record).items()))
        subnet = net.space.subnet(net.space.arch({k: v for k, v in record["arch"].items() if k != "ffn_ratio"}))
        with torch.no_grad():
            out = net(wave[None], None, subnet)
            head = net.predict(out.last_hidden_state, subnet)
        errors = oracle.compare(record, key, [state[0] for state in out.hidden_states], head[0])
        assert max(errors.pop("mean"), errors.pop("std")) < 2e-5
        assert max(errors.values()) < 2e-4


@pytest.mark.parametrize(
    ("model", "space", "num_archs"),
    [
        ({"_name": "hubert_pruner", "pruner_supernet": "supernet/base.yaml"}, "base", 6_530_347_008),
        ({"_name": "hubert_pruner", "supernet_type": "base"}, "base", 6_530_347_008),
        ({"supernet_type": "small"}, "small", 951_892_141_473),
        ({"_name": "student_hubert"}, "stage1", 1),  # none but the whole net was trained
    ],
)
def test_the_settings_name_the_space(tmp_path: Path, model: dict[str, Any], space: str, num_archs: int) -> None:
    net = load(write_released(tmp_path / "net.pt", hollow(), model))
    assert isinstance(net, Supernet)
    assert (net.space.name, net.space.num_archs) == (space, num_archs)
    assert net.config.normalize_waveform
    assert net.predicts is not None
    if space == "stage1":
        assert net.sample().config.num_heads == (12,) * 12


def test_a_released_file_as_our_own(tmp_path: Path) -> None:
    path = tmp_path / "net.pt"
    net = load(write_released(path, hollow(), {"_name": "hubert_pruner", "supernet_type": "small"}))
    assert isinstance(net, Supernet)
    save(net, path, torch.float16)
    again = load(path)
    assert isinstance(again, Supernet)
    assert (again.space, again.predicts) == (net.space, net.predicts)
    assert again.head["last"].weight.shape == (768, 768)


def hollow() -> dict[str, Tensor]:
    """The released layout in a quarter of its megabytes: 0.5 in eight bits everywhere."""
    eight_bits = {name: torch.full(shape, 0x30, dtype=torch.uint8) for name, shape in oracle.shapes("default").items()}
    return {name: tensor.view(torch.float8_e4m3fn) for name, tensor in eight_bits.items()}


def test_released_files_that_are_wrong(tmp_path: Path) -> None:
    state = {**hollow(), "layer_pred_heads.10.weight": torch.zeros(1)}
    del state["layer_pred_heads.11.weight"], state["encoder.layers.3.fc1.bias"]
    state["encoder.pos_conv.0.weight_g"] = torch.zeros(768, 1, 1)
    path = write_released(tmp_path / "net.pt", state, {"_name": "hubert_pruner", "supernet_type": "base"})
    with pytest.raises(CheckpointError) as caught:
        load(path)
    for problem in (
        "layer_pred_heads.10.weight: unexpected",
        "layer_pred_heads.11.weight: missing",
        "encoder.layers.3.fc1.bias: missing",
        "encoder.pos_conv.0.weight_g: shape (768, 1, 1), expected one length for each kernel tap",
    ):
        assert problem in str(caught.value)
    assert str(caught.value).count("; ") == 3
    path = write_released(tmp_path / "net.pt", hollow(), {"_name": "hubert_pruner", "pruner_supernet": "large.yaml"})
    with pytest.raises(
        CheckpointError, match=r"pruner_supernet must end in base.yaml or small.yaml, or supernet_type be"
    ):
        load(path)
