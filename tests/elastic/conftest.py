"""Small spaces of every kind, and supernets of them with weights in which no two numbers are alike."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
from tiny import SPACES, random_supernet

from lighthubert.elastic import SearchSpace, Supernet


@pytest.fixture(scope="session")
def small_spaces() -> dict[str, SearchSpace]:
    return {name: SearchSpace.from_dict({**values, "name": name}) for name, values in SPACES.items()}


@pytest.fixture(params=SPACES)
def space(request: pytest.FixtureRequest, small_spaces: dict[str, SearchSpace]) -> SearchSpace:
    """Every small space in turn."""
    return small_spaces[request.param]


@pytest.fixture(scope="session")
def build() -> Callable[[SearchSpace], Supernet]:
    """A supernet in evaluation mode; biases and norms are jittered, or a wrong slice of them would not show."""

    return partial(random_supernet, gain=5)


@pytest.fixture
def supernet(space: SearchSpace, build: Callable[[SearchSpace], Supernet]) -> Supernet:
    return build(space)
