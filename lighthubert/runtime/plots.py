"""Pictures of any run. The only door to matplotlib."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lighthubert.runtime.files import replacing

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def new_figure(columns: int = 1, width: float = 6.4, height: float = 4.4) -> tuple[Figure, list[Any]]:
    """A figure that is never shown in a window, and its panels side by side, each `width` x `height` inches."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width * columns, height), layout="constrained")
    axes = figure.subplots(1, columns, squeeze=False)[0]
    for ax in axes:
        ax.grid(alpha=0.3)
        ax.spines[["top", "right"]].set_visible(False)
    return figure, list(axes)


def save(figure: Figure, path: Path) -> None:
    """Write a picture, whole or not at all."""
    with replacing(path) as part:
        figure.savefig(part, dpi=120, format=path.suffix[1:])


def loss_curves(history: Sequence[Mapping[str, Any]]) -> Figure:
    """Every held-out loss of a run over its steps; history: entries of evals.jsonl."""
    figure, (ax,) = new_figure()
    for name in sorted(history[0]["values"]):
        if "loss" in name:
            ax.plot([e["step"] for e in history], [e["values"].get(name) for e in history], marker=".", label=name)
    ax.set(xlabel="step", ylabel="held-out loss")
    ax.legend(fontsize="small")
    return figure
