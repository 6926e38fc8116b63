"""Pictures of pruning: what is left of every axis, over steps and in the end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lighthubert.elastic import Axis
from lighthubert.runtime.plots import new_figure

if TYPE_CHECKING:
    from lighthubert.runtime.plots import Figure

KINDS = {"conv": "channels of convolutions", "heads": "attention heads", "ffn": "FFN units"}


def _axes(axes: Iterable[Axis]) -> dict[str, list[Axis]]:
    """Axes by kind, in the order of their numbers."""
    kinds = {kind: sorted(axis for axis in axes if axis.kind == kind) for kind in KINDS}
    return {kind: numbered for kind, numbered in kinds.items() if numbered}


def width_curves(history: Sequence[Mapping[str, Any]]) -> Figure:
    """The share of each axis's first width that is left, over steps; history: entries of evals.jsonl."""
    names = [name for name in history[0]["values"] if name.startswith("width/")]
    kinds = _axes([Axis.parse(name.removeprefix("width/")) for name in names])
    figure, panels = new_figure(len(kinds))
    for ax, (kind, axes) in zip(panels, kinds.items(), strict=True):
        for i, axis in enumerate(axes):
            values = [entry["values"][f"width/{axis}"] for entry in history]
            full = max(values[0], 1)
            ax.plot(
                [e["step"] for e in history],
                [v / full for v in values],
                color=str(0.8 * i / len(axes)),
                label=str((axis.index or 0) + 1),
            )
        ax.set(title=KINDS[kind], xlabel="step", ylabel="share that is left", ylim=(-0.02, 1.05))
        ax.legend(fontsize="x-small", ncols=2)
    return figure


def widths(full: Mapping[Axis, int], kept: Mapping[Axis, int]) -> Figure:
    """Units of each axis before (pale) and after (dark); axis -> units."""
    kinds = _axes(full)
    figure, panels = new_figure(len(kinds))
    for ax, (kind, axes) in zip(panels, kinds.items(), strict=True):
        places = range(1, len(axes) + 1)
        ax.bar(places, [full[axis] for axis in axes], color="0.85")
        bars = ax.bar(places, [kept[axis] for axis in axes], color="tab:blue")
        ax.bar_label(bars, fontsize="x-small")
        ax.set_axisbelow(True)
        ax.locator_params(axis="y", integer=True)
        ax.set(title=KINDS[kind], xlabel="convolution" if kind == "conv" else "layer", xticks=list(places))
    return figure
