"""Manifests of SLURP: dataset/slurp/{train,train_synthetic,devel,test}.jsonl with the audio in audio/slurp_*.

The layout is that of its repository after scripts/download_audio.sh. Every recording of a sentence is a clip.
"""

from __future__ import annotations

import json
from pathlib import Path

from lighthubert.data.audio import read_length
from lighthubert.prepare.report import PrepareError, write_measured
from lighthubert.prepare.text import normalise
from lighthubert.runtime.files import read_text

FOLDERS = {"train": "slurp_real", "train_synthetic": "slurp_synth", "devel": "slurp_real", "test": "slurp_real"}


def prepare_slurp(root: Path, out: Path, jobs: int) -> None:
    """Write one manifest a subset that is there; `intent` is scenario_action. Lengths are the FLAC headers'."""
    subsets = [name for name in FOLDERS if (root / "dataset" / "slurp" / f"{name}.jsonl").is_file()]
    if not subsets:
        raise PrepareError(f"{root}: no dataset/slurp/{{{','.join(FOLDERS)}}}.jsonl in it, so this is not SLURP")
    for name in subsets:
        clips = read_recordings(root, name)
        nothing = f"{root}: none of the {len(clips)} recordings of {name} can be used"
        write_measured(out / f"{name}.tsv", sorted(clips), read_length, clips.__getitem__, jobs, name, nothing)


def read_recordings(root: Path, name: str) -> dict[Path, dict[str, str]]:
    """Audio file -> the columns of its sentence. Raises PrepareError that names file and line of a wrong entry."""
    path = root / "dataset" / "slurp" / f"{name}.jsonl"
    clips: dict[Path, dict[str, str]] = {}
    for number, line in enumerate(read_text(path, PrepareError).splitlines(), 1):
        try:
            entry = json.loads(line)
            scenario, action = entry["scenario"], entry["action"]
            columns = {"transcript": normalise(entry["sentence"]), "intent": f"{scenario}_{action}",
                       "scenario": scenario, "action": action, "language": "en"}  # fmt: skip
            files = [recording["file"] for recording in entry["recordings"]]
        except (ValueError, KeyError, TypeError) as error:
            raise PrepareError(f"{path}, line {number}: not an entry of SLURP: {error!r}") from None
        clips |= {root / "audio" / FOLDERS[name] / file: columns for file in files}
    return clips
