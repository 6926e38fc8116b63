"""The learning rate against torch's own schedulers, and against fairseq's tri-stage formula written out."""

import math
from dataclasses import fields

import pytest
import torch
from torch.optim.lr_scheduler import ConstantLR, ExponentialLR, LinearLR, LRScheduler, PolynomialLR, SequentialLR

from lighthubert.train import TrainConfig
from lighthubert.train.schedule import learning_rate

# torch 2.6's own SequentialLR calls its schedulers in a way that it warns of.
pytestmark = pytest.mark.filterwarnings("ignore:The epoch parameter in `scheduler.step")
STEPS, LR = 40, 0.3


def rates(*stages: tuple[int, type[LRScheduler], dict[str, float]]) -> list[float]:
    """What torch's schedulers, one after the other for so many steps, give for STEPS updates."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=LR)
    ends = [sum(stage[0] for stage in stages[: i + 1]) for i in range(len(stages) - 1)]
    # Only the sequence steps the optimizer's rate: no warning about an order that does not matter here.
    scheduler = SequentialLR(optimizer, [kind(optimizer, **values) for _, kind, values in stages], milestones=ends)
    found = []
    for _ in range(STEPS):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


def ours(**values: object) -> list[float]:
    config = TrainConfig(steps=STEPS, lr=LR, **values)
    return [learning_rate(config, step) for step in range(STEPS)]


def test_poly() -> None:
    warm_up = (8, LinearLR, {"start_factor": 1 / 8, "total_iters": 7})
    expected = rates(warm_up, (32, PolynomialLR, {"total_iters": 32, "power": 1}))
    assert ours(warmup_steps=8) == pytest.approx(expected, rel=1e-9)


def test_poly_without_warm_up() -> None:
    expected = rates((STEPS, PolynomialLR, {"total_iters": STEPS, "power": 1}))
    assert ours() == pytest.approx(expected, rel=1e-9)


def test_flat_linear() -> None:
    expected = rates(
        (4, LinearLR, {"start_factor": 1 / 4, "total_iters": 3}),
        (26, ConstantLR, {"factor": 1, "total_iters": 26}),
        (10, PolynomialLR, {"total_iters": 10, "power": 1}),
    )
    assert ours(schedule="flat_linear", warmup_steps=4, flat_share=0.75) == pytest.approx(expected, rel=1e-9)


def test_tri_stage() -> None:
    expected = rates(
        (4, LinearLR, {"start_factor": 0.01, "total_iters": 4}),
        (16, ConstantLR, {"factor": 1, "total_iters": 16}),
        (20, ExponentialLR, {"gamma": 0.05 ** (1 / 20)}),
    )
    assert ours(schedule="tri_stage") == pytest.approx(expected, rel=1e-9)


def test_tri_stage_by_hand() -> None:
    found = ours(schedule="tri_stage", phases=(0.25, 0.25, 0.5))
    assert found[:3] == pytest.approx([0.003, 0.003 + 0.297 / 10, 0.003 + 0.297 / 5])
    assert found[30] == pytest.approx(LR * math.sqrt(0.05))  # half of the decay


def test_every_update_counts() -> None:
    for schedule in ("poly", "flat_linear"):
        found = ours(schedule=schedule, warmup_steps=10)
        assert min(found) > 0
        assert max(found) == LR


FIELDS = [field.name for field in fields(TrainConfig)]


@pytest.mark.parametrize(
    ("values", "keys"),
    [
        ({"steps": 0}, ["steps"]),
        ({"steps": -3, "lr": 0.0, "precision": "fp8"}, ["steps", "lr", "precision"]),
        ({"lr": math.nan}, ["lr"]),
        ({"lr": math.inf}, ["lr"]),
        ({"warmup_steps": 10}, ["warmup_steps"]),
        ({"schedule": "flat_linear", "warmup_steps": 8}, ["warmup_steps"]),
        ({"schedule": "tri_stage", "warmup_steps": 1}, ["warmup_steps"]),
        ({"schedule": "cosine"}, ["schedule"]),
        ({"phases": (0.5, 0.4, 0.2)}, ["phases"]),
        ({"phases": (0.5, 0.5)}, ["phases"]),
        ({"betas": (0.9, 1.0), "eps": 0.0}, ["betas", "eps"]),
        ({"clip_norm": 0.0, "weight_decay": -1.0}, ["clip_norm", "weight_decay"]),
        ({"flat_share": 1.5}, ["flat_share"]),
        ({"keep_last": 0, "save_every": 0, "accumulate": 0}, ["keep_last", "save_every", "accumulate"]),
    ],
)
def test_wrong_values_are_all_named(values: dict[str, object], keys: list[str]) -> None:
    with pytest.raises(ValueError, match="TrainConfig") as error:
        TrainConfig(**{"steps": 10, "lr": 0.1, **values})
    problems = str(error.value).removeprefix("TrainConfig: ").split("; ")
    assert [problem.split(":")[0] for problem in problems] == [key for key in FIELDS if key in keys]
    assert all(" must " in problem and f"got {values[key]!r}" in problem for key in keys
               for problem in problems if problem.startswith(f"{key}:"))  # fmt: skip
