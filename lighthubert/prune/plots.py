"""Pictures of pruning: what is left of every axis, over steps and in the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lighthubert.runtime.plots import new_figure

if TYPE_CHECKING:
    from lighthubert.runtime.plots import Figure

KINDS = {"conv": "channels of convolutions", "heads": "attention heads", "ffn": "FFN units"}


def _axes(names: Sequence[str]) -> dict[str, list[str]]:
    """Axes by kind, in the order of their numbers."""
    kinds = {kind: [n for n in names if n.rstrip("0123456789") == kind] for kind in KINDS}
    return {k: sorted(v, key=lambda n: int(n.removeprefix(k))) for k, v in kinds.items() if v}


def width_curves(history: Sequence[Mapping[str, Any]]) -> Figure:
    """The share of each axis's first width that is left, over steps; history: entries of evals.jsonl."""
    kinds = _axes([name.removeprefix("width/") for name in history[0]["values"] if name.startswith("width/")])
    figure, panels = new_figure(len(kinds))
    for ax, (kind, names) in zip(panels, kinds.items(), strict=True):
        for i, name in enumerate(names):
            values = [entry["values"][f"width/{name}"] for entry in history]
            full = max(values[0], 1)
            number = int(name.removeprefix(kind)) + 1
            ax.plot(
                [e["step"] for e in history],
                [v / full for v in values],
                color=str(0.8 * i / len(names)),
                label=str(number),
            )
        ax.set(title=KINDS[kind], xlabel="step", ylabel="share that is left", ylim=(-0.02, 1.05))
        ax.legend(fontsize="x-small", ncols=2)
    return figure


def widths(full: Mapping[str, int], kept: Mapping[str, int]) -> Figure:
    """Units of each axis before (pale) and after (dark); axis -> units."""
    kinds = _axes(list(full))
    figure, panels = new_figure(len(kinds))
    for ax, (kind, names) in zip(panels, kinds.items(), strict=True):
        places = range(1, len(names) + 1)
        ax.bar(places, [full[n] for n in names], color="0.85")
        bars = ax.bar(places, [kept[n] for n in names], color="tab:blue")
        ax.bar_label(bars, fontsize="x-small")
        ax.set_axisbelow(True)
        ax.locator_params(axis="y", integer=True)
        ax.set(title=KINDS[kind], xlabel="convolution" if kind == "conv" else "layer", xticks=list(places))
    return figure
