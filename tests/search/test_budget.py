"""Budgets: what keeps to them, what is brought under them, and the arch one would take without a search."""

import random

import numpy as np
import pytest
from tiny import FEW as SPACE
from tiny import every_arch

from lighthubert import Arch, SearchSpace, cost
from lighthubert.search.budget import Budget

MINI = SearchSpace.load("mini")


@pytest.mark.parametrize("limits", [{"macs": 0.8e9}, {"params": 0.8e6, "macs": 0.9e9}, {"megabytes": 3.0}])
def test_drawn_archs_keep_to_every_limit(limits: dict[str, float]) -> None:
    archs = Budget(MINI, limits).draw(40, random.Random(0))
    assert all(arch in MINI for arch in archs)
    assert len(set(archs)) > 30
    for config in map(MINI.config, archs):
        sizes = {
            "params": cost.num_params(config),
            "macs": cost.macs(config),
            "megabytes": cost.num_params(config) * 2e-6,
        }
        assert all(sizes[name] <= limit for name, limit in limits.items())


def test_archs_within_the_budget_stay_as_they_are() -> None:
    archs = [MINI.sample(random.Random(i)) for i in range(20)]
    budget = Budget(MINI, {"macs": 1.3e9})
    fitted = budget.fit(archs, random.Random(0))
    within = [cost.macs(MINI.config(arch)) <= 1.3e9 for arch in archs]
    assert any(within)
    assert not all(within)
    assert all((a == b) == kept for a, b, kept in zip(archs, fitted, within, strict=True))


def test_a_budget_of_exactly_the_smallest_is_met() -> None:
    smallest = cost.macs(MINI.config(MINI.smallest()))
    assert set(Budget(MINI, {"macs": smallest}).draw(3, random.Random(1))) == {MINI.smallest()}


def test_an_impossible_budget_says_what_the_smallest_needs() -> None:
    with pytest.raises(ValueError, match=r"budget.macs: the smallest subnet has 555,426,912, got 500,000,000"):
        Budget(MINI, {"macs": 5e8, "params": 1e6})


def test_starts_show_every_choice_that_the_budget_allows() -> None:
    """At 0.75 GMACs a random arch is hardly ever wider than the smallest, and the widest is too much."""
    starts = Budget(MINI, {"macs": 0.75e9}).starts()
    assert all(cost.macs(MINI.config(arch)) <= 0.75e9 for arch in starts)
    assert [arch.embed_dim for arch in starts if arch.num_layers == 4 and set(arch.num_heads) == {2}].count(144) >= 1
    free = Budget(MINI, {"macs": 1e12}).starts()
    assert len(free) == 1 + 5 * 2 + 1
    assert {MINI.smallest(), MINI.largest()} < set(free)


@pytest.mark.parametrize("limits", [{"macs": 3.2e7}, {"macs": 4e7, "params": 30_000}])
def test_starts_have_the_archs_that_no_choice_can_be_added_to(limits: dict[str, float]) -> None:
    """Of all archs with equal layers, against every pair of them."""

    def sizes(arch: Arch) -> tuple[float, ...]:
        ratio = arch.ffn_dim[0] / arch.embed_dim
        return arch.embed_dim, arch.num_layers, arch.num_heads[0], ratio, sum(arch.conv_channels)

    count = {"macs": cost.macs, "params": cost.num_params}
    kept = [arch for arch in every_arch(SPACE) if len(set(arch.num_heads)) == len(set(arch.ffn_dim)) == 1
            and all(count[name](SPACE.config(arch)) <= limit for name, limit in limits.items())]  # fmt: skip
    full = {a for a in kept if not any(a != b and all(np.less_equal(sizes(a), sizes(b))) for b in kept)}
    starts = set(Budget(SPACE, limits).starts())
    assert 1 < len(full) < len(kept)
    assert full <= starts <= set(kept)
    single = {a for a in kept if sum(np.greater(sizes(a), sizes(SPACE.smallest()))) <= 1}
    assert starts == full | single


@pytest.mark.parametrize("share", [0.3, 0.5, 0.9])
def test_the_uniform_arch_is_the_costliest_of_those_that_are_alike(share: float) -> None:
    limit = share * cost.macs(SPACE.config(SPACE.largest())) + (1 - share) * cost.macs(SPACE.config(SPACE.smallest()))
    alike = [a for a in every_arch(SPACE) if len(set(a.num_heads)) == len(set(a.ffn_dim)) == 1]
    kept = [a for a in alike if cost.macs(SPACE.config(a)) <= limit]
    found = Budget(SPACE, {"macs": limit}).uniform()
    assert found in kept
    assert cost.macs(SPACE.config(found)) == max(cost.macs(SPACE.config(a)) for a in kept)
