"""What the recipes of this job say."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from lighthubert.schema import NOT_NEGATIVE
from lighthubert.tasks.config import MaskConfig, TaskConfig
from lighthubert.train import TrainRecipe


@dataclass(frozen=True)
class DropoutConfig:
    """Dropouts while fine-tuning; the net's own where nothing is said."""

    dropout: float | None = None
    """Of the residual branches."""
    attention_dropout: float | None = None
    """Of the attention weights."""
    ffn_dropout: float | None = None
    """Between the two layers of the FFN."""


@dataclass(frozen=True, kw_only=True)
class Finetune(TrainRecipe):
    """A net learns a task from labelled clips. The manifests need a column of texts or classes."""

    init: str
    """Where the net comes from: any file or folder that lighthubert.load reads (a supernet's parent is taken), or the
    name of a torchaudio bundle. A fine-tuned file of the same task and vocabulary gives its head too."""
    freeze_steps: Annotated[int, NOT_NEGATIVE] = 0
    """For so many steps only the head learns. The convolutions of the front-end never do."""
    task: TaskConfig = field(default_factory=TaskConfig)
    masks: MaskConfig = field(default_factory=MaskConfig)
    dropouts: DropoutConfig = field(default_factory=DropoutConfig)
