"""Costs of many archs at once, against the cost of each arch's own config."""

import random

import pytest

from lighthubert import SearchSpace, cost


@pytest.mark.parametrize("name", ["mini", "small", "base"])
def test_costs_are_those_of_each_config(name: str) -> None:
    space = SearchSpace.load(name)
    archs = [space.largest(), space.smallest(), *(space.sample(random.Random(i)) for i in range(8))]
    found = cost.costs(space, archs, [name for name in cost.COSTS if name != "milliseconds"])
    for i, arch in enumerate(archs):
        config = space.config(arch)
        assert found["params"][i] == cost.num_params(config)
        assert found["macs"][i] == cost.macs(config)
        assert found["superb_macs"][i] == cost.superb_macs(config)
        assert found["megabytes"][i] == cost.num_params(config) * 2 / 1e6


def test_an_unknown_cost_is_named() -> None:
    space = SearchSpace.load("mini")
    with pytest.raises(ValueError, match="flops: no such cost; known are params, macs, superb_macs, megabytes"):
        cost.costs(space, [space.largest()], ["flops"])
