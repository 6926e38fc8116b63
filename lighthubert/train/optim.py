"""AdamW over the parameters that learn, and the check that a step may be taken."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from lighthubert.train.config import TrainConfig

SCALE = "scale"  # of a special group: its learning rate over the others'


def adamw(model: nn.Module, config: TrainConfig) -> torch.optim.AdamW:
    """AdamW over the parameters that require a gradient; 1-d parameters do not decay.

    A model may have `groups`, beginnings of parameters' names -> options of AdamW for them, where lr is the highest
    rate and follows the schedule as all others do. The gradients of such a group are not clipped, and its parameters
    do not decay.
    Raises ValueError for a model without such parameters, or with some that are not float32 (autocast wants these).
    """
    learning = {name: p for name, p in model.named_parameters() if p.requires_grad}
    if not learning:
        raise ValueError("the model has no parameter that requires a gradient")
    if wrong := [f"{name} ({p.dtype})" for name, p in learning.items() if p.dtype != torch.float32]:
        raise ValueError(f"parameters must be float32 for training, whatever the precision: {', '.join(wrong)}")
    special: Mapping[str, Mapping[str, Any]] = getattr(model, "groups", {})
    usual = [p for name, p in learning.items() if not name.startswith(tuple(special))]
    groups: list[dict[str, Any]] = [
        {"params": [p for p in usual if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in usual if p.ndim <= 1], "weight_decay": 0.0},
    ]
    for prefix, options in special.items():
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
    wrong = "" if finite else f"loss {float(loss)}, gradient norm {norm}"
    if not wrong:
        for group in optimizer.param_groups:
            group["lr"] = rate * group.get(SCALE, 1.0)
        scaler.step(optimizer)
    scaler.update()  # a scale that overflowed halves, also when the step was skipped
    return norm, wrong
