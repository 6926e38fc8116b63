"""Sums and counts by name."""

import math

from lighthubert.runtime.sums import Sums


def test_sums() -> None:
    sums = Sums()
    sums.add("loss", 3.0, 2)
    sums.extend({"loss": (4.0, 1), "rate": (1.0, 4)})
    sums.add("rate", 1.0, 4)
    assert sums == {"loss": (7.0, 3), "rate": (2.0, 8)}
    assert sums.means() == {"loss": 7 / 3, "rate": 0.25}


def test_what_has_no_mean() -> None:
    """JSON has no infinity."""
    assert Sums({"none": (0.0, 0), "nan": (math.nan, 2), "inf": (math.inf, 2), "one": (2, 2)}).means() == {
        "nan": None,
        "inf": None,
        "one": 1.0,
    }
