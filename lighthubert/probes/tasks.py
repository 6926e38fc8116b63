"""What probes tell apart: labelled clips of manifests, with a label for a clip or for each of its frames, or a text."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lighthubert.data import SAMPLE_RATE, Manifest, ManifestError

KINDS = ("classes", "frames", "text")
SILENCE = "-"
REACH = 4  # frames from a recognised phone that are still its own; further ones are silence
SHORTEST, LONGEST = 0.4, 15.0  # seconds: too short to judge; longer clips would be cut and their texts not

File = str | os.PathLike[str]


class Clip(NamedTuple):
    file: str  # absolute
    samples: int
    label: str  # of the clip, its text, or its phones: "7:eɪ 15:d͡ʒ", each with the frame in which it was recognised
    held_out: bool


@dataclass(frozen=True)
class Task:
    """Labelled clips, some of them held out. kind: labels are classes of clips, phones of frames, or texts."""

    name: str
    source: Path  # what messages name
    clips: Sequence[Clip]
    kind: str = "classes"

    @property
    def manifest(self) -> Manifest:
        samples = np.array([clip.samples for clip in self.clips], dtype=np.int64)
        return Manifest(self.source, Path(), [clip.file for clip in self.clips], samples)

    def labels(self, row: int, frames: int) -> np.ndarray:
        """Of a clip: one label, or one of each of its frames (frames,)."""
        label = self.clips[row].label
        return frame_labels(label, frames) if self.kind == "frames" else np.array([label])

    def take(self, num_train: int | None, num_held_out: int | None) -> Task:
        """The same task on so many of its clips, drawn the same way each time; on all of them for None."""
        rng, kept = np.random.default_rng(0), list[int]()
        for held_out, number in {False: num_train, True: num_held_out}.items():
            rows = [row for row, clip in enumerate(self.clips) if clip.held_out == held_out]
            kept += rng.permutation(rows)[:number].tolist()
        return replace(self, clips=[self.clips[row] for row in sorted(kept)])


def labelled(name: str, train: File, held_out: File | Sequence[File] = (), *, column: str, kind: str = "classes",
             split: str | None = None, where: Mapping[str, str] | None = None, values: Sequence[str] = (),
             leave_out: Sequence[str] = (), min_train: int = 0, max_train: int | None = None,
             max_held_out: int | None = None) -> Task:  # fmt: skip
    """A task of any manifests.

    held_out: one or more further manifests; without any, `split` names a column of `train` that says "train" of the
    clips to train on, and anything else of held-out ones. column: holds the label. kind: "classes" of whole clips,
    "text" that is said, or phones of "frames" as `prepare phones` writes them. where: what other columns must say.
    Clips without a class or text, clips under 0.4 s, and texts of clips over 15 s are left out.

    Of classes, values: the wanted ones, all that are not left out, without any. min_train: rarer classes are left out;
    without it a class that only held-out clips have is an error. At most max_train clips of a class, and max_held_out
    of it in each held-out manifest, are drawn (of other kinds: of all clips).

    Raises ManifestError for manifests that cannot be read, a missing column, fewer than two classes, a class without
    training clips, nothing to train on or nothing held out, and clips that are in both.
    """
    if kind not in KINDS:
        raise ValueError(f"probe {name}: kind: must be one of {', '.join(KINDS)}, got {kind!r}")
    others = [held_out] if isinstance(held_out, (str, os.PathLike)) else list(held_out)
    if bool(others) == bool(split):
        raise ValueError(f"probe {name}: give either held-out manifests or the name of a split column")
    where = dict(where or {})
    found = [part for file in (train, *others) for part in read_parts(Path(file), column, kind, split, where)]
    if split is None:
        found = [[clip._replace(held_out=i > 0) for clip in part] for i, part in enumerate(found)]
    wanted = by_class(name, Path(train), found, values, leave_out, min_train) if kind == "classes" else None
    rng, chosen = np.random.default_rng(0), list[Clip]()
    for part in found:
        at_most = max_held_out if part and part[0].held_out else max_train
        groups = [[c for c in part if c.label == value] for value in wanted] if wanted else [part]
        for clips in groups:
            chosen += [clips[i] for i in sorted(rng.permutation(len(clips))[:at_most])]
    check(name, Path(train), chosen)
    return Task(name, Path(train), chosen, kind)


def read_parts(path: Path, column: str, kind: str, split: str | None, where: Mapping[str, str]) -> list[list[Clip]]:
    """The clips of a manifest that fit; of one with a split column, those to train on and then those held out."""
    manifest = Manifest.read(path)
    needed = [column, *where, *([split] if split else [])]
    if missing := [key for key in needed if key not in manifest.columns]:
        known = ", ".join(manifest.columns) or "none but path and samples"
        raise ManifestError(f"{path}: no column {', '.join(missing)} (further columns are {known})")
    shortest, longest = SHORTEST * SAMPLE_RATE, LONGEST * SAMPLE_RATE if kind == "text" else np.inf
    clips = []
    for row, samples in enumerate(manifest.samples.tolist()):
        value = manifest.columns[column][row]
        fits = shortest <= samples <= longest and all(manifest.columns[k][row] == want for k, want in where.items())
        if fits and (value.strip() or kind == "frames"):  # no phones: silence
            held_out = bool(split) and manifest.columns[split or ""][row] != "train"
            clips.append(Clip(os.path.abspath(manifest.file_path(row)), samples, value, held_out))
    return [[c for c in clips if c.held_out == part] for part in (False, True)] if split else [clips]


def by_class(name: str, path: Path, found: Sequence[Sequence[Clip]], values: Sequence[str], leave_out: Sequence[str],
             min_train: int) -> list[str]:  # fmt: skip
    """The classes to tell apart."""
    num_train, unseen = defaultdict[str, int](int), set[str]()
    for clip in found[0]:
        num_train[clip.label] += 1
    for clip in (clip for part in found[1:] for clip in part):
        if clip.label not in num_train and clip.label not in leave_out and (not values or clip.label in values):
            unseen.add(clip.label)
    if unseen and not min_train:
        raise ManifestError(f"{path}: probe {name}: no clip to train on of {', '.join(sorted(unseen))}, "
                            f"which held-out clips have; leave such classes out, or set min_train")  # fmt: skip
    classes = sorted(
        value
        for value, number in num_train.items()
        if number >= min_train and value not in leave_out and (not values or value in values)
    )
    if len(classes) < 2:
        fewest = f" with {min_train} clips" if min_train else ""
        raise ManifestError(f"{path}: probe {name}: fewer than two classes{fewest}, got {', '.join(classes) or 'none'}")
    return classes


def check(name: str, path: Path, clips: Sequence[Clip]) -> None:
    """There are clips to train on and held-out ones, and none is both."""
    train, held_out = ({clip.file for clip in clips if clip.held_out == part} for part in (False, True))
    if not train or not held_out:
        raise ManifestError(f"{path}: probe {name}: no clips {'held out' if train else 'to train on'}")
    if both := sorted(train & held_out):
        raise ManifestError(f"{path}: probe {name}: {len(both)} clips are trained on and held out, such as {both[0]}")


def utterances(name: str, corpus: File, column: str, where: Mapping[str, str], *, values: Sequence[str] = (),
               leave_out: Sequence[str] = (), min_train: int = 1, max_train: int = 60, max_held_out: int = 15,
               ) -> Task:  # fmt: skip
    """Classes of whole clips of a prepared corpus: train.tsv is trained on, dev.tsv and test.tsv are held out."""
    train, *others = (Path(corpus) / f"{split}.tsv" for split in ("train", "dev", "test"))
    return labelled(name, train, others, column=column, where=where, values=values, leave_out=leave_out,
                    min_train=min_train, max_train=max_train, max_held_out=max_held_out)  # fmt: skip


def phones(name: str, corpus: File, source: str) -> Task:
    """Phones of frames of one source, from what `prepare phones` left in phones.tsv."""
    path = Path(corpus) / "phones.tsv"
    if not path.exists():
        raise ManifestError(f"{path}: is missing; `python -m lighthubert.prepare phones` makes it")
    return labelled(name, path, column="phones", kind="frames", split="split", where={"source": source})


def texts(name: str, corpus: File, where: Mapping[str, str]) -> Task:
    """Transcripts of a prepared corpus, the splits as above."""
    train, *others = (Path(corpus) / f"{split}.tsv" for split in ("train", "dev", "test"))
    return labelled(name, train, others, column="transcript", kind="text", where=where)


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
    "text": lambda corpus: texts("text", corpus, {"source": "asterisk", "language": "en"}),
}  # fmt: skip


def load_task(name: str, corpus: File) -> Task:
    """A named probe on a prepared Debian corpus; ValueError for another name, ManifestError for a missing corpus."""
    if name not in TASKS:
        raise ValueError(f"probe: must be one of {', '.join(TASKS)}, got {name!r}")
    return TASKS[name](Path(corpus))
