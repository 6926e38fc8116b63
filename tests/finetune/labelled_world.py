"""A tiny net and a few real clips with texts and classes, so that fine-tuning takes a second."""

from pathlib import Path
from typing import Any

from small import DATA, TEACHER, merged, random_hubert, write_yaml

from lighthubert import HubertConfig, save
from lighthubert.data import MINI, Manifest, write_manifest

COLUMNS = ("path", "samples", "text", "language")


def write_labelled_world(folder: Path) -> Path:
    """net.safetensors; train.tsv and valid.tsv, six and four clips of 1.5 to 3 seconds, half English, half Russian."""
    save(random_hubert(HubertConfig.from_dict(TEACHER)), folder / "net.safetensors")
    for name, each in (("train", 3), ("valid", 2)):
        clips = Manifest.read(MINI / f"{name}.tsv")
        short = [row for row in range(len(clips)) if 24000 < clips.samples[row] < 48000]
        chosen = [[r for r in short if clips.columns["language"][r] == lang][:each] for lang in ("en", "ru")]
        rows = [
            {"path": str(Path(clips.file_path(row)).resolve()), "samples": clips.samples[row],
             "text": clips.columns["transcript"][row], "language": clips.columns["language"][row]}
            for rows_of_language in chosen for row in rows_of_language
        ]  # fmt: skip
        write_manifest(folder / f"{name}.tsv", COLUMNS, rows)
    return folder


def task_values(world: Path, **changes: Any) -> dict[str, Any]:
    """The keys of a CTC run in this world; sections are merged."""
    values: dict[str, Any] = {
        "init": str(world / "net.safetensors"),
        "train_manifest": str(world / "train.tsv"),
        "valid_manifest": str(world / "valid.tsv"),
        "task": {"column": "text"},
        "data": {**DATA, "max_clip_seconds": 3.0},
        "train": {"steps": 4, "lr": 1e-3, "schedule": "tri_stage", "eval_every": 4, "log_every": 2},
    }
    return merged(values, changes)


def classes(world: Path, **changes: Any) -> dict[str, Any]:
    task = {"kind": "classify", "column": "language", "layers": "weighted"}
    return merged(task_values(world, task=task), changes)


__all__ = ["classes", "task_values", "write_labelled_world", "write_yaml"]
