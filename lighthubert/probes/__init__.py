"""Frozen-feature probes: what a net knows, measured in minutes on a CPU by a linear reader on a labelled corpus."""

from lighthubert.probes.features import Represent, hidden_states, mfcc_frames
from lighthubert.probes.probe import probe, score
from lighthubert.probes.scores import Score
from lighthubert.probes.tasks import KINDS, TASKS, Task, labelled, load_task, phones, utterances

__all__ = [
    "KINDS",
    "TASKS",
    "Represent",
    "Score",
    "Task",
    "hidden_states",
    "labelled",
    "load_task",
    "mfcc_frames",
    "phones",
    "probe",
    "score",
    "utterances",
]
