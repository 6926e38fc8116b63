"""MFCC on the frames of a net: the units of HuBERT's first iteration, and what probes hold a net against."""

import torch
from torch import Tensor

from lighthubert.data.audio import SAMPLE_RATE
from lighthubert.models import HubertConfig, nearest_frames, receptive_field

WINDOW, STEP = 400, 160  # samples: 25 ms every 10 ms


def mfcc(waveform: Tensor, net: HubertConfig, subtract_mean: bool = True) -> Tensor:
    """(S,) at 16 kHz -> (T, 39) on the frames of a net: 13 MFCC as Kaldi's, deltas, second deltas.

    Windows of 25 ms, for each frame the one whose middle is nearest: every second one for HuBERT. Without the mean over
    the clip, units do not tell channels apart; dividing by the deviation too would make deltas too loud. What tells
    speakers apart is in that mean.
    """
    from torchaudio.compliance import kaldi
    from torchaudio.functional import compute_deltas

    shortest = max(WINDOW, receptive_field(net))
    if len(waveform) < shortest:
        raise ValueError(f"needs {shortest} samples or more (one frame), got {len(waveform)}")
    static = kaldi.mfcc(waveform[None] * 2**15, sample_frequency=SAMPLE_RATE, use_energy=False).T  # (13, 10 ms frames)
    deltas = compute_deltas(static)
    features = torch.cat([static, deltas, compute_deltas(deltas)]).T
    if subtract_mean:
        features = features - features.mean(0)
    return features[nearest_frames(len(waveform), net, WINDOW / 2, STEP, len(features))]
