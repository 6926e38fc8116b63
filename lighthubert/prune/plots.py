"""Pictures of pruning: what is left of every axis, over steps and in the end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lighthubert.elastic import Axis
from lighthubert.runtime import plots

KINDS = {"conv": "channels of convolutions", "heads": "attention heads", "ffn": "FFN units"}


def _panels(axes: Iterable[Axis]) -> tuple[plots.Figure, list[tuple[Any, str, list[Axis]]]]:
    """A figure, and a panel for each kind of axes with those axes in the order of their numbers."""
    kinds = {kind: sorted(axis for axis in axes if axis.kind == kind) for kind in KINDS}
    numbered = {kind: axes for kind, axes in kinds.items() if axes}
    figure, panels = plots.new_figure(len(numbered))
    return figure, list(zip(panels, numbered, numbered.values(), strict=True))


def width_curves(history: Sequence[Mapping[str, Any]]) -> plots.Figure:
    """The share of each axis's first width that is left, over steps; history: entries of evals.jsonl."""
    names = [name for name in history[0]["values"] if name.startswith("width/")]
    steps = [entry["step"] for entry in history]
    figure, panels = _panels([Axis.parse(name.removeprefix("width/")) for name in names])
    for ax, kind, axes in panels:
        for i, axis in enumerate(axes):
            values = [entry["values"][f"width/{axis}"] for entry in history]
            shares = [value / max(values[0], 1) for value in values]
            ax.plot(steps, shares, color=str(0.8 * i / len(axes)), label=str((axis.index or 0) + 1))
        ax.set(title=KINDS[kind], xlabel="step", ylabel="share that is left", ylim=(-0.02, 1.05))
        ax.legend(fontsize="x-small", ncols=2)
    return figure


def widths(full: Mapping[Axis, int], kept: Mapping[Axis, int]) -> plots.Figure:
    """Units of each axis before (pale) and after (dark); axis -> units."""
    figure, panels = _panels(full)
    for ax, kind, axes in panels:
        places = range(1, len(axes) + 1)
        ax.bar(places, [full[axis] for axis in axes], color="0.85")
        bars = ax.bar(places, [kept[axis] for axis in axes], color="tab:blue")
        ax.bar_label(bars, fontsize="x-small")
        ax.set_axisbelow(True)
        ax.locator_params(axis="y", integer=True)
        ax.set(title=KINDS[kind], xlabel="convolution" if kind == "conv" else "layer", xticks=list(places))
    return figure
