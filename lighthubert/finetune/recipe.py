"""What the recipes of this job say."""

from __future__ import annotations

from dataclasses import dataclass, field

from lighthubert.data import DataConfig
from lighthubert.objectives import MaskConfig, TaskConfig
from lighthubert.train import TrainConfig


@dataclass(frozen=True)
class DropoutConfig:
    """Dropouts while fine-tuning; the net's own where nothing is said."""

    dropout: float | None = None
    attention_dropout: float | None = None
    ffn_dropout: float | None = None


@dataclass(frozen=True)
class Finetune:
    """A net learns a task from labelled clips.

    run_dir: where everything of the run is written; the same command on the same folder resumes.
    init: where the net comes from: any file or folder that lighthubert.load reads (a supernet's parent is taken), or
    the name of a torchaudio bundle. A fine-tuned file of the same task and vocabulary gives its head too.
    train_manifest, valid_manifest: TSV files with a column of texts or classes.
    freeze_steps: for so many steps only the head learns. The convolutions of the front-end never do.
    """

    run_dir: str
    init: str
    train_manifest: str
    valid_manifest: str
    train: TrainConfig
    seed: int = 1
    freeze_steps: int = 0
    task: TaskConfig = field(default_factory=TaskConfig)
    masks: MaskConfig = field(default_factory=MaskConfig)
    dropouts: DropoutConfig = field(default_factory=DropoutConfig)
    data: DataConfig = field(default_factory=DataConfig)

    def __post_init__(self) -> None:
        counts = {key: getattr(self, key) for key in ("seed", "freeze_steps")}
        if problems := [f"{key}: must not be negative, got {n}" for key, n in counts.items() if n < 0]:
            raise ValueError("; ".join(problems))
