"""What was exported against the net that it was made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from lighthubert.export.graph import Graph
from lighthubert.models import receptive_field
from lighthubert.runtime.errors import UserError

Run = Callable[[np.ndarray, np.ndarray], Mapping[str, np.ndarray]]  # input_values, input_lengths -> outputs by name
SECONDS = (0, 1, 3.7)  # of clips; 0 is the fewest samples that make a frame
TOLERANCE = 1e-4  # of the output's deviation


class ExportError(UserError):
    """An export that does not compute what its net does."""


@torch.no_grad()
def prove(graph: Graph, run: Run, what: str) -> float:
    """Compare outputs for three lengths, one clip and two, whole and padded; gives the largest difference of an output,
    relative to its standard deviation. Raises ExportError if it is above TOLERANCE, or frames are counted otherwise."""
    worst, shortest = 0.0, receptive_field(graph.config)
    generator = torch.Generator().manual_seed(0)
    for seconds in SECONDS:
        samples = max(shortest, round(16_000 * seconds))
        for lengths in ([samples], [samples, samples], [samples, max(shortest, samples // 2)]):
            waveform = 0.1 * torch.randn(len(lengths), samples, generator=generator)
            expected = graph.model(waveform, torch.tensor(lengths))
            found = run(waveform.numpy(), np.array(lengths))
            where = f"{what}: clips of {lengths} samples"
            worst = max(worst, _difference(graph, expected, found, where))
    return worst


def _difference(graph: Graph, expected: Any, found: Mapping[str, np.ndarray], where: str) -> float:
    """Of all outputs of one run."""
    worst = 0.0
    for name, theirs in graph.named(expected).items():
        ours = found[name]
        if ours.shape != tuple(theirs.shape):
            raise ExportError(f"{where}: {name} has shape {ours.shape}, the net gives {tuple(theirs.shape)}")
        if name == "lengths":
            if ours.tolist() != theirs.tolist():
                raise ExportError(f"{where}: lengths are {ours.tolist()}, the net gives {theirs.tolist()}")
            continue
        error = float(np.abs(ours - theirs.numpy()).max() / theirs.std())
        if not error <= TOLERANCE:  # NaN too
            far = f"{name} is {error:.1e} of its deviation away from the net's"
            raise ExportError(f"{where}: {far}, and {TOLERANCE:g} is allowed")
        worst = max(worst, error)
    return worst
