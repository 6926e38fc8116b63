"""Pictures of a finished distillation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lighthubert.runtime import plots


def stages(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> plots.Figure:
    """Held-out loss of each arch against its MACs, a colour for each moment.

    rows: name, macs (of 10 s), and a loss under each of `columns`.
    """
    figure, (ax,) = plots.new_figure()
    ordered = sorted(rows, key=lambda row: row["macs"])
    for column in columns:
        points = [(row["macs"] / 1e9, row[column]) for row in ordered if row[column] is not None]
        ax.plot(*zip(*points, strict=True), marker="o", label=column)
    for row in ordered:
        low = min((row[column] for column in columns if row[column] is not None), default=0)
        ax.annotate(
            row["name"], (row["macs"] / 1e9, low), xytext=(0, -14), textcoords="offset points", ha="center", fontsize=8
        )
    ax.set(xlabel="GMACs for 10 s of speech", ylabel="held-out loss, clean speech", ylim=(0, None))
    ax.margins(x=0.1)
    ax.legend()
    return figure
