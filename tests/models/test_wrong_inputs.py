"""Which message a wrong input of a net gets."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch
from tiny import FEW, LARGE, NET, random_hubert, random_supernet

from lighthubert.models import Hubert, HubertConfig

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
        "lengths: expected integers of shape (2,), got torch.int64 (1,)",
    ),
    "lengths in seconds": (
        {"waveform": torch.zeros(2, 1000), "lengths": torch.tensor([0.05, 0.04])},
        "lengths: expected integers of shape (2,), got torch.float32 (2,)",
    ),
    "an array": ({"waveform": np.zeros((1, 1000))}, "waveform: expected a torch tensor, got ndarray"),
    "lengths as a list": (
        {"waveform": torch.zeros(2, 1000), "lengths": [1000, 500]},
        "lengths: expected a torch tensor, got list",
    ),
    "a mask as an array": (
        {"waveform": torch.zeros(2, 1000), "mask": np.zeros((2, 2), dtype=bool)},
        "mask: expected a torch tensor, got ndarray",
    ),
    "a mask of numbers": (
        {"waveform": torch.zeros(2, 1000), "mask": torch.zeros(2, 2)},
        "mask: expected bool of shape (2, 2) (clips, frames), got torch.float32 (2, 2)",
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
        "mask: expected bool of shape (2, 2) (clips, frames), got torch.bool (2, 1000)",
    ),
}


@pytest.mark.parametrize("case", WRONG_INPUTS)
def test_wrong_inputs(case: str) -> None:
    arguments, message = WRONG_INPUTS[case]
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        Hubert(NET)(**arguments)


def test_clips_of_other_precisions(rng: np.random.Generator) -> None:
    """float64, as numpy and soundfile make clips, says what float32 does, and so does float32 to a net in float64."""
    clip = torch.from_numpy(rng.standard_normal((1, 2000)))
    for net in (random_hubert(NET), random_hubert(HubertConfig.from_dict({**NET.to_dict(), **LARGE}))):
        with torch.no_grad():
            out, expected = net(clip).last_hidden_state, net(clip.float()).last_hidden_state
            assert out.dtype == torch.float32
            assert (out - expected).abs().max() <= 1e-5 * expected.abs().max()
            double = net.double()(clip.float()).last_hidden_state
            assert double.dtype == torch.float64
            assert (double - expected).abs().max() <= 1e-5 * expected.abs().max()
    supernet = random_supernet(FEW)
    with torch.no_grad():
        assert torch.equal(supernet(clip, None, FEW.smallest()).last_hidden_state,
                           supernet(clip.float(), None, FEW.smallest()).last_hidden_state)  # fmt: skip
