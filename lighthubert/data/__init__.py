"""Speech for training: manifests, audio files, batch plans, and the readers that follow them."""

from pathlib import Path

from lighthubert.data.audio import SAMPLE_RATE, AudioError, load_audio
from lighthubert.data.batch import BadDataError, Batch
from lighthubert.data.manifest import Manifest, ManifestError, write_manifest
from lighthubert.data.mfcc import mfcc
from lighthubert.data.plan import DataConfig, PlannedBatch, plan, stream
from lighthubert.data.reader import Reader, eval_batches

MINI = Path(__file__).with_name("mini")  # the embedded corpus: train.tsv, valid.tsv
