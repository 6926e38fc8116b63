"""Which message a wrong input of a net gets."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from tiny import NET

from lighthubert.models import Hubert

WRONG_INPUTS: dict[str, tuple[dict[str, Any], str]] = {
    "one dimension": (
        {"waveform": torch.zeros(1000)},
        "waveform: expected floats of shape (clips, samples), got torch.float32 (1000,)",
    ),
    "integers": (
        {"waveform": torch.zeros(1, 1000, dtype=torch.int16)},
        "waveform: expected floats of shape (clips, samples), got torch.int16 (1, 1000)",
    ),
    "too short": ({"waveform": torch.zeros(1, 399)}, "waveform: needs 400 samples or more (one frame), got 399"),
    "lengths of another batch": (
        {"waveform": torch.zeros(2, 1000), "lengths": torch.tensor([1000])},
        "lengths: expected shape (2,), got (1,)",
    ),
    "a clip too short": (
        {"waveform": torch.zeros(2, 1000), "lengths": torch.tensor([1000, 399])},
        "lengths: must lie within 400 and 1000, got [1000, 399]",
    ),
    "longer than the batch": (
        {"waveform": torch.zeros(2, 1000), "lengths": torch.tensor([1001, 400])},
        "lengths: must lie within 400 and 1000, got [1001, 400]",
    ),
    "a mask of samples": (
        {"waveform": torch.zeros(2, 1000), "mask": torch.zeros(2, 1000, dtype=torch.bool)},
        "mask: expected shape (2, 2) (clips, frames), got (2, 1000)",
    ),
}


@pytest.mark.parametrize("case", WRONG_INPUTS)
def test_wrong_inputs(case: str) -> None:
    arguments, message = WRONG_INPUTS[case]
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        Hubert(NET)(**arguments)
