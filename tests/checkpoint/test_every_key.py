"""Whichever tensor is missing, misshapen or too many: one error names it as the file does."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from foreign_nets import BASE, LARGE, fairseq_state, hugging_face, told, wav2vec2
from torch import Tensor

from lighthubert.checkpoint import CheckpointError, load

State = dict[str, Tensor]


def in_hugging_face(folder: Path) -> tuple[State, Callable[[State], Path]]:
    model = hugging_face(**LARGE, num_hidden_layers=2)
    model.config.save_pretrained(folder)

    def write(state: State) -> Path:
        torch.save(state, folder / "pytorch_model.bin")
        return folder

    return model.state_dict(), write


def in_torchaudio(folder: Path) -> tuple[State, Callable[[State], Path]]:
    def write(state: State) -> Path:
        torch.save(state, folder / "net.pt")
        return folder / "net.pt"

    return wav2vec2(True, encoder_num_layers=2).state_dict(), write


def in_fairseq(folder: Path) -> tuple[State, Callable[[State], Path]]:
    settings = {"encoder_embed_dim": 128, "encoder_attention_heads": 2, "encoder_layers": 2}

    def write(state: State) -> Path:
        torch.save({"cfg": {"model": settings}, "model": state}, folder / "net.pt")
        return folder / "net.pt"

    state = fairseq_state(hugging_face(**BASE, num_hidden_layers=2), False)
    return {key: value for key, value in state.items() if not key.startswith(("label_", "final_"))}, write


@pytest.mark.parametrize("layout", [in_hugging_face, in_torchaudio, in_fairseq])
def test_each_key(tmp_path: Path, layout: Callable[..., tuple[State, Callable[[State], Path]]]) -> None:
    state, write = layout(tmp_path)
    said = told(True) if layout is in_torchaudio else None
    load(write(state), said)
    for i, key in enumerate(state):
        other = list(state)[i - 7]
        changed = {k: v for k, v in state.items() if k != key} | {other: torch.zeros(3, 5), "another": torch.zeros(1)}
        with pytest.raises(CheckpointError) as caught:
            load(write(changed), said)
        message = str(caught.value)
        half = key.endswith(("weight_g", "weight_v", "original0", "original1"))
        assert "another: unexpected" in message
        assert f"{other}: shape (3, 5), expected " in message
        assert "the other half of this weight norm is missing" in message if half else key in message, (key, message)
