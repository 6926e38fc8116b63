"""Ranks and what they tell each other. One process is the same as one rank: every function works without a group."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar, cast

import torch
from torch import Tensor
from torch import distributed as dist

from lighthubert.runtime.errors import UserError

T = TypeVar("T")
# A rank that waits longer than this for another one fails instead: long enough for rank 0 to write a checkpoint.
TIMEOUT = timedelta(minutes=15)
# But where rank 0 works alone, the others wait as long as it takes; if it dies, torchrun ends them.
PATIENCE = timedelta(days=7)
_patient: list[Any] = []  # the group that waits so, while there is a session


@contextmanager
def session() -> Iterator[torch.device]:
    """Join the group that torchrun describes in the environment, if any; gives this process its device.

    NCCL carries CUDA tensors, gloo all else. Raises UserError if the machine has fewer GPUs than ranks. After an
    error the group is left as it is: taking it down would wait for ranks that still hope for an answer.
    """
    local = int(os.environ.get("LOCAL_RANK", "0"))
    cuda = torch.cuda.is_available()
    if cuda and local >= torch.cuda.device_count():
        raise UserError(f"rank {local} of this machine has no GPU of its own: there are {torch.cuda.device_count()}")
    device = torch.device("cuda", local) if cuda else torch.device("cpu")
    if cuda:
        torch.cuda.set_device(device)
    if "WORLD_SIZE" not in os.environ:
        yield device
        return
    dist.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo", timeout=TIMEOUT)
    _patient.append(dist.new_group(backend="gloo", timeout=PATIENCE))
    yield device
    on_first(lambda: None)  # nobody leaves while rank 0 still writes
    _patient.clear()
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


def interleave(mine: list[T]) -> list[T]:
    """On rank 0 the items of all ranks, one of each in turn, as `items[rank() :: world()]` had dealt them out; empty
    on the others."""
    shares: list[Any] = [mine]
    if world() > 1:
        shares = [None] * world()
        dist.gather_object(mine, shares if rank() == 0 else None)
        if rank() > 0:
            return []
    return [share[i] for i in range(len(shares[0])) for share in shares if i < len(share)]


def on_first(action: Callable[[], T]) -> T:
    """Run `action` on rank 0 alone; all ranks get its result, or raise its error."""
    answer: list[Any] = [None, None]
    if rank() == 0:
        try:
            answer[0] = action()
        except Exception as error:  # noqa: BLE001  raised below, on every rank
            answer[1] = error
    if world() > 1:
        dist.broadcast_object_list(answer, src=0, group=_patient[0])
    if answer[1] is not None:
        raise answer[1]
    return cast(T, answer[0])
