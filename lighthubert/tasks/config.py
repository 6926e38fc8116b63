"""The sections of recipes that say what is learnt of labelled clips."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from lighthubert.schema import POSITIVE, SHARE, Checked, at_least


@dataclass(frozen=True)
class TaskConfig(Checked):
    """What a net learns from labelled clips. Clips without a label are left out."""

    kind: Literal["ctc", "classify"] = "ctc"
    """The text of a clip (ctc), or its class (classify)."""
    column: str = "transcript"
    """Of the manifests, where texts or classes are."""
    where: dict[str, str] = field(default_factory=dict)
    """Only clips whose other columns say this, such as {language: en}."""
    tokens: Literal["characters", "subwords"] = "characters"
    """What CTC spells texts with; subwords are byte-pair pieces, trained on the texts."""
    num_subwords: Annotated[int, at_least(2)] = 1000
    """So many of them."""
    layers: Literal["last", "weighted"] = "last"
    """The head sees the last hidden state, or a weighted sum of all, whose weights it learns."""


@dataclass(frozen=True)
class MaskConfig(Checked):
    """What training hides of a clip: spans of frames, and spans of channels of the front-end's projection.

    A probability of 0 hides nothing. wav2vec 2.0 and HuBERT: .65 to .75 of frames, .5 of channels in spans of 64.
    """

    time_prob: Annotated[float, SHARE] = 0.0
    """Share of frames that the spans would cover if they did not overlap."""
    time_length: Annotated[int, POSITIVE] = 10
    """Frames of a span."""
    channel_prob: Annotated[float, SHARE] = 0.0
    """Share of channels that the spans would cover if they did not overlap."""
    channel_length: Annotated[int, POSITIVE] = 64
    """Channels of a span."""
