"""Frozen-feature probes: what a net knows, measured in minutes on a CPU by a linear reader on a labelled corpus."""

from lighthubert.probes.clips import KINDS, PROBES, Probe, load_probe, make_probe, phones, utterances
from lighthubert.probes.features import Represent, hidden_states, mfcc_frames
from lighthubert.probes.probe import run_probe, score
from lighthubert.probes.scores import Score
