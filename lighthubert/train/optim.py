"""AdamW over the parameters that learn, gradients of all ranks, and the check that a step may be taken.

The loop averages nothing behind the scenes (no DDP): a step runs several backward passes, one per subnet and batch,
each over another part of the parameters. DDP would reduce at each of them, or mark a parameter ready twice, or wait
for those that no subnet used. Here gradients pile up locally and `sum_gradients` reduces them once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch import distributed as dist

from lighthubert.runtime import ranks
from lighthubert.train.config import TrainConfig
from lighthubert.train.objective import Objective

SCALE = "scale"  # of a special group: its learning rate over the others'


def adamw(objective: Objective, config: TrainConfig) -> torch.optim.AdamW:
    """AdamW over the parameters that require a gradient, in the objective's groups; 1-d parameters do not decay.

    Raises ValueError for a model without such parameters, or with some that are not float32 (autocast wants these).
    """
    learning = {name: p for name, p in objective.model.named_parameters() if p.requires_grad}
    if not learning:
        raise ValueError("the model has no parameter that requires a gradient")
    if others := [f"{name} ({p.dtype})" for name, p in learning.items() if p.dtype != torch.float32]:
        raise ValueError(f"parameters must be float32 for training, whatever the precision: {', '.join(others)}")
    usual = [p for name, p in learning.items() if not name.startswith(tuple(objective.groups))]
    groups: list[dict[str, Any]] = [
        {"params": [p for p in usual if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in usual if p.ndim <= 1], "weight_decay": 0.0},
    ]
    for prefix, options in objective.groups.items():
        params = [p for name, p in learning.items() if name.startswith(prefix)]
        groups.append({"params": params, "weight_decay": 0.0, SCALE: options["lr"] / config.lr, **options})
    return torch.optim.AdamW([g for g in groups if g["params"]], lr=config.lr, betas=config.betas, eps=config.eps)


def parameters(optimizer: torch.optim.Optimizer) -> list[nn.Parameter]:
    """Every parameter that the optimizer updates, in one order on all ranks."""
    return [p for group in optimizer.param_groups for p in group["params"]]


def update(optimizer: torch.optim.Optimizer, scaler: torch.amp.GradScaler, config: TrainConfig, loss: Tensor,
           rate: float) -> tuple[float, str]:  # fmt: skip
    """Unscale, clip, and step if loss and gradient are finite; (gradient norm before clipping, "" or what was wrong).

    The gradients are already summed over the ranks, so all ranks see the same numbers and decide alike.
    """
    weights = parameters(optimizer)
    if all(p.grad is None for p in weights):
        return 0.0, "no clip gave a gradient"
    scaler.unscale_(optimizer)
    special = [p for group in optimizer.param_groups if SCALE in group for p in group["params"]]
    clipped = weights[: len(weights) - len(special)]  # special groups are the last ones
    norm = float(nn.utils.clip_grad_norm_(clipped, config.clip_norm))
    finite = math.isfinite(float(loss)) and math.isfinite(norm)
    finite = finite and all(bool(p.grad.isfinite().all()) for p in special if p.grad is not None)
    problem = "" if finite else f"loss {float(loss)}, gradient norm {norm}"
    if not problem:
        for group in optimizer.param_groups:
            group["lr"] = rate * group.get(SCALE, 1.0)
        scaler.step(optimizer)
    scaler.update()  # a scale that overflowed halves, also when the step was skipped
    return norm, problem


def sum_gradients(parameters: Sequence[nn.Parameter], loss: Tensor) -> Tensor:
    """Sum all gradients and the loss () over the ranks in ONE flattened all-reduce; returns the summed loss.

    All ranks draw the same subnets, but one whose clips were all unreadable has no gradient. The buffer therefore has
    room for every parameter, and a flag for each: a gradient that is missing here counts as zero where another rank
    has it, and stays missing (the optimizer leaves that weight and its moments alone) where none has. The size of the
    buffer is the same in every step, and so is the order in which the ranks are added.
    """
    if ranks.world() == 1:
        return loss
    grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    has = torch.tensor([float(p.grad is not None) for p in parameters], device=loss.device)
    flat = torch.cat([*(g.reshape(-1) for g in grads), has, loss.float().reshape(1)])
    dist.all_reduce(flat)
    *sums, has, loss = flat.split([*(g.numel() for g in grads), len(grads), 1])
    for parameter, grad, used in zip(parameters, sums, has.tolist(), strict=True):
        parameter.grad = grad.view_as(parameter) if used else None
    return loss.reshape(())
