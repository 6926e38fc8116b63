"""What a finished search shows: a table, the front as archs that `extract` takes, pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lighthubert.config import write_yaml
from lighthubert.elastic import SearchSpace, Supernet
from lighthubert.models import Arch, Hubert
from lighthubert.runtime import plots, tables
from lighthubert.runtime.files import replacing
from lighthubert.search.record import Scored
from lighthubert.search.run import Found, front

UNITS = {"params": (1e6, "M parameters"), "macs": (1e9, "GMACs / 10 s"), "superb_macs": (1e9, "GMACs, SUPERB"),
         "megabytes": (1, "MB, float16"), "milliseconds": (1, "ms")}  # fmt: skip


def report(result: Found, run_dir: Path, name: str, supernet: Supernet, test: Callable[[Hubert], float] | None) -> None:
    """Print the table; write best.yaml, front/*.yaml, search.png, widths.png and search.html.

    name: what the score is. test: the score on clips that were not searched on, of what the table shows.
    """
    named = {"searched": result.best, f"best of {result.num_random:,} random": result.random, "uniform": result.uniform}
    tested = {row: test(supernet.sample(scored.arch)) for row, scored in named.items()} if test else {}
    print_table(result, named, name, tested)
    write_yaml(run_dir / "best.yaml", result.best.arch.to_dict())
    for old in (run_dir / "front").glob("*.yaml"):
        old.unlink()
    (run_dir / "front").mkdir(exist_ok=True)
    for i, row in enumerate(result.front):
        write_yaml(run_dir / "front" / f"{i:03}.yaml", row.arch.to_dict())
    plots.save(scatter(result, named, name), run_dir / "search.png")
    plots.save(widths(result.space, result.front), run_dir / "widths.png")
    with replacing(run_dir / "search.html") as part:
        interactive(result, name).write_html(part, include_plotlyjs=True)  # works without a network
    print(f"\n{run_dir}: best.yaml, {len(result.front)} archs in front/, search.png, widths.png, search.html")


def print_table(result: Found, named: Mapping[str, Scored], name: str, tested: Mapping[str, float]) -> None:
    limits = ", ".join(f"{UNITS[c][1]} at most {limit / UNITS[c][0]:g}" for c, limit in result.budget.items())
    costs, test = list(result.best.costs), [f"{name}, test"] if tested else []
    rows = []
    for row, scored in named.items():
        values = [f"{scored.costs[cost] / UNITS[cost][0]:.3f}" for cost in costs]
        rows.append([row, *values, f"{scored.score:.4f}", *([f"{tested[row]:.4f}"] if tested else [])])
    tables.print_table(limits, ["", *(UNITS[cost][1] for cost in costs), f"{name}, searched", *test], rows)
    if not tested:
        print("No test_manifest: the scores are of the clips that were searched on, and flatter what was searched.")


def axes(result: Found) -> list[str]:
    """The costs that pictures are drawn over: those of the budget first."""
    return list(dict.fromkeys([*result.budget, *result.best.costs]))


def scatter(result: Found, named: Mapping[str, Scored], name: str) -> plots.Figure:
    """Score against each cost: all scored archs, the front, and the rows of the table."""
    costs = axes(result)
    figure, panels = plots.new_figure(len(costs), width=5.6)
    for ax, cost in zip(panels, costs, strict=True):
        unit, label = UNITS[cost]
        for origin, colour in (("random", "tab:gray"), ("evolution", "tab:blue")):
            rows = [row for row in result.scored if row.origin == origin]
            ax.scatter([r.costs[cost] / unit for r in rows], [r.score for r in rows], s=6, alpha=0.4, color=colour,
                       linewidths=0, label=f"{origin}, {len(rows):,} archs")  # fmt: skip
        points = [(r.costs[cost] / unit, r.score) for r in front(result.scored, [cost])]
        ax.plot(*zip(*points, strict=True), color="tab:blue", lw=1, label="front")
        for (row, scored), marker in zip(named.items(), "*^s", strict=True):
            ax.plot(scored.costs[cost] / unit, scored.score, marker, ms=11 if marker == "*" else 7, label=row,
                    markeredgecolor="black", ls="none")  # fmt: skip
        if cost in result.budget:
            ax.axvline(result.budget[cost] / unit, color="black", lw=1, ls=":")
        ax.set(xlabel=label, ylabel=name)
    panels[-1].legend(fontsize="small")
    return figure


def widths(space: SearchSpace, front: Sequence[Scored]) -> plots.Figure:
    """What the archs of a front have in common: each width as a share of the largest one, the cheapest arch left."""
    rows, labels = _shares(space, [row.arch for row in front])
    figure, (ax,) = plots.new_figure(width=max(6.4, 0.12 * len(front) + 3), height=0.24 * len(labels) + 1.6)
    ax.grid(False)
    image = ax.imshow(rows, aspect="auto", interpolation="nearest", vmin=0, vmax=1, cmap="viridis")
    ax.set(yticks=range(len(labels)), yticklabels=labels, xlabel="archs of the front, from the cheapest", xticks=[])
    figure.colorbar(image, label="share of the space's largest; blank: no such layer")
    return figure


def _shares(space: SearchSpace, archs: Sequence[Arch]) -> tuple[np.ndarray, list[str]]:
    largest, layers = space.largest(), space.parent.num_layers
    rows: dict[str, list[float]] = {"embedding": [arch.embed_dim / largest.embed_dim for arch in archs]}
    convs = [sum(arch.conv_channels) / sum(largest.conv_channels) for arch in archs]
    rows |= {"conv channels": convs, "layers": [arch.num_layers / largest.num_layers for arch in archs]}
    for key, name, most in (
        ("num_heads", "heads", max(space.num_heads)),
        ("ffn_dim", "FFN ratio", max(space.ffn_ratio)),
    ):
        for layer in range(layers):
            rows[f"{name}, layer {layer + 1}"] = [_share(arch, key, layer, most) for arch in archs]
    return np.array(list(rows.values())), list(rows)


def _share(arch: Arch, key: str, layer: int, most: float) -> float:
    if layer not in arch.layers:
        return float("nan")
    width = getattr(arch, key)[arch.layers.index(layer)]
    return width / most / (arch.embed_dim if key == "ffn_dim" else 1)


def interactive(result: Found, name: str) -> Any:
    """Score against a cost that a menu chooses; an arch under the mouse tells its sizes. The only door to plotly."""
    import plotly.graph_objects as go

    costs, kept = axes(result), {row.arch for row in result.front}
    groups = {"random": [r for r in result.scored if r.origin == "random"],
              "evolution": [r for r in result.scored if r.origin == "evolution"],
              "front": [r for r in result.scored if r.arch in kept]}  # fmt: skip
    figure = go.Figure()
    for group, rows in groups.items():
        figure.add_scatter(x=[r.costs[costs[0]] / UNITS[costs[0]][0] for r in rows], y=[r.score for r in rows],
                           mode="markers", name=group, text=[str(r.arch) for r in rows])  # fmt: skip
    buttons = []
    for cost in costs:
        unit, label = UNITS[cost]
        values = [[r.costs[cost] / unit for r in rows] for rows in groups.values()]
        args = [{"x": values}, {"xaxis.title.text": label}]
        buttons.append({"label": label, "method": "update", "args": args})
    figure.update_layout(xaxis_title=UNITS[costs[0]][1], yaxis_title=name, template="plotly_white",
                         updatemenus=[{"buttons": buttons, "x": 0, "xanchor": "left", "y": 1.12}])  # fmt: skip
    return figure
