"""Run by torchrun on two ranks: what lighthubert.runtime.ranks promises, checked on each; then the toy job."""

import sys

import pytest
import torch
import toy
from torch import nn

from lighthubert.runtime import ranks
from lighthubert.train import optim


def check_values(rank: int) -> None:
    assert ranks.total(torch.tensor([1.0, rank], dtype=torch.float64)).tolist() == [2.0, 1.0]
    assert ranks.any_rank(rank == 1)
    assert not ranks.any_rank(False)
    assert ranks.gather({"rank": rank}) == [{"rank": 0}, {"rank": 1}]
    assert ranks.on_first(lambda: 10 + rank) == 10
    for items in ([], ["a"], list("abcd"), list("abcde")):
        assert ranks.interleave(items[rank::2]) == (items if rank == 0 else [])
    ranks.barrier()


def check_error(rank: int) -> None:
    """An error on rank 0 is raised on both, so that none is left waiting."""

    def fail() -> None:
        assert rank == 0, "only the first rank runs it"
        raise ValueError("no luck")

    with pytest.raises(ValueError, match="no luck"):
        ranks.on_first(fail)


def check_gradients(rank: int) -> None:
    """Gradients on both ranks, on either, on none; a rank without any clip has no gradient at all."""
    weights = [nn.Parameter(torch.zeros(shape)) for shape in ((2, 3), (4,), (), (1, 5))]
    for missing in ((False, False), (True, False), (False, True)):
        for i, weight in enumerate(weights):
            used = i == 0 or (i == 1 and rank == 1) or (i == 2 and rank == 0)
            weight.grad = torch.full_like(weight, 10.0 * i + rank + 1) if used and not missing[rank] else None
        loss = optim.sum_gradients(weights, torch.tensor(0.0 if missing[rank] else rank + 0.5))
        present = [r for r in (0, 1) if not missing[r]]
        expected = [
            [r + 1 for r in present],
            [12 for r in present if r == 1],
            [21 for r in present if r == 0],
            [],
        ]
        assert loss.item() == sum(r + 0.5 for r in present)
        for weight, parts in zip(weights, expected, strict=True):
            if not parts:
                assert weight.grad is None
            else:
                assert weight.grad is not None
                assert torch.equal(weight.grad, torch.full_like(weight, float(sum(parts))))


if __name__ == "__main__":
    with ranks.session() as device:
        assert device == torch.device("cpu")
        assert ranks.world() == 2
        for check in (check_values, check_error, check_gradients):
            check(ranks.rank())
        run_dir, manifest, seed = sys.argv[1:]
        toy.train(run_dir, manifest, seed=int(seed))
