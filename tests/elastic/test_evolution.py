"""Random archs: the distribution, the order of draws, mutation and crossover."""

from __future__ import annotations

import dataclasses
import random
from collections import Counter
from typing import Any

import pytest
from tiny import TWO_CONVS

from lighthubert.elastic import Arch, SearchSpace

SHIPPED = ("base", "small", "base_conv", "small_conv", "large", "mini")
TINY = SearchSpace.from_dict(TWO_CONVS)
JOINT = dataclasses.replace(TINY, conv_channels=((4, 8), (6, 8), (6, 4)))


def genes(space: SearchSpace, arch: Arch) -> dict[str, Any]:
    """Every choice that an arch is made of, as the space states it; those of a layer by the parent's number."""
    found: dict[str, Any] = {"embed_dim": arch.embed_dim, "num_layers": arch.num_layers}
    found |= {f"heads{i}": n for i, n in zip(arch.layers, arch.num_heads, strict=True)}
    found |= {f"ratio{i}": n / arch.embed_dim for i, n in zip(arch.layers, arch.ffn_dim, strict=True)}
    if space.joint_convs:
        return {**found, "convs": arch.conv_channels}
    return found | {f"conv{i}": n for i, n in enumerate(arch.conv_channels)}


def choices(space: SearchSpace, gene: str) -> tuple[Any, ...]:
    name = gene.rstrip("0123456789")
    key = {"heads": "num_heads", "ratio": "ffn_ratio", "conv": "conv_channels", "convs": "conv_channels"}.get(
        name, name
    )
    return getattr(space, key)


def is_uniform(counts: Counter[Any], options: tuple[Any, ...]) -> bool:
    """Every count within 4.5 deviations of its expectation, and nothing else counted."""
    n, share = sum(counts.values()), 1 / len(options)
    deviation = (n * share * (1 - share)) ** 0.5
    return counts.keys() <= set(options) and all(abs(counts[o] - n * share) <= 4.5 * deviation for o in options)


@pytest.mark.parametrize("name", SHIPPED)
def test_each_choice_is_uniform(name: str) -> None:
    space, rng = SearchSpace.load(name), random.Random(0)
    archs = [space.sample(rng) for _ in range(2000)]
    assert all(arch in space for arch in archs)
    tables = [genes(space, arch) for arch in archs]
    for gene in set().union(*tables):
        assert is_uniform(Counter(t[gene] for t in tables if gene in t), choices(space, gene)), gene


def test_choices_are_independent() -> None:
    """All 2 x (2 x 2^2 + 2 x 2^4) / 2 archs of a depth are equally frequent, for every depth."""
    rng = random.Random(0)
    archs = [TINY.sample(rng) for _ in range(20_000)]
    for depth in (1, 2):
        counts = Counter(arch for arch in archs if arch.num_layers == depth)
        n = 2 * 4 * 4**depth  # widths, front-ends, heads x ratio of each layer
        assert len(counts) == n
        expected = counts.total() / n
        chi2 = sum((c - expected) ** 2 / expected for c in counts.values())
        assert abs(chi2 - (n - 1)) < 4.5 * (2 * (n - 1)) ** 0.5


@pytest.mark.parametrize("name", ["base", "small"])
@pytest.mark.parametrize("seed", range(5))
def test_the_same_seed_draws_what_the_original_draws(name: str, seed: int) -> None:
    """LightHuBERT's sample_subnet draws by random.choice: depth, width, all ratios, all heads. Several in a row."""
    space = SearchSpace.load(name)
    theirs, ours = random.Random(seed), random.Random(seed)
    for _ in range(3):
        depth = theirs.choice(space.num_layers)
        embed = theirs.choice(space.embed_dim)
        ratios = [theirs.choice(space.ffn_ratio) for _ in range(depth)]
        heads = [theirs.choice(space.num_heads) for _ in range(depth)]
        expected = {"num_layers": depth, "embed_dim": embed, "ffn_ratio": ratios, "num_heads": heads}
        assert space.sample(ours) == space.arch(expected)


def test_convolutions_are_drawn_last() -> None:
    space = SearchSpace.load("small_conv")
    with_convs, without = space.sample(random.Random(3)), SearchSpace.load("small").sample(random.Random(3))
    assert dataclasses.replace(with_convs, conv_channels=without.conv_channels) == without


def test_the_global_generator_is_not_used() -> None:
    random.seed(0)
    state = random.getstate()
    space, rng = SearchSpace.load("mini"), random.Random(1)
    space.crossover(space.sample(rng), space.mutate(space.largest(), rng, 0.5), rng)
    assert random.getstate() == state


@pytest.mark.parametrize("space", [TINY, JOINT, SearchSpace.load("mini"), SearchSpace.load("small_conv")], ids=repr)
@pytest.mark.parametrize("prob", [0.0, 0.2, 0.7, 1.0])
def test_mutations_stay_within_the_space(space: SearchSpace, prob: float) -> None:
    rng = random.Random(0)
    for _ in range(300):
        arch = space.sample(rng)
        mutant = space.mutate(arch, rng, prob)
        assert mutant in space
        if prob == 0:
            assert mutant == arch


def test_full_mutation_is_a_new_draw() -> None:
    rng = random.Random(0)
    mutants = [JOINT.mutate(JOINT.largest(), rng, 1.0) for _ in range(4000)]
    for gene in set().union(*(genes(JOINT, m) for m in mutants)):
        values = Counter(genes(JOINT, m)[gene] for m in mutants if gene in genes(JOINT, m))
        assert is_uniform(values, choices(JOINT, gene)), gene


@pytest.mark.parametrize("space", [TINY, JOINT])
def test_mutation_reaches_every_arch(space: SearchSpace) -> None:
    rng, arch, seen = random.Random(0), space.smallest(), set()
    for _ in range(6000):
        arch = space.mutate(arch, rng, 0.5)
        seen.add(arch)
    assert len(seen) == space.num_archs


def test_mutation_changes_each_choice_with_its_probability() -> None:
    """A choice of two that is drawn anew stays the same half of the time."""
    rng = random.Random(0)
    start = TINY.largest()
    mutants = [genes(TINY, TINY.mutate(start, rng, 0.4)) for _ in range(5000)]
    for gene, value in genes(TINY, start).items():
        kept = [mutant[gene] == value for mutant in mutants if gene in mutant]
        n = len(kept)
        assert abs(sum(kept) / n - 0.8) < 4.5 * (0.16 / n) ** 0.5, gene


@pytest.mark.parametrize("space", [TINY, JOINT, SearchSpace.load("mini"), SearchSpace.load("small_conv")], ids=repr)
def test_children_take_every_choice_from_a_parent(space: SearchSpace) -> None:
    rng = random.Random(0)
    for _ in range(300):
        a, b = space.sample(rng), space.sample(rng)
        child = space.crossover(a, b, rng)
        assert child in space
        parents = [genes(space, a), genes(space, b)]
        for gene, value in genes(space, child).items():
            assert value in [p[gene] for p in parents if gene in p], gene


def test_children_take_from_both_parents_alike() -> None:
    rng = random.Random(0)
    a, b = TINY.largest(), TINY.smallest()
    children = [genes(TINY, TINY.crossover(a, b, rng)) for _ in range(4000)]
    for gene, value in genes(TINY, a).items():
        if gene in genes(TINY, b):
            found = [c[gene] == value for c in children if gene in c]
            n = len(found)
            assert abs(sum(found) / n - 0.5) < 4.5 * 0.5 / n**0.5, gene
    assert {TINY.crossover(a, a, rng) for _ in range(20)} == {a}


def test_a_layer_of_one_parent_alone_comes_from_it() -> None:
    rng = random.Random(0)
    deep, shallow = TINY.largest(), TINY.smallest()  # layers 0 and 1... of which only the last is common
    extra = set(deep.layers) - set(shallow.layers)
    for _ in range(50):
        child = genes(TINY, TINY.crossover(deep, shallow, rng))
        assert all(child.get(f"heads{i}", 3) == 3 for i in extra)
