"""What probes tell apart: labelled clips of manifests, with a label for a clip or for each of its frames, or a text."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lighthubert.data import SAMPLE_RATE, Manifest, ManifestError
from lighthubert.models import HubertConfig, frame_middles, receptive_field
from lighthubert.tasks.labels import labelled_rows

KINDS = ("classes", "frames", "text")
SILENCE = "-"
HUBERT = HubertConfig()  # in its frames stand recognised phones
REACH = 4  # frames from a recognised phone that are still its own; further ones are silence
SHORTEST, LONGEST = 0.4, 15.0  # seconds: too short to judge; longer clips would be cut and their texts not

File = str | os.PathLike[str]


class LabelledClip(NamedTuple):
    file: str  # absolute
    samples: int
    label: str  # of the clip, its text, or its phones: "7:eɪ 15:d͡ʒ", each with the frame in which it was recognised
    held_out: bool


@dataclass(frozen=True)
class Probe:
    """Labelled clips, some of them held out. kind: labels are classes of clips, phones of frames, or texts."""

    name: str
    source: Path  # what messages name
    clips: Sequence[LabelledClip]
    kind: str = "classes"

    @property
    def manifest(self) -> Manifest:
        samples = np.array([clip.samples for clip in self.clips], dtype=np.int64)
        return Manifest(self.source, Path(), [clip.file for clip in self.clips], samples)

    def labels(self, row: int, frames: int, net: HubertConfig) -> np.ndarray:
        """Of a clip: one label, or one of each of so many frames of a net (frames,)."""
        label = self.clips[row].label
        return frame_labels(label, frames, net) if self.kind == "frames" else np.array([label])

    def take(self, num_train: int | None, num_held_out: int | None) -> Probe:
        """The same probe on so many of its clips, drawn the same way each time; on all of them for None."""
        rng, kept = np.random.default_rng(0), list[int]()
        for held_out, number in {False: num_train, True: num_held_out}.items():
            rows = [row for row, clip in enumerate(self.clips) if clip.held_out == held_out]
            kept += rng.permutation(rows)[:number].tolist()
        return replace(self, clips=[self.clips[row] for row in sorted(kept)])


def make_probe(name: str, train: File, held_out: File | Sequence[File] = (), *, column: str, kind: str = "classes",
             split: str | None = None, where: Mapping[str, str] | None = None, values: Sequence[str] = (),
             leave_out: Sequence[str] = (), min_train: int = 0, max_train: int | None = None,
             max_held_out: int | None = None) -> Probe:  # fmt: skip
    """A probe on any manifests.

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
    parts = [
        part
        for i, file in enumerate((train, *others))
        for part in read_parts(Path(file), column, kind, split, where or {}, i > 0)
    ]
    wanted = by_class(name, Path(train), parts, values, leave_out, min_train) if kind == "classes" else None
    rng, chosen = np.random.default_rng(0), list[LabelledClip]()
    for part in parts:
        at_most = max_held_out if part and part[0].held_out else max_train
        groups = [[c for c in part if c.label == value] for value in wanted] if wanted else [part]
        for clips in groups:
            chosen += [clips[i] for i in sorted(rng.permutation(len(clips))[:at_most])]
    check(name, Path(train), chosen)
    return Probe(name, Path(train), chosen, kind)


def read_parts(path: Path, column: str, kind: str, split: str | None, where: Mapping[str, str],
               held_out: bool) -> list[list[LabelledClip]]:  # fmt: skip
    """The clips of a manifest that fit: those to train on, and those held out."""
    manifest = Manifest.read(path)
    others = [split] if split else []
    parts: list[list[LabelledClip]] = [[], []]
    longest = LONGEST if kind == "text" else np.inf
    for row in labelled_rows(manifest, column, where, *others, empty=kind == "frames"):  # no phones: silence
        samples = int(manifest.samples[row])
        if SHORTEST <= samples / SAMPLE_RATE <= longest:
            held = manifest.columns[split][row] != "train" if split else held_out
            file, label = os.path.abspath(manifest.file_path(row)), manifest.columns[column][row]
            parts[held].append(LabelledClip(file, samples, label, held))
    return parts


def by_class(name: str, path: Path, parts: Sequence[Sequence[LabelledClip]], values: Sequence[str],
             leave_out: Sequence[str], min_train: int) -> list[str]:  # fmt: skip
    """The classes to tell apart; parts: the clips to train on, then all others."""
    number, *others = (Counter(clip.label for clip in part) for part in parts)
    labels = {label for counts in (number, *others) for label in counts if label not in leave_out}
    wanted = labels.intersection(values) if values else labels
    if (unseen := wanted - number.keys()) and not min_train:
        raise ManifestError(f"{path}: probe {name}: no clip to train on of {', '.join(sorted(unseen))}, "
                            f"which held-out clips have; leave such classes out, or set min_train")  # fmt: skip
    classes = sorted(label for label in wanted if number[label] >= min_train)
    if len(classes) < 2:
        fewest = f" with {min_train} clips" if min_train else ""
        raise ManifestError(f"{path}: probe {name}: fewer than two classes{fewest}, got {', '.join(classes) or 'none'}")
    return classes


def check(name: str, path: Path, clips: Sequence[LabelledClip]) -> None:
    """There are clips to train on and held-out ones, and none is both."""
    train, held_out = ({clip.file for clip in clips if clip.held_out == part} for part in (False, True))
    if not train or not held_out:
        raise ManifestError(f"{path}: probe {name}: no clips {'held out' if train else 'to train on'}")
    if both := sorted(train & held_out):
        raise ManifestError(f"{path}: probe {name}: {len(both)} clips are trained on and held out, such as {both[0]}")


def splits(corpus: File) -> tuple[Path, list[Path]]:
    """Of a prepared corpus, train.tsv is trained on; dev.tsv and test.tsv are held out."""
    return Path(corpus) / "train.tsv", [Path(corpus) / "dev.tsv", Path(corpus) / "test.tsv"]


def utterances(name: str, corpus: File, column: str, where: Mapping[str, str], **settings: Any) -> Probe:
    """Classes of whole clips of a prepared corpus, with fewer clips than `make_probe` takes unless told otherwise."""
    few = {"min_train": 1, "max_train": 60, "max_held_out": 15}
    return make_probe(name, *splits(corpus), column=column, where=where, **{**few, **settings})


def phones(name: str, corpus: File, source: str) -> Probe:
    """Phones of frames of one source, from what `prepare phones` left in phones.tsv."""
    path = Path(corpus) / "phones.tsv"
    if not path.exists():
        raise ManifestError(f"{path}: is missing; `lighthubert prepare phones` makes it")
    return make_probe(name, path, column="phones", kind="frames", split="split", where={"source": source})


def frame_labels(spikes: str, frames: int, net: HubertConfig) -> np.ndarray:
    """(frames,) for each frame of a net the phone whose recognition is nearest, at most REACH frames of 20 ms away; the
    earlier one of two as near."""
    places = ((frame_middles(net, frames) - receptive_field(HUBERT) / 2) / HUBERT.hop).numpy()
    labels, distance = np.full(frames, SILENCE, dtype=object), np.full(frames, REACH + 0.5)
    for item in spikes.split():
        start, phone = item.split(":", 1)
        away = np.abs(places - int(start))
        nearer = away < distance
        labels[nearer], distance[nearer] = phone, away[nearer]
    return labels


PROBES: dict[str, Callable[[Path], Probe]] = {  # of the Debian corpus; those that MFCC means solve are no evidence
    "characters": lambda corpus: utterances(
        "characters", corpus, "speaker", {"source": "queen"}, min_train=50, leave_out=("queen-cutscene", "queen-other")
    ),
    "intents": lambda corpus: utterances(
        "intents", corpus, "intent", {"source": "asterisk"}, values=("vm", "digits", "conf", "letters"),
        max_train=250, max_held_out=60,
    ),
    "phones": lambda corpus: phones("phones", corpus, "asterisk"),
    "phones_narrow": lambda corpus: phones("phones_narrow", corpus, "queen"),
    "text": lambda corpus: make_probe(
        "text", *splits(corpus), column="transcript", kind="text", where={"source": "asterisk", "language": "en"}
    ),
}  # fmt: skip


def load_probe(name: str, corpus: File) -> Probe:
    """A named probe on a prepared Debian corpus; ValueError for another name, ManifestError for a missing corpus."""
    if name not in PROBES:
        raise ValueError(f"probe: must be one of {', '.join(PROBES)}, got {name!r}")
    return PROBES[name](Path(corpus))
