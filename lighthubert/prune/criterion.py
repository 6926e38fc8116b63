"""What a net learns while it is pruned: a teacher's hidden states, or labels of clips (a tasks.LabelledTask)."""

# B clips, T frames, E embed

from __future__ import annotations

import torch
from torch import Tensor, nn

from lighthubert.data import Batch, DataConfig, Manifest, eval_batches
from lighthubert.models import Hubert, HubertConfig, HubertOutput, num_frames, require_same_frames, valid_mask
from lighthubert.objectives import distance
from lighthubert.prune.recipe import DistillConfig
from lighthubert.runtime.sums import Sums
from lighthubert.tasks.labelled import LabelledTask, Net


class Maps(nn.Module):
    """Linear maps from a net's hidden states to a teacher's, the identity at first: one for the front-end's projection,
    one that all other layers share (DPHuBERT)."""

    def __init__(self, embed_dim: int, teacher_dim: int, layers: list[int]) -> None:
        super().__init__()
        kinds = dict.fromkeys("frontend" if layer == 0 else "layers" for layer in layers)
        self.maps = nn.ModuleDict({kind: nn.Linear(embed_dim, teacher_dim, bias=False) for kind in kinds})
        for linear in self.maps.children():
            nn.init.eye_(linear.weight)  # type: ignore[arg-type]

    def forward(self, state: Tensor, layer: int) -> Tensor:
        mapped: Tensor = self.maps["layers" if layer else "frontend"](state)
        return mapped


class Distil:
    """The distance of some hidden states from a teacher's, a mean over layers, summed over valid frames.

    head: what it adds to the net.
    """

    def __init__(self, teacher: Hubert, net: HubertConfig, config: DistillConfig, valid: Manifest,
                 data: DataConfig) -> None:  # fmt: skip
        require_same_frames(teacher.config, net)
        for name, sizes in (("teacher", teacher.config), ("net", net)):
            if max(config.layers) > sizes.num_layers:
                raise ValueError(f"distill.layers: the {name} has {sizes.num_layers} layers, got {config.layers}")
        self.teacher, self.config, self.valid, self.data = teacher.eval().requires_grad_(False), config, valid, data
        self.head: nn.Module = Maps(net.embed_dim, teacher.config.embed_dim, config.layers)

    def count(self, batch: Batch) -> float:
        """How many frames the batch's loss is a sum over."""
        return float(num_frames(batch.lengths, self.teacher.config).sum())

    def masks(self, batch: Batch) -> tuple[None, None]:
        """The net sees all frames and channels."""
        return None, None

    def loss(self, output: HubertOutput, batch: Batch) -> Tensor:
        """The sum of the batch's losses (); batch on the net's device."""
        with torch.no_grad():
            goal = self.teacher(batch.waveform, batch.lengths).hidden_states
        valid, own = valid_mask(output.lengths, goal[0].shape[1]), output.hidden_states
        losses = [
            (distance(self.head(own[i], i), goal[i], self.config.distance) * valid).sum() for i in self.config.layers
        ]
        return torch.stack(losses).mean()

    def evaluate(self, net: Net, rank: int, world: int) -> Sums:
        """Sums of the loss over a rank's share of the held-out clips."""
        device, sums = next(self.teacher.parameters()).device, Sums()
        for batch in eval_batches(self.valid, self.data, self.teacher.config, rank, world):
            batch = batch.to(device)
            sums.add("loss/distance", float(self.loss(net(batch.waveform, batch.lengths), batch)), self.count(batch))
        return sums


Criterion = LabelledTask | Distil  # a loss on top of a net's outputs
