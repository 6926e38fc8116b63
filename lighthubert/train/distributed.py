"""Ranks and what they tell each other. One process is the same as one rank: every function works without a group.

The loop averages nothing behind the scenes (no DDP): a step runs several backward passes, one per subnet and batch,
each over another part of the parameters. DDP would reduce at each of them, or mark a parameter ready twice, or wait
for those that no subnet used. Here gradients pile up locally and `sum_gradients` reduces them once.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn
from torch import distributed as dist

T = TypeVar("T")
# A rank that waits longer than this for another one fails instead: long enough for rank 0 to write a checkpoint.
TIMEOUT = timedelta(minutes=15)


@contextmanager
def session() -> Iterator[torch.device]:
    """Join the group that torchrun describes in the environment, if any; gives this process its device.

    NCCL carries CUDA tensors, gloo all else. Raises ValueError if the machine has fewer GPUs than ranks. After an
    error the group is left as it is: taking it down would wait for ranks that still hope for an answer.
    """
    local = int(os.environ.get("LOCAL_RANK", "0"))
    cuda = torch.cuda.is_available()
    if cuda and local >= torch.cuda.device_count():
        raise ValueError(f"rank {local} of this machine has no GPU of its own: there are {torch.cuda.device_count()}")
    device = torch.device("cuda", local) if cuda else torch.device("cpu")
    if cuda:
        torch.cuda.set_device(device)
    if "WORLD_SIZE" not in os.environ:
        yield device
        return
    dist.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo", timeout=TIMEOUT)
    yield device
    barrier()  # nobody leaves while rank 0 still writes
    dist.destroy_process_group()


def rank() -> int:
    """The number of this process, 0 to world() - 1."""
    return dist.get_rank() if dist.is_initialized() else 0


def world() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def total(values: Tensor) -> Tensor:
    """The sum over all ranks of a CPU tensor of one shape."""
    values = values.clone()
    if world() > 1:
        dist.all_reduce(values)
    return values


def any_rank(flag: bool) -> bool:
    """Whether any rank says yes; all ranks get the same answer."""
    return bool(total(torch.tensor([int(flag)])).item())


def barrier() -> None:
    """Wait until all ranks are here."""
    any_rank(False)


def gather(value: T) -> list[T]:
    """Every rank's value, in the order of the ranks, on every rank."""
    values: list[Any] = [value] * world()
    if world() > 1:
        dist.all_gather_object(values, value)
    return values


def on_first(action: Callable[[], T]) -> T:
    """Run `action` on rank 0 alone; all ranks get its result, or raise its error."""
    answer: list[Any] = [None, None]
    if rank() == 0:
        try:
            answer[0] = action()
        except Exception as error:  # noqa: BLE001  raised below, on every rank
            answer[1] = error
    if world() > 1:
        dist.broadcast_object_list(answer, src=0)
    if answer[1] is not None:
        raise answer[1]
    return cast(T, answer[0])


def sum_gradients(parameters: Sequence[nn.Parameter], loss: Tensor) -> Tensor:
    """Sum all gradients and the loss () over the ranks in ONE flattened all-reduce; returns the summed loss.

    All ranks draw the same subnets, but one whose clips were all unreadable has no gradient. The buffer therefore has
    room for every parameter, and a flag for each: a gradient that is missing here counts as zero where another rank
    has it, and stays missing (the optimizer leaves that weight and its moments alone) where none has. The size of the
    buffer is the same in every step, and so is the order in which the ranks are added.
    """
    if world() == 1:
        return loss
    grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    has = torch.tensor([float(p.grad is not None) for p in parameters], device=loss.device)
    flat = torch.cat([*(g.reshape(-1) for g in grads), has, loss.float().reshape(1)])
    dist.all_reduce(flat)
    *sums, has, loss = flat.split([*(g.numel() for g in grads), len(grads), 1])
    for parameter, grad, used in zip(parameters, sums, has.tolist(), strict=True):
        parameter.grad = grad.view_as(parameter) if used else None
    return loss.reshape(())
