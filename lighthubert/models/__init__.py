"""Plain HuBERT."""

from lighthubert.models.config import Arch, HubertConfig
from lighthubert.models.encoder import recompute_layers
from lighthubert.models.frontend import (
    SAMPLE_RATE,
    frame_middles,
    nearest_frames,
    num_frames,
    receptive_field,
    require_same_frames,
    valid_mask,
)
from lighthubert.models.hubert import Hubert, HubertOutput
from lighthubert.models.masking import span_mask
