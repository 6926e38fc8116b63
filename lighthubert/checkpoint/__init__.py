"""Files of nets: our own format, and those of fairseq, Hugging Face, torchaudio and the released LightHuBERT."""

from lighthubert.checkpoint.errors import CheckpointError
from lighthubert.checkpoint.load import digest, load, load_hubert, load_task, load_teacher
from lighthubert.checkpoint.native import save

__all__ = ["CheckpointError", "digest", "load", "load_hubert", "load_task", "load_teacher", "save"]
