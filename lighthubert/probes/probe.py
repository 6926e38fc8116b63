"""Probes: how much a linear reader makes of a frozen representation."""

from __future__ import annotations

from collections.abc import Sequence

from lighthubert.models import Hubert
from lighthubert.probes.classify import classify
from lighthubert.probes.clips import Probe
from lighthubert.probes.features import Represent, hidden_states
from lighthubert.probes.scores import Score
from lighthubert.probes.transcribe import transcribe


def run_probe(probe: Probe, represent: Represent, seeds: Sequence[int] = (1, 2, 3), context: int = 1,
              layers: Sequence[int] | None = None) -> Score:  # fmt: skip
    """How well a linear classifier on a representation tells the probe's labels, or reads its texts by CTC.

    context: so many neighbouring frames side by side, for labels of frames and texts. layers: those to choose from or
    to sum, all without any. Each seed trains on its own 80 % of the training clips. Raises ValueError for too few clips
    and BadDataError where too much of the audio cannot be read.
    """
    kind = transcribe if probe.kind == "text" else classify
    return kind(probe, represent, seeds, context, layers)


def score(net: Hubert | Represent, probe: Probe, num_train: int | None = 200,
          num_held_out: int | None = 100) -> float:  # fmt: skip
    """One cheap number for a search to compare nets by: higher is better, an accuracy or 1 - a character error rate.

    The probe above with one seed, on a few of the probe's clips, the same ones for every net. docs/probes.md says what
    it costs and how well it agrees with the whole probe.
    """
    represent = hidden_states(net) if isinstance(net, Hubert) else net
    return run_probe(probe.take(num_train, num_held_out), represent, seeds=(1,)).goodness
