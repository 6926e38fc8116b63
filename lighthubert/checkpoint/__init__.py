"""Files of nets: our own format, and those of fairseq, Hugging Face, torchaudio, DPHuBERT and LightHuBERT."""

from lighthubert.checkpoint.errors import CheckpointError
from lighthubert.checkpoint.load import load, read
from lighthubert.checkpoint.loaded import Loaded, weights_digest
from lighthubert.checkpoint.native import save
