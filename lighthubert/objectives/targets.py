"""What a subnet predicts of its teacher: a mean of the last layers, or layers pair by pair."""

# B batch, T frames, D the teacher's width, E the subnet's

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lighthubert.elastic import Subnet, Supernet
from lighthubert.models import HubertConfig, HubertOutput, valid_mask
from lighthubert.models.frontend import standardize


@dataclass(frozen=True)
class TargetConfig:
    """LightHuBERT's released recipe averages the FFN outputs of the last 8 layers, taken before the residual add.

    How it normalises them is not known; "layer" is our choice.
    """

    layers: int = 8  # how many of the teacher's last layers are averaged
    tap: str = "ffn"  # "ffn": the FFN's output before the residual add | "layer": the layer's output
    normalize: str = (
        "layer"  # of each layer before the mean: "layer" per frame | "instance" per channel over time | "none"
    )
    pairs: list[int] = field(default_factory=list)  # instead of the mean: teacher layers that the same layers predict

    def __post_init__(self) -> None:
        problems = []
        for key, choices in {"tap": ("ffn", "layer"), "normalize": ("layer", "instance", "none")}.items():
            if getattr(self, key) not in choices:
                problems.append(f"{key}: must be one of {', '.join(choices)}, got {getattr(self, key)!r}")
        if self.layers < 1:
            problems.append(f"layers: must be positive, got {self.layers}")
        if self.pairs and min(self.pairs) < 1:
            problems.append(f"pairs: layers count from 1, got {list(self.pairs)}")
        if problems:
            raise ValueError("; ".join(problems))

    def check(self, teacher: HubertConfig, student: HubertConfig) -> None:
        """Raises ValueError if the nets do not have these layers."""
        if self.pairs:
            if max(self.pairs) > min(teacher.num_layers, student.num_layers):
                depth = f"teacher has {teacher.num_layers} layers, the student {student.num_layers}"
                raise ValueError(f"target.pairs: the {depth}, got {list(self.pairs)}")
        elif self.layers > teacher.num_layers:
            raise ValueError(f"target.layers: the teacher has {teacher.num_layers} layers, got {self.layers}")

    @property
    def keys(self) -> list[str]:
        """Names of the prediction heads: "last", or the number of a layer."""
        return [str(layer) for layer in self.pairs] or ["last"]

    def describe(self) -> dict[str, Any]:
        """JSON-able; what a supernet's file says its heads predict."""
        return {"layers": self.layers, "tap": self.tap, "normalize": self.normalize, "pairs": list(self.pairs)}


@torch.no_grad()
def targets(output: HubertOutput, config: TargetConfig) -> dict[str, Tensor]:
    """The teacher's output -> head's name -> target (B, T, D) float32."""
    states = output.ffn_outputs if config.tap == "ffn" else output.hidden_states[1:]
    if config.pairs:
        return {str(layer): _normalized(states[layer - 1], output.lengths, config) for layer in config.pairs}
    last = [_normalized(state, output.lengths, config) for state in states[-config.layers :]]
    return {"last": torch.stack(last).mean(0)}


def _normalized(state: Tensor, frames: Tensor, config: TargetConfig) -> Tensor:
    state = state.float()
    if config.normalize == "layer":
        return F.layer_norm(state, state.shape[-1:])
    if config.normalize == "instance":
        valid = valid_mask(frames, state.shape[1])[:, None]
        return standardize(state.transpose(1, 2), valid, frames[:, None, None]).transpose(1, 2)
    return state


def predictions(supernet: Supernet, output: HubertOutput, subnet: Subnet, config: TargetConfig) -> dict[str, Tensor]:
    """A subnet's output -> head's name -> prediction (B, T, D); a pair whose layer the subnet left out has none."""
    if not config.pairs:
        return {"last": supernet.predict(output.last_hidden_state, subnet)}
    kept = {layer + 1: position + 1 for position, layer in enumerate(subnet.layers)}
    return {
        str(layer): supernet.predict(output.hidden_states[kept[layer]], subnet, str(layer))
        for layer in config.pairs
        if layer in kept
    }
