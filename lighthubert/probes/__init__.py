"""Frozen-feature probes: what a net knows, measured in minutes on a CPU by a linear classifier on a labelled corpus."""

from lighthubert.probes.features import Represent, hidden_states, mfcc_frames
from lighthubert.probes.probe import Score, probe
from lighthubert.probes.tasks import TASKS, Task, load_task, phones, utterances

__all__ = [
    "TASKS",
    "Represent",
    "Score",
    "Task",
    "hidden_states",
    "load_task",
    "mfcc_frames",
    "phones",
    "probe",
    "utterances",
]
