"""Plain HuBERT."""

from lighthubert.models.config import Arch, HubertConfig
from lighthubert.models.encoder import recompute_layers
from lighthubert.models.frontend import SAMPLE_RATE, num_frames, receptive_field, valid_mask
from lighthubert.models.hubert import Hubert, HubertOutput
from lighthubert.models.masking import span_mask
