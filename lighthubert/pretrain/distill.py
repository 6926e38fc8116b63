"""Distillation: subnets of a supernet predict what a teacher's last layers say of masked speech."""

# B clips, T frames, D the teacher's width

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from lighthubert import cost
from lighthubert.data import Batch, Manifest, eval_batches
from lighthubert.elastic import Subnet, Supernet
from lighthubert.models import Arch, Hubert, HubertOutput, num_frames, valid_mask
from lighthubert.objectives import distance, draw_mask, frame_weights, predictions, targets
from lighthubert.pretrain.recipe import Distill
from lighthubert.runtime.sums import Sums
from lighthubert.train import Objective

Targets = dict[str, Tensor]  # head's name -> (B, T, D)


class Distillation(Objective):
    """The objective of both stages."""

    model: Supernet

    def __init__(self, supernet: Supernet, teacher: Hubert, recipe: Distill, valid: Manifest) -> None:
        self.model, self.recipe, self.valid = supernet, recipe, valid
        self.teacher = teacher.eval().requires_grad_(False)
        self.archs = eval_archs(supernet, recipe.eval_archs)

    def names(self, step: int) -> list[str]:
        """Which of the recipe's subnets a step trains."""
        names = self.recipe.subnets
        return [names[step % len(names)]] if self.recipe.share == "steps" else names

    def subnets(self, step: int) -> list[Subnet]:
        """The subnets of a step, the same on every rank: a function of (seed, step)."""
        rng, space = random.Random(f"{self.recipe.seed}/{step}"), self.model.space
        draw = {"largest": space.largest, "smallest": space.smallest, "random": lambda: space.sample(rng)}
        return [
            Subnet.full(self.model.config) if name == "parent" else space.subnet(draw[name]())
            for name in self.names(step)
        ]

    def shares(self, batch: Batch, step: int) -> list[list[int]]:
        """The clips of a batch that each subnet of the step sees."""
        rows, n = list(range(len(batch.rows))), len(self.names(step))
        if self.recipe.share != "clips":
            return [rows] * n
        return [rows[(i + step) % n :: n] for i in range(n)]  # clips are sorted by length, so turns are taken

    def weights(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The mask (B, T) and each frame's weight in the loss (B, T), on the host."""
        mask = draw_mask(batch, self.model.config, self.recipe.frames, self.recipe.seed)
        frames = num_frames(batch.lengths.cpu(), self.model.config)
        return mask, frame_weights(mask, frames, self.recipe.frames)

    def counts(self, batch: Batch, step: int) -> Tensor:
        """(subnets,) the weight of all frames that each subnet learns from."""
        if not batch.rows:
            return torch.zeros(len(self.names(step)), dtype=torch.float64)
        _, weights = self.weights(batch)
        return torch.stack([weights[rows].sum(dtype=torch.float64) for rows in self.shares(batch, step)])

    def losses(self, batch: Batch, step: int, totals: Tensor) -> Iterator[tuple[Tensor, dict[str, Tensor]]]:
        """Each subnet's share of the mean over the subnets of their mean distances."""
        recipe, device = self.recipe, batch.waveform.device
        with torch.no_grad():
            target = targets(self.teacher(batch.waveform, batch.lengths), recipe.target)
        mask, weights = (t.to(device) for t in self.weights(batch))
        names = self.names(step)
        alike = Counter(names)
        shares = zip(self.subnets(step), self.shares(batch, step), totals.tolist(), strict=True)
        for i, (subnet, rows, total) in enumerate(shares):
            if not rows or not total:
                continue
            part = take(batch, rows)
            frames = num_frames(part.waveform.shape[1], self.model.config)
            output = self.model(part.waveform, part.lengths, subnet, mask[rows, :frames])
            predicted = predictions(self.model, output, subnet, recipe.target)
            if not predicted:
                continue  # it has none of the paired layers
            goal = {key: value[rows, :frames] for key, value in target.items()}
            loss = self.distance(predicted, goal, weights[rows, :frames]) / total
            if recipe.in_place and i == 0:
                target = target | {key: value.detach() for key, value in predicted.items()}
            yield loss / len(names), {f"loss/{names[i]}": loss.detach() / alike[names[i]]}

    def distance(self, predicted: Targets, target: Targets, weights: Tensor) -> Tensor:
        """Weighted sum over frames of the distance, a mean over the heads that there are."""
        sums = [(distance(predicted[k], target[k], self.recipe.distance) * weights).sum() for k in predicted]
        return torch.stack(sums).mean()

    def evaluate(self, step: int, rank: int, world: int) -> Sums:
        """Distances on held-out clips: of clean speech over all frames, and of masked speech over masked frames."""
        sums, device = Sums(), next(self.model.parameters()).device
        for batch in eval_batches(self.valid, self.recipe.data, self.model.config, rank, world):
            mask, _ = self.weights(batch)
            batch, mask = batch.to(device), mask.to(device)
            output = self.teacher(batch.waveform, batch.lengths)
            target = targets(output, self.recipe.target)
            valid = valid_mask(output.lengths, mask.shape[1])
            for name, arch in self.archs.items():
                subnet = self.model.subnet(arch)
                for kind, masked, weights in (("clean", None, valid), ("masked", mask, valid * mask)):
                    output = self.model(batch.waveform, batch.lengths, subnet, masked)
                    if predicted := predictions(self.model, output, subnet, self.recipe.target):
                        loss = float(self.distance(predicted, target, weights))
                        sums.add(f"{kind}_loss/{name}", loss, float(weights.sum()))
        return sums

    def describe(self) -> dict[str, str]:
        """The space and the measured archs."""
        sizes = {name: cost.num_params(self.model.space.config(arch)) for name, arch in self.archs.items()}
        rows = [f"| {name} | {sizes[name] / 1e6:.2f} | `{arch}` |" for name, arch in self.archs.items()]
        table = "\n".join(["| arch | M parameters | sizes |", "|---|---|---|", *rows])
        return {"space": f"`{self.model.space}`", "archs": table}


def take(batch: Batch, rows: list[int]) -> Batch:
    """Some clips of a batch, padded to the longest of them."""
    if len(rows) == len(batch.rows):
        return batch
    lengths = batch.lengths[rows]
    waveform = batch.waveform[rows, : int(lengths.max())]
    return replace(batch, waveform=waveform, lengths=lengths, rows=tuple(batch.rows[i] for i in rows))


def eval_archs(supernet: Supernet, num_random: int) -> dict[str, Arch]:
    """The archs whose held-out loss is followed: the same in every stage and run of a space."""
    space = supernet.space
    if space.num_archs == 1:
        return {"alone": space.largest()}
    randoms = {f"random{i}": space.sample(random.Random(i)) for i in range(num_random)}
    return {"largest": space.largest(), "smallest": space.smallest()} | randoms


def outputs_agree(a: HubertOutput, b: HubertOutput) -> float:
    """The largest difference of two outputs' hidden states."""
    pairs = zip(a.hidden_states, b.hidden_states, strict=True)
    return max(float((x - y).abs().max()) for x, y in pairs)
