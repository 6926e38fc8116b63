"""What probes tell apart: labelled clips of manifests, a label for a clip or for each of its frames."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lighthubert.data import Manifest, ManifestError

SILENCE = "-"
REACH = 4  # frames from a recognised phone that are still its own; further ones are silence


class Clip(NamedTuple):
    file: str
    samples: int
    label: str  # of the clip, or its phones: "7:eɪ 15:d͡ʒ", each with the frame in which it was recognised
    held_out: bool


@dataclass(frozen=True)
class Task:
    """Labelled clips, some of them held out. per_frame: labels are phones of frames."""

    name: str
    corpus: Path
    clips: Sequence[Clip]
    per_frame: bool = False

    @property
    def manifest(self) -> Manifest:
        samples = np.array([clip.samples for clip in self.clips], dtype=np.int64)
        return Manifest(self.corpus, self.corpus, [clip.file for clip in self.clips], samples)

    def labels(self, row: int, frames: int) -> np.ndarray:
        """Of a clip: one label, or one of each of its frames (frames,)."""
        label = self.clips[row].label
        return frame_labels(label, frames) if self.per_frame else np.array([label])


def utterances(name: str, corpus: Path, column: str, where: Mapping[str, str], *, values: Sequence[str] = (),
               leave_out: Sequence[str] = (), min_train: int = 1, max_train: int = 60, max_held_out: int = 15,
               ) -> Task:  # fmt: skip
    """Classes of whole clips: what a column of train.tsv says; dev.tsv and test.tsv are held out.

    where: what other columns must say. values: the classes; all that are not left out, without any. min_train: rarer
    classes are left out. At most max_train clips of a class, and max_held_out of it in dev and in test, are drawn.
    Raises ManifestError for a missing column, or fewer than two classes.
    """
    found = {split: by_value(corpus / f"{split}.tsv", column, where) for split in ("train", "dev", "test")}
    classes = sorted(
        value
        for value, clips in found["train"].items()
        if len(clips) >= min_train and value not in leave_out and (not values or value in values)
    )
    if len(classes) < 2:
        raise ManifestError(f"{corpus / 'train.tsv'}: probe {name}: fewer than two classes with {min_train} clips")
    rng, chosen = np.random.default_rng(0), list[Clip]()
    for split, at_most in {"train": max_train, "dev": max_held_out, "test": max_held_out}.items():
        for value in classes:
            clips = found[split].get(value, [])
            chosen += [clips[i] for i in sorted(rng.permutation(len(clips))[:at_most])]
    return Task(name, corpus, chosen)


def by_value(path: Path, column: str, where: Mapping[str, str]) -> dict[str, list[Clip]]:
    """The clips of a manifest that fit, by the value of a column. Clips under 0.4 s are too short to judge."""
    manifest, found = Manifest.read(path), defaultdict[str, list[Clip]](list)
    if missing := [key for key in (column, *where) if key not in manifest.columns]:
        raise ManifestError(f"{path}: no column {', '.join(missing)}")
    for row, samples in enumerate(manifest.samples.tolist()):
        value = manifest.columns[column][row]
        if value and samples >= 6400 and all(manifest.columns[key][row] == want for key, want in where.items()):
            found[value].append(Clip(manifest.files[row], samples, value, path.stem != "train"))
    return found


def phones(name: str, corpus: Path, source: str) -> Task:
    """Phones of frames of one source, from what `prepare phones` left in phones.tsv."""
    path = corpus / "phones.tsv"
    if not path.exists():
        raise ManifestError(f"{path}: is missing; `python -m lighthubert.prepare phones` makes it")
    manifest = Manifest.read(path)
    columns = (manifest.files, manifest.samples.tolist(), *(manifest.columns[c] for c in ("phones", "split", "source")))
    clips = [
        Clip(file, samples, label, split != "train")
        for file, samples, label, split, origin in zip(*columns, strict=True)
        if origin == source
    ]
    if len({clip.held_out for clip in clips}) < 2:
        raise ManifestError(f"{path}: no clips of {source} to train on, or none held out")
    return Task(name, corpus, clips, per_frame=True)


def frame_labels(spikes: str, frames: int) -> np.ndarray:
    """(frames,) the phone whose recognition is nearest, at most REACH frames away; the earlier one of two as near."""
    labels, distance = np.full(frames, SILENCE, dtype=object), np.full(frames, REACH + 1)
    for item in spikes.split():
        start, phone = item.split(":", 1)
        away = np.abs(np.arange(frames) - int(start))
        nearer = away < distance
        labels[nearer], distance[nearer] = phone, away[nearer]
    return labels


TASKS: dict[str, Callable[[Path], Task]] = {  # of the Debian corpus; those that MFCC means solve are no evidence
    "characters": lambda corpus: utterances(
        "characters", corpus, "speaker", {"source": "queen"}, min_train=50, leave_out=("queen-cutscene", "queen-other")
    ),
    "intents": lambda corpus: utterances(
        "intents", corpus, "intent", {"source": "asterisk"}, values=("vm", "digits", "conf", "letters"),
        max_train=250, max_held_out=60,
    ),
    "phones": lambda corpus: phones("phones", corpus, "asterisk"),
    "phones_narrow": lambda corpus: phones("phones_narrow", corpus, "queen"),
}  # fmt: skip


def load_task(name: str, corpus: str | Path) -> Task:
    """A named probe on a prepared Debian corpus; ValueError for another name, ManifestError for a missing corpus."""
    if name not in TASKS:
        raise ValueError(f"probe: must be one of {', '.join(TASKS)}, got {name!r}")
    return TASKS[name](Path(corpus))
