"""MFCC on the frames of HuBERT: the units of its first iteration, and what probes hold a net against."""

import torch
from torch import Tensor

from lighthubert.data.audio import SAMPLE_RATE
from lighthubert.data.plan import FRAME


def mfcc(waveform: Tensor, subtract_mean: bool = True) -> Tensor:
    """(S,) at 16 kHz -> (T, 39) on the frames of HuBERT's front-end: 13 MFCC as Kaldi's, deltas, second deltas.

    Windows of 25 ms every 20 ms. Without the mean over the clip, units do not tell channels apart; dividing by the
    deviation too would make deltas too loud. What tells speakers apart is in that mean.
    """
    from torchaudio.compliance import kaldi
    from torchaudio.functional import compute_deltas

    if len(waveform) < FRAME:
        raise ValueError(f"needs {FRAME} samples or more (one frame), got {len(waveform)}")
    static = kaldi.mfcc(waveform[None] * 2**15, sample_frequency=SAMPLE_RATE, use_energy=False).T  # (13, 10 ms frames)
    deltas = compute_deltas(static)
    features = torch.cat([static, deltas, compute_deltas(deltas)]).T
    if subtract_mean:
        features = features - features.mean(0)
    return features[::2].contiguous()
