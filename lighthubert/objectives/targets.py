"""What a subnet predicts of its teacher: a mean of the last layers, or layers pair by pair."""

# B batch, T frames, D the teacher's width, E the subnet's

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from lighthubert.elastic import Subnet, Supernet
from lighthubert.models import HubertConfig, HubertOutput, require_same_frames, valid_mask
from lighthubert.models.frontend import standardize
from lighthubert.schema import POSITIVE, Checked, Rule


@dataclass(frozen=True)
class TargetConfig(Checked):
    """LightHuBERT's released recipe averages the FFN outputs of the last 8 layers, taken before the residual add.

    How it normalises them is not known; "layer" is our choice.
    """

    layers: Annotated[int, POSITIVE] = 8
    """So many of the teacher's last layers are averaged."""
    tap: Literal["ffn", "layer"] = "ffn"
    """What of a layer: the FFN's output before the residual add, or the layer's output."""
    normalize: Literal["layer", "instance", "none"] = "layer"
    """Of each layer before the mean: per frame (layer), per channel over time (instance), or not at all."""
    pairs: Annotated[list[int], Rule("layers count from 1", lambda x: not x or min(x) >= 1)] = field(
        default_factory=list
    )
    """Instead of the mean: layers of the teacher that the same layers predict, one by one."""

    def check(self, teacher: HubertConfig, student: HubertConfig) -> None:
        """Raises ValueError if the nets do not have these layers, or other frames than each other."""
        require_same_frames(teacher, student)
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
