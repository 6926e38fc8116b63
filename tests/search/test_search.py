"""The search against brute force over a whole space, with a score whose best archs are known."""

import math

import pytest
from tiny import FEW as SPACE
from tiny import every_arch

from lighthubert import Arch, cost, find
from lighthubert.cost.latency import covering, entries
from lighthubert.elastic import Supernet
from lighthubert.search.record import Scored
from lighthubert.search.run import Found, front
from lighthubert.search.run import run_search as run


def preference(arch: Arch) -> float:
    """More is better, but for one layer that likes few heads, and more than its MACs say where the FFN is late."""
    ffn = sum(w * f / arch.embed_dim for w, f in zip((1, 2, 4), arch.ffn_dim[::-1], strict=False))
    return 10 - math.sqrt(arch.embed_dim) - 0.3 * ffn - 0.1 * sum(arch.num_heads) + 0.5 * arch.num_heads[0]


def macs(arch: Arch) -> int:
    return cost.macs(SPACE.config(arch))


def found(seed: int = 1, share: float = 0.6) -> Found:
    limit = share * macs(SPACE.largest())
    return run(SPACE, {"macs": limit}, preference, evaluations=100, population=20, seed=seed)


@pytest.mark.parametrize("share", [0.45, 0.8])
def test_the_best_arch_of_the_space_is_found(share: float) -> None:
    """100 of 480 archs are scored by evolution."""
    limit = share * macs(SPACE.largest())
    best = min((arch for arch in every_arch(SPACE) if macs(arch) <= limit), key=preference)
    hits = [found(seed, share).best for seed in (1, 2)]
    assert all(macs(hit.arch) <= limit and hit.score == preference(hit.arch) for hit in hits)
    assert min(hit.score for hit in hits) == preference(best)


@pytest.mark.parametrize(("share", "count"), [(1.0, 1), (1.02, 3)])
def test_budgets_of_few_archs_end_early(share: float, count: int) -> None:
    limit = share * macs(SPACE.smallest())
    kept = [arch for arch in every_arch(SPACE) if macs(arch) <= limit]
    result = run(SPACE, {"macs": limit}, preference, evaluations=12, population=4, seed=1)
    assert len(kept) == len(result.scored) == count
    assert result.best.score == min(map(preference, kept))


def test_a_seed_always_finds_the_same() -> None:
    first, again, other = found(), found(), found(seed=2)
    assert [row.arch for row in first.scored] == [row.arch for row in again.scored]
    assert [row.arch for row in first.scored] != [row.arch for row in other.scored]


def test_every_arch_is_scored_once_and_as_many_as_were_asked_for() -> None:
    archs: list[Arch] = []
    run(
        SPACE,
        {"macs": 1e12},
        lambda arch: archs.append(arch) or preference(arch),
        evaluations=60,
        population=10,
        seed=1,
    )
    assert len(set(archs)) == len(archs) <= 121  # evolution, random, uniform; some are drawn twice


def test_the_front_is_what_no_arch_beats() -> None:
    rows = [Scored(arch, preference(arch), {"macs": macs(arch)}, "evolution") for arch in every_arch(SPACE)]

    def beaten(row: Scored) -> bool:
        return any(
            other.score <= row.score and other.costs["macs"] <= row.costs["macs"]
            and (other.score < row.score or other.costs["macs"] < row.costs["macs"]) for other in rows
        )  # fmt: skip

    assert {row.arch for row in front(rows, ["macs"])} == {row.arch for row in rows if not beaten(row)}


def test_a_supernet_and_any_score() -> None:
    """The function of the notebook: it scores standalone nets."""
    result = find(
        Supernet(SPACE), {"params": 40_000}, lambda net: sum(net.config.num_heads), evaluations=100, population=10
    )
    assert sum(result.best.arch.num_heads) == 4  # two heads in each of two layers
    assert result.best.costs["params"] == cost.num_params(SPACE.config(result.best.arch)) <= 40_000


def test_milliseconds_of_any_device() -> None:
    times = {entry: float(sum(entry[1])) for arch in covering(SPACE) for entry in entries(SPACE.config(arch))}
    latency = cost.Latency(SPACE, {}, times)
    limit = latency(SPACE.config(SPACE.largest())) / 1.5
    result = find(Supernet(SPACE), {"milliseconds": limit}, lambda net: -net.config.embed_dim, evaluations=20,
                  population=10, latency=latency)  # fmt: skip
    for row in result.scored:
        config = SPACE.config(row.arch)
        assert row.costs["milliseconds"] == sum(times[entry] for entry in entries(config)) <= limit


def test_a_score_that_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="must be a finite number, lower is better"):
        run(SPACE, {"macs": 1e12}, lambda arch: math.nan, evaluations=10, population=10, seed=1)
