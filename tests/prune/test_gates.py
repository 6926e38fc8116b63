"""Hard-concrete gates: their distribution, what they cost, and the nets that they leave."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace

import pytest
import torch
from scipy.stats import logistic
from tiny import TEACHER, random_hubert

from lighthubert import HubertConfig, cost
from lighthubert.elastic import Subnet, axis_sizes, conv, extract, ffn, heads, run_subnet
from lighthubert.prune.constraint import Constraint, check_budgets, harden, lagrangian, problems_of
from lighthubert.prune.gates import Gates, open_probability, sample, soft
from lighthubert.prune.recipe import Sparsity

TINY = HubertConfig.from_dict(TEACHER)
ALL = ("conv", "heads", "ffn")


@pytest.mark.parametrize("log_alpha", [-3.0, -0.5, 0.0, 1.3, 4.6])
def test_probabilities_of_gates(log_alpha: float) -> None:
    """Against 400,000 draws, and against the logistic distribution of another library."""
    n = 400_000
    z = sample(torch.full((n,), log_alpha), torch.rand(n, generator=torch.Generator().manual_seed(1)))
    p = float(open_probability(torch.tensor(log_alpha)))
    assert abs(float((z > 0).double().mean()) - p) < 4 * math.sqrt(p * (1 - p) / n)
    at = {edge: 2 / 3 * math.log((edge + 0.1) / (1.1 - edge)) - log_alpha for edge in (0.0, 0.5, 1.0)}
    assert p == pytest.approx(logistic.sf(at[0.0]), abs=1e-6)
    for edge in (0.5, 1.0):
        expected = logistic.sf(at[edge])
        found = float((z >= edge).double().mean())
        assert abs(found - expected) < 4 * math.sqrt(expected * (1 - expected) / n) + 1e-6
    assert float(z.min()) >= 0
    assert float(z.max()) <= 1


def test_constants_of_the_reference() -> None:
    """facts: P(open) = sigmoid(log_alpha + 1.5986); a drop rate of .01 is log_alpha 4.595 and P = .998."""
    assert float(open_probability(torch.tensor(0.0, dtype=torch.double))) == pytest.approx(
        1 / (1 + math.exp(-1.5986)), abs=1e-5
    )
    gates = Gates(HubertConfig.base(), ALL, seed=1)
    starts = torch.cat([a.detach() for a in gates.log_alpha.values()])
    assert len(starts) == 7 * 512 + 12 * (12 + 3072)
    assert float(starts.mean()) == pytest.approx(math.log(0.99 / 0.01), abs=1e-3)
    assert float(starts.std()) == pytest.approx(0.01, rel=0.05)
    assert float(soft(torch.tensor(0.0))) == 0.5


def test_noise_at_the_ends_stays_finite() -> None:
    """0 and 1, which half precision rounds to, in every precision of log_alpha, and under autocast."""
    noise = torch.tensor([0.0, 1.0, 1 - 1e-9, 0.5])
    for dtype in (torch.float32, torch.bfloat16, torch.float16, torch.float64):
        with torch.autocast("cpu", torch.bfloat16):
            z = sample(torch.zeros(4, dtype=dtype, requires_grad=True), noise)
        assert z.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
        assert z.isfinite().all()
        assert z[0] == 0
        assert z[1] == 1
        assert 0 < z[3].item() < 1


def test_draws_are_a_function_of_seed_and_step() -> None:
    gates, other = Gates(TINY, ALL, seed=1), Gates(TINY, ALL, seed=2)
    with torch.no_grad():
        for g in (gates, other):
            for a in g.log_alpha.values():
                a.fill_(-0.5)
    assert gates.draw(3).units == gates.draw(3).units
    assert gates.draw(3).units != gates.draw(4).units
    assert gates.draw(3).units != other.draw(3).units


def test_a_convolution_keeps_its_most_probable_channel() -> None:
    gates = Gates(TINY, ALL, seed=1)
    with torch.no_grad():
        for a in gates.log_alpha.values():
            a.fill_(-30)
        gates.log_alpha["conv2"][5] = -20.0
    subnet = gates.draw(0)
    assert subnet.units[conv(2)] == (5,)
    assert subnet.config(TINY).num_heads == (0,) * 5
    assert subnet.config(TINY).ffn_dim == (0,) * 5
    net = random_hubert(TINY)
    assert run_subnet(net, subnet, torch.randn(1, 2000)).last_hidden_state.isfinite().all()


def test_shut_units_get_no_gradient() -> None:
    net, gates = random_hubert(TINY).train(), Gates(TINY, ALL, seed=1)
    with torch.no_grad():
        for a in gates.log_alpha.values():
            a.fill_(-1.0)
    subnet = gates.draw(1)
    run_subnet(net, subnet, torch.randn(2, 3000)).last_hidden_state.square().mean().backward()
    num_between: dict[str, int] = Counter()
    for axis, a in gates.by_gate().items():
        open_ = torch.zeros(len(a), dtype=torch.bool)
        open_[list(subnet.units[axis])] = True
        assert not open_.all()
        assert not a.grad[~open_].any()
        if axis == conv(6):
            continue
        scale = subnet.scales[axis].detach()
        between = a.grad[open_][(scale > 0) & (scale < 1)]
        assert (between != 0).all()
        num_between[axis.kind] += len(between)
    assert min(num_between[kind] for kind in ALL) > 0
    assert gates.log_alpha["conv6"].grad.any()  # straight through the norm
    assert torch.equal(subnet.scales[conv(6)], torch.ones(len(subnet.units[conv(6)])))


@pytest.mark.parametrize("part", ["all", "frontend", "transformer"])
@pytest.mark.parametrize("kind", ["params", "macs"])
def test_gradient_of_the_expected_cost(kind: str, part: str) -> None:
    small = replace(TINY, conv_channels=(2,) * 7, num_heads=(3, 2), ffn_dim=(4, 3))
    gates = Gates(small, (*ALL, "attention", "feed_forward"), seed=1).double()
    constraint = Constraint(kind, part, 0.5)
    names = list(gates.log_alpha)
    start = [(4 * torch.rand(len(a), dtype=torch.double) - 2).requires_grad_() for a in gates.log_alpha.values()]

    class Expected(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gates = gates

        def forward(self) -> torch.Tensor:
            return constraint.of(small, self.gates.expected_sizes()) / constraint.of(small)

    def expected(*values: torch.Tensor) -> torch.Tensor:
        named = {f"gates.log_alpha.{name}": value for name, value in zip(names, values, strict=True)}
        return torch.func.functional_call(Expected(), named)

    assert torch.autograd.gradcheck(expected, start)


def test_expected_cost_is_the_mean_of_drawn_costs() -> None:
    """Of 600 drawn nets; axes are independent, so products of widths are too."""
    gates = Gates(TINY, ALL, seed=1)
    with torch.no_grad():
        for i, a in enumerate(gates.log_alpha.values()):
            a.copy_(torch.randn(len(a), generator=torch.Generator().manual_seed(i)) + 1)
    nets = [{axis: len(units) for axis, units in gates.draw(step).units.items()} for step in range(600)]
    drawn = torch.tensor([cost.macs(TINY, sizes=axis_sizes(TINY) | net) for net in nets], dtype=torch.double)
    expected = cost.macs(TINY, sizes=gates.expected_sizes()).item()
    assert abs(float(drawn.mean()) - expected) < 4 * float(drawn.std()) / math.sqrt(600)


def test_cost_of_parts() -> None:
    base = HubertConfig.base()
    for count in (cost.num_params, cost.macs):
        assert count(base, part="frontend") + count(base, part="transformer") == count(base)
    net = random_hubert(TINY)
    frontend = sum(p.numel() for p in net.frontend.parameters())
    assert cost.num_params(TINY, part="frontend") == frontend
    with pytest.raises(ValueError, match=r"^part: must be one of all, frontend, transformer, got 'cnn'$"):
        cost.num_params(base, part="cnn")


LEVERAGE = {  # facts: parameters, and thousands of MACs per parameter, of one unit of HuBERT Base at 10 s
    conv(0): (1548, 16.1), conv(1): (3072, 12.0), conv(2): (3072, 6.0), conv(3): (3072, 3.0), conv(4): (2560, 1.6),
    conv(5): (2048, 0.749), conv(6): (1794, 0.498), heads(0): (196800, 0.660), ffn(0): (1537, 0.499),
}  # fmt: skip


def test_leverage_of_hubert_base() -> None:
    base = HubertConfig.base()
    sizes = axis_sizes(base)
    for axis, (params, leverage) in LEVERAGE.items():
        fewer = sizes | {axis: sizes[axis] - 1}
        saved = cost.num_params(base) - cost.num_params(base, fewer)
        assert saved == params
        assert (cost.macs(base) - cost.macs(base, sizes=fewer)) / saved / 1000 == pytest.approx(leverage, rel=0.02)


def spread(gates: Gates, seed: int = 0) -> Gates:
    with torch.no_grad():
        for i, a in enumerate(gates.log_alpha.values()):
            a.copy_(2 * torch.randn(len(a), generator=torch.Generator().manual_seed(seed * 100 + i)) + 1)
    return gates


METHODS = {
    "size": [Constraint("params", "all", 0.5)],
    "sepsize": [Constraint("params", "frontend", 0.3), Constraint("params", "transformer", 0.6)],
    "macs": [Constraint("macs", "all", 0.5)],
    "macs of parts": [Constraint("macs", "frontend", 0.6), Constraint("macs", "transformer", 0.2)],
    "nearly all": [Constraint("params", "all", 0.8)],
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("seed", range(3))
def test_hard_nets_cost_what_was_asked_for(method: str, seed: int) -> None:
    """Within 1 % and not above, counted on the extracted net; of each axis the most probable units."""
    mini = HubertConfig.from_dict({**TEACHER, "conv_channels": [32] * 7, "ffn_dim": [192] * 5})
    gates, net = spread(Gates(mini, ALL, seed=1), seed), random_hubert(mini)
    constraints = METHODS[method]
    subnet = harden(gates, [(c, c.budget(mini)) for c in constraints])
    small = extract(net, subnet)
    for c in constraints:
        modules = {"all": small, "frontend": small.frontend}
        if c.cost == "params" and c.part in modules:
            assert c.of(small.config) == sum(p.numel() for p in modules[c.part].parameters())
        assert 0.99 * c.budget(mini) <= c.of(small.config) <= c.budget(mini)
    for axis, units in subnet.units.items():
        a = gates.by_gate()[axis]
        rest = [i for i in range(len(a)) if i not in units]
        if units and rest:
            assert a[list(units)].min() >= a[rest].max()
    waveform = torch.randn(2, 4000)
    torch.testing.assert_close(
        small(waveform).last_hidden_state, run_subnet(net, subnet, waveform).last_hidden_state, atol=1e-5, rtol=1e-5
    )


def test_hard_nets_are_what_is_expected() -> None:
    """At the expected cost, widths are the expected numbers of open units up to rounding, as in the reference."""
    gates = spread(Gates(TINY, ALL, seed=1))
    sizes = gates.expected_sizes()
    constraint = Constraint("params", "all", 0.5)
    subnet = harden(gates, [(constraint, constraint.of(TINY, sizes).item())])
    for axis, units in subnet.units.items():
        assert abs(len(units) - sizes[axis].item()) <= 1
        values = soft(gates.by_gate()[axis].detach())[list(units)]
        torch.testing.assert_close(subnet.scales[axis], torch.ones_like(values) if axis == conv(6) else values)


def test_sub_layers() -> None:
    """A shut gate of a sub-layer takes all its heads or FFN units away; an open one multiplies theirs."""
    gates = spread(Gates(TINY, (*ALL, "attention", "feed_forward"), seed=1))
    with torch.no_grad():
        for name, a in gates.log_alpha.items():
            if name.startswith(("attention", "feed_forward")):
                a.fill_(-9.0 if name in ("attention1", "feed_forward3") else 3.0)
    p = gates.probabilities()
    alone = open_probability(gates.log_alpha["heads0"].double()) * open_probability(
        torch.tensor(3.0, dtype=torch.double)
    )
    torch.testing.assert_close(p[heads(0)], alone)
    constraint = Constraint("params", "all", 0.5)
    subnet = harden(gates, [(constraint, constraint.budget(TINY))])
    assert subnet.units[heads(1)] == subnet.units[ffn(3)] == ()
    assert 0.99 * constraint.budget(TINY) <= cost.num_params(subnet.config(TINY)) <= constraint.budget(TINY)
    drawn = gates.draw(0)
    assert drawn.units[heads(1)] == ()


def test_the_price_and_who_ascends() -> None:
    """lambda1 (s - t) + lambda2 (s - t)^2, by hand, with a target that rises."""
    gates, constraint = spread(Gates(TINY, ALL, seed=1)), Constraint("params", "all", 0.5, warmup_steps=10)
    multipliers = torch.tensor([[2.0, 3.0]], requires_grad=True)
    price, told = lagrangian([constraint], gates, multipliers, step=4)
    s = 1 - cost.num_params(TINY, gates.expected_sizes()).item() / cost.num_params(TINY)
    assert float(told["sparsity/params"]) == pytest.approx(s)
    assert price.item() == pytest.approx(2 * (s - 0.2) + 3 * (s - 0.2) ** 2)
    price.backward()
    torch.testing.assert_close(multipliers.grad, torch.tensor([[s - 0.2, (s - 0.2) ** 2]]))
    assert constraint.target(99) == 0.5


def test_a_pruned_net_can_be_pruned_again() -> None:
    """Axes without units have no gates."""
    net = random_hubert(TINY)
    once = extract(net, Subnet(tuple(range(5)), {heads(1): (), ffn(2): (), conv(0): (1, 3)}))
    gates = spread(Gates(once.config, ALL, seed=1))
    assert {"heads1", "ffn2"}.isdisjoint(gates.log_alpha)
    constraint = Constraint("params", "all", 0.3)
    twice = extract(once, harden(gates, [(constraint, constraint.budget(once.config))]))
    assert cost.num_params(twice.config) <= constraint.budget(once.config)
    assert twice.config.num_heads[1] == 0
    assert twice(torch.randn(1, 3000)).last_hidden_state.isfinite().all()


def test_what_does_not_go_together() -> None:
    both = [Constraint("params", "all", 0.5), Constraint("macs", "all", 0.5)]
    assert problems_of(both, ["conv"]) == ["sparsity: needs exactly one value about units conv, got params, macs"]
    front = [Constraint("params", "frontend", 0.5)]
    assert problems_of(front, ALL) == [f"sparsity: needs exactly one value about units {u}, got none" for u in ALL[1:]]
    assert problems_of(front, ["conv"]) == []
    two = [*front, Constraint("params", "transformer", 0.5)]
    assert problems_of(two, ["conv"]) == ["sparsity: transformer_params: none of the units conv are in that part"]
    assert problems_of([], ["neurons"])[0].startswith("units: must be some of conv, heads, ffn, attention, ")
    assert problems_of([], ["attention"]) == ["units: attention needs heads too"]
    gates = Gates(TINY, ["heads"], seed=1)
    with pytest.raises(ValueError, match=r"^sparsity\.params: at most 0\.\d+ can go with these units, got 0\.9$"):
        check_budgets([Constraint("params", "all", 0.9)], gates)


def test_macs_of_both_parts_are_those_of_the_net() -> None:
    """Each part can have a constraint of its own, in MACs too."""
    front, rest = Sparsity(frontend_macs=0.3, transformer_macs=0.5).constraints
    config = HubertConfig.base()
    assert (str(front), str(rest)) == ("frontend_macs", "transformer_macs")
    assert front.of(config) + rest.of(config) == cost.macs(config)
    assert front.budget(config) == pytest.approx(0.7 * cost.macs(config, part="frontend"))
