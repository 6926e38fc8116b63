"""Parameters with a rate and a direction of their own, against plain AdamW."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import toy
from torch import nn

from lighthubert.data import Manifest
from lighthubert.train import TrainConfig, optim


class Net(nn.Module):
    """A matrix and a bias that descend, gates at another rate, multipliers that ascend."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.linear = nn.Linear(3, 2)
        self.gates = nn.ParameterDict({"a": nn.Parameter(torch.randn(3))})
        self.multipliers = nn.Parameter(torch.zeros(1, 2))

    def loss(self) -> torch.Tensor:
        return 100 * self.linear.weight.square().sum() + self.gates["a"].sin().sum() + (self.multipliers * 2.5).sum()


def adamw(net: nn.Module, config: TrainConfig, groups: dict[str, dict[str, object]]) -> torch.optim.AdamW:
    """The optimizer of an objective with this net and these groups."""
    objective = toy.Loudness(Manifest(Path(), Path(), [], np.zeros(0, dtype=np.int64)))
    objective.model, objective.groups = net, groups
    return optim.adamw(objective, config)


GROUPS = {"gates.": {"lr": 0.1}, "multipliers": {"lr": 0.05, "maximize": True}}


def test_groups_against_plain_adamw() -> None:
    """Three steps of a schedule that multiplies all rates; only the usual parameters are clipped and decay."""
    config = TrainConfig(steps=3, lr=1e-3, clip_norm=0.5, weight_decay=0.2)
    net, twin = Net(), Net()
    optimizer, scaler = adamw(net, config, GROUPS), torch.amp.GradScaler("cpu", enabled=False)
    plain = [
        torch.optim.AdamW([twin.linear.weight], lr=1e-3, betas=config.betas, eps=config.eps, weight_decay=0.2),
        torch.optim.AdamW([twin.gates["a"]], lr=0.1, betas=config.betas, eps=config.eps, weight_decay=0),
        torch.optim.AdamW(
            [twin.multipliers], lr=0.05, betas=config.betas, eps=config.eps, weight_decay=0, maximize=True
        ),
    ]
    peaks = (1e-3, 0.1, 0.05)
    for rate in (1e-3, 5e-4, 2e-4):
        loss = net.loss()
        loss.backward()
        norm, wrong = optim.update(optimizer, scaler, config, loss.detach(), rate)
        optimizer.zero_grad()
        twin.loss().backward()
        assert norm == pytest.approx(float(nn.utils.clip_grad_norm_([twin.linear.weight], 0.5)))
        assert not wrong
        for part, peak in zip(plain, peaks, strict=True):
            part.param_groups[0]["lr"] = peak * rate / 1e-3
            part.step()
            part.zero_grad()
    for (name, a), b in zip(net.named_parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-7, rtol=1e-6, msg=name)
    assert net.multipliers.min() > 0.05


def test_a_bad_gradient_of_a_group_stops_the_step() -> None:
    config, net = TrainConfig(steps=3, lr=1e-3), Net()
    optimizer = adamw(net, config, GROUPS)
    loss = net.loss()
    loss.backward()
    net.multipliers.grad[0, 1] = float("nan")
    before = net.linear.weight.clone()
    _, wrong = optim.update(optimizer, torch.amp.GradScaler("cpu", enabled=False), config, loss.detach(), 1e-3)
    assert wrong
    assert torch.equal(net.linear.weight, before)


def test_objectives_without_groups_have_the_usual_two() -> None:
    groups = adamw(nn.Linear(2, 2), TrainConfig(steps=1, lr=1e-3), {}).param_groups
    assert [len(group["params"]) for group in groups] == [1, 1]
