"""Probes: which clips and labels they choose from a corpus, and phones of frames by brute force."""

from pathlib import Path

import numpy as np
import pytest
from tiny import HUBERT

from lighthubert.data import ManifestError, write_manifest
from lighthubert.probes import load_probe, phones, utterances
from lighthubert.probes.clips import SILENCE, frame_labels

COLUMNS = ["path", "samples", "speaker", "source"]


def write_split(folder: Path, split: str, clips: dict[str, int], samples: int = 16000) -> None:
    rows = [
        {"path": f"{split}/{speaker}{i}.flac", "samples": samples, "speaker": speaker, "source": "game"}
        for speaker, n in clips.items()
        for i in range(n)
    ]
    rows += [{"path": f"{split}/other.flac", "samples": 16000, "speaker": "ann", "source": "phone"},
             {"path": f"{split}/short.flac", "samples": 6399, "speaker": "ann", "source": "game"},
             {"path": f"{split}/nobody.flac", "samples": 16000, "speaker": "", "source": "game"}]  # fmt: skip
    write_manifest(folder / f"{split}.tsv", COLUMNS, rows)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    write_split(tmp_path, "train", {"ann": 9, "bob": 4, "cut": 9, "rare": 1})
    write_split(tmp_path, "dev", {"ann": 3, "bob": 1, "new": 5})
    write_split(tmp_path, "test", {"ann": 1, "cut": 9})
    return tmp_path


def chosen(corpus: Path, **settings: object) -> dict[tuple[str, bool], int]:
    probe = utterances("who", corpus, "speaker", {"source": "game"}, **settings)  # type: ignore[arg-type]
    keys = [(clip.label, clip.held_out) for clip in probe.clips]
    assert all(clip.held_out == (Path(clip.file).parent.name != "train") for clip in probe.clips)
    assert len({clip.file for clip in probe.clips}) == len(probe.clips)
    return {key: keys.count(key) for key in keys}


def test_classes_are_those_of_the_training_clips(corpus: Path) -> None:
    assert chosen(corpus) == {
        ("ann", False): 9, ("bob", False): 4, ("cut", False): 9, ("rare", False): 1,
        ("ann", True): 4, ("bob", True): 1, ("cut", True): 9,
    }  # fmt: skip


def test_rare_and_left_out_classes_are_missing_and_common_ones_are_thinned(corpus: Path) -> None:
    found = chosen(corpus, min_train=2, leave_out=("cut",), max_train=6, max_held_out=2)
    assert found == {("ann", False): 6, ("bob", False): 4, ("ann", True): 3, ("bob", True): 1}
    assert chosen(corpus, values=("bob", "cut"), max_held_out=1) == {
        ("bob", False): 4, ("cut", False): 9, ("bob", True): 1, ("cut", True): 1,
    }  # fmt: skip


def test_the_same_clips_are_drawn_each_time(corpus: Path) -> None:
    probes = [utterances("who", corpus, "speaker", {"source": "game"}, max_train=3) for _ in range(2)]
    assert probes[0].clips == probes[1].clips


@pytest.mark.parametrize("seed", range(5))
def test_a_frame_belongs_to_the_nearest_phone(seed: int) -> None:
    rng = np.random.default_rng(seed)
    frames = int(rng.integers(1, 90))
    starts = np.sort(rng.choice(frames, size=min(frames, 6), replace=False)).tolist()
    labels = frame_labels(" ".join(f"{t}:p{t}" for t in starts), frames, HUBERT)
    for frame in range(frames):
        away, nearest = min((abs(frame - t), t) for t in starts)
        assert labels[frame] == (f"p{nearest}" if away <= 4 else SILENCE)


def test_phones_hold_colons_and_a_clip_may_have_none() -> None:
    assert frame_labels("0:aː", 2, HUBERT).tolist() == ["aː", "aː"]
    assert frame_labels("", 2, HUBERT).tolist() == [SILENCE, SILENCE]


def test_phones_of_one_source(tmp_path: Path) -> None:
    rows = [
        {"path": f"{i}.flac", "samples": 16000, "source": source, "split": split, "phones": "3:a"}
        for i, (source, split) in enumerate([("desk", "train"), ("desk", "dev"), ("game", "train"), ("desk", "test")])
    ]
    write_manifest(tmp_path / "phones.tsv", ["path", "samples", "source", "split", "phones"], rows)
    probe = phones("phones", tmp_path, "desk")
    assert [Path(clip.file).name for clip in probe.clips] == ["0.flac", "1.flac", "3.flac"]
    assert [clip.held_out for clip in probe.clips] == [False, True, True]
    assert probe.labels(0, 9, HUBERT).tolist() == ["a"] * 8 + [SILENCE]
    with pytest.raises(ManifestError, match=r"phones\.tsv: probe phones: no clips held out"):
        phones("phones", tmp_path, "game")


def test_what_is_wrong_is_named(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="must be one of characters, intents, phones, phones_narrow, text, got 'x'"):
        load_probe("x", corpus)
    with pytest.raises(ManifestError, match=r"train\.tsv: no column intent \(there are speaker, source\)"):
        load_probe("intents", corpus)
    with pytest.raises(ManifestError, match=r"phones\.tsv: is missing; `lighthubert prepare phones`"):
        load_probe("phones", corpus)
    with pytest.raises(ManifestError, match=r"train\.tsv: probe who: fewer than two classes with 9 clips"):
        utterances("who", corpus, "speaker", {"source": "game"}, min_train=9, leave_out=("cut",))
    with pytest.raises(ManifestError, match=r"absent.train\.tsv: No such file"):
        load_probe("characters", tmp_path / "absent")
