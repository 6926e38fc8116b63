"""What only a process of its own can show: reading without fairseq2, and ending while a thread reads ahead."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from lighthubert.data import DataConfig, Manifest, Reader
from lighthubert.data.fairseq2_pipeline import reason_unavailable
from lighthubert.models import HubertConfig

SCRIPT = """
import hashlib, itertools, logging, sys
from lighthubert.data import DataConfig, Manifest, Reader
from lighthubert.models import HubertConfig

def fingerprint(reader, count):
    digest = hashlib.sha256()
    for batch in itertools.islice(reader, count):
        digest.update(repr((batch.rows, batch.starts, batch.epoch)).encode() + batch.waveform.numpy().tobytes())
    return digest.hexdigest()
"""


WITHOUT_FAIRSEQ2 = """
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("fairseq2", "fairseq2n"):
            raise ModuleNotFoundError(f"No module named {name!r}")

sys.meta_path.insert(0, Blocker())
logging.basicConfig(level=logging.INFO, format="%(name)s:%(message)s", stream=sys.stdout)
manifest = Manifest.read(sys.argv[1])
config = DataConfig(max_seconds=4, max_clip_seconds=1.5)
readers = [Reader(manifest, config, HubertConfig(), seed=0, rank=1, world=2) for _ in range(2)]
print(readers[0].name, fingerprint(readers[0], 15))
try:
    Reader(manifest, DataConfig(reader="fairseq2"), HubertConfig(), seed=0)
except ImportError as error:
    print("refused", error)
"""


def test_without_fairseq2_the_dataloader_gives_the_same(corpus: Manifest, repo_root: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(repo_root)}
    command = [sys.executable, "-W", "error", "-c", SCRIPT + WITHOUT_FAIRSEQ2, str(corpus.path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True, env=environment)
    said, found, refused = done.stdout.splitlines()
    reason = "ModuleNotFoundError: No module named 'fairseq2'"
    assert said == (
        f"lighthubert:audio is read by a torch DataLoader, the same batches as fairseq2's (not here: {reason})"
    )  # once, for two readers
    name, fingerprint = found.split()
    assert name == "torch"
    assert refused == f"refused data: reader is fairseq2, which cannot be imported ({reason})"
    namespace: dict = {}
    exec(SCRIPT, namespace)
    reader = Reader(corpus, DataConfig(max_seconds=4, max_clip_seconds=1.5), HubertConfig(), seed=0, rank=1, world=2)
    assert reader.name == ("torch" if reason_unavailable() else "fairseq2")
    assert namespace["fingerprint"](reader, 15) == fingerprint
