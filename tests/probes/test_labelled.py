"""Probes on any manifests: one with a split column, several, relative paths; what is wrong with them is named."""

import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from lighthubert.data import MINI, BadDataError, Manifest, ManifestError, write_manifest
from lighthubert.probes import make_probe, mfcc_frames, run_probe

COLUMNS = ["path", "samples", "animal", "fold", "said"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Tones of two heights, a.tsv of both folds and train.tsv, held_out.tsv of one each, in folders of their own."""
    rows = []
    for i in range(24):
        animal, fold = ("cow", "mouse")[i % 2], "test" if i % 3 == 0 else "train"
        file = tmp_path / f"audio/{i}.wav"
        file.parent.mkdir(exist_ok=True)
        pitch = 150 + 10 * (i // 2) if animal == "cow" else 2000 + 30 * i
        noise = np.random.default_rng(i).normal(size=16000) * 0.01
        soundfile.write(file, 0.3 * np.sin(2 * np.pi * pitch * np.arange(16000) / 16000) + noise, 16000)
        said = "moo" if animal == "cow" else "squeak"
        rows.append({"path": f"audio/{i}.wav", "samples": 16000, "animal": animal, "fold": fold, "said": said})
    write_manifest(tmp_path / "all.tsv", COLUMNS, rows)
    for fold in ("train", "test"):
        part = [row | {"path": f"../{row['path']}"} for row in rows if row["fold"] == fold]
        (tmp_path / fold).mkdir()
        write_manifest(tmp_path / fold / "list.tsv", COLUMNS, part)
    return tmp_path


def test_manifests_of_two_folders_and_a_split_column_are_one_task(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    one = make_probe("animals", "all.tsv", split="fold", column="animal")
    two = make_probe("animals", "train/list.tsv", "test/list.tsv", column="animal")
    monkeypatch.chdir("/")  # relative paths were those of then
    clips = [{(str(Path(c.file).resolve()), c.label, c.held_out) for c in probe.clips} for probe in (one, two)]
    assert clips[0] == clips[1]
    assert Counter((label, held_out) for _, label, held_out in clips[0]) == {
        ("cow", False): 8, ("mouse", False): 8, ("cow", True): 4, ("mouse", True): 4,
    }  # fmt: skip
    assert run_probe(one, mfcc_frames).mean == run_probe(two, mfcc_frames).mean == 1.0


def test_columns_of_the_embedded_corpus() -> None:
    """Languages are easy for means of MFCC; most of the held-out clips' own language is one in five."""
    probe = make_probe("languages", MINI / "train.tsv", MINI / "valid.tsv", column="language", max_train=30)
    valid = Manifest.read(MINI / "valid.tsv")
    assert Counter(c.label for c in probe.clips if c.held_out) == Counter(valid.columns["language"])
    assert max(Counter(c.label for c in probe.clips if not c.held_out).values()) <= 30
    majority = max(Counter(valid.columns["language"]).values()) / len(valid)
    assert run_probe(probe, mfcc_frames, seeds=(1,)).mean > majority + 0.2


def test_texts_are_drawn_of_all_clips_and_must_fit(folder: Path) -> None:
    few = {"max_train": 5, "max_held_out": 3}
    probe = make_probe("said", folder / "all.tsv", split="fold", column="said", kind="text", **few)  # type: ignore[arg-type]
    assert Counter(clip.held_out for clip in probe.clips) == {False: 5, True: 3}
    said = [(16000, "train", "a b"), (16000, "dev", "c"), (240001, "train", "d"), (240000, "train", "e"),
            (6399, "train", "f"), (16000, "dev", " ")]  # fmt: skip
    rows = [
        {"path": f"{i}.wav", "samples": samples, "animal": "", "fold": fold, "said": text}
        for i, (samples, fold, text) in enumerate(said)
    ]
    write_manifest(folder / "b.tsv", COLUMNS, rows)
    probe = make_probe("said", folder / "b.tsv", split="fold", column="said", kind="text")
    assert [clip.label for clip in probe.clips] == ["a b", "e", "c"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"column": "colour"}, "all.tsv: no column colour (there are animal, fold, said)"),
        ({"split": "set"}, "all.tsv: no column set (there are"),
        ({"where": {"farm": "1"}}, "all.tsv: no column farm (there are"),
        ({"where": {"animal": "cow"}}, "all.tsv: probe x: fewer than two classes, got cow"),
        ({"min_train": 9}, "all.tsv: probe x: fewer than two classes with 9 clips, got none"),
        ({"values": ("cow", "dog")}, "all.tsv: probe x: fewer than two classes, got cow"),
        ({"where": {"fold": "train"}}, "all.tsv: probe x: no clips held out"),
        ({"where": {"fold": "test"}, "kind": "text"}, "all.tsv: probe x: no clips to train on"),
        ({"kind": "words"}, "probe x: kind: must be one of classes, frames, text, got 'words'"),
        ({"split": None}, "probe x: give either held-out manifests or the name of a split column"),
        ({"held_out": "test/list.tsv"}, "probe x: give either held-out manifests or the name of a split column"),
        ({"split": None, "held_out": "b.tsv"}, "b.tsv: No such file or directory"),
        ({"split": None, "held_out": "all.tsv"}, "all.tsv: probe x: 24 clips are trained on and held out, such as "),
    ],
)
def test_what_is_wrong_is_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], message: str
) -> None:
    monkeypatch.chdir(folder)
    with pytest.raises(ValueError, match="^" + re.escape(message)):
        make_probe("x", **({"train": "all.tsv", "column": "animal", "split": "fold"} | settings))


def test_a_class_of_held_out_clips_alone_is_an_error_unless_it_is_left_out(folder: Path) -> None:
    text = (folder / "test/list.tsv").read_text().replace("\tcow\t", "\tbull\t", 1)
    (folder / "test/list.tsv").write_text(text)
    files = (folder / "train/list.tsv", [folder / "test/list.tsv"])
    with pytest.raises(ManifestError, match=r"list\.tsv: probe x: no clip to train on of bull, which held-out clips"):
        make_probe("x", *files, column="animal")
    probes = [make_probe("x", *files, column="animal", **settings)  # type: ignore[arg-type]
             for settings in ({"leave_out": ["bull"]}, {"min_train": 1}, {"values": ["cow", "mouse"]})]  # fmt: skip
    assert [len(probe.clips) for probe in probes] == [23, 23, 23]


def test_fairseq_manifests_have_nothing_to_tell(folder: Path) -> None:
    (folder / "fairseq.tsv").write_text(f"{folder}\naudio/0.wav\t16000\n")
    with pytest.raises(ManifestError, match=r"no column animal, fold \(there are none beside"):
        make_probe("x", folder / "fairseq.tsv", split="fold", column="animal")


def test_missing_audio_is_named(folder: Path) -> None:
    probe = make_probe("animals", folder / "all.tsv", split="fold", column="animal")
    for i in range(4):
        (folder / f"audio/{i}.wav").unlink()
    with pytest.raises(BadDataError, match=r"all\.tsv: 4 of the first 24 clips cannot be used") as error:
        run_probe(probe, mfcc_frames)
    assert "audio/1.wav: No such file or directory" in str(error.value)
