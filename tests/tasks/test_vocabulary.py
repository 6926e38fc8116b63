"""Labels from manifests to ids and back: characters, subwords, classes, and what cannot be."""

import json
import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch

from lighthubert.data import MINI, Batch, Manifest, ManifestError
from lighthubert.schema import parse
from lighthubert.tasks.config import TaskConfig
from lighthubert.tasks.labels import Labels, labelled
from lighthubert.tasks.vocabulary import Vocabulary, build_vocabulary

ENGLISH = TaskConfig(where={"language": "en"})


def english() -> list[str]:
    return labelled(Manifest.read(MINI / "train.tsv"), ENGLISH).columns["transcript"]


@pytest.mark.parametrize("tokens", ["characters", "subwords"])
def test_texts_come_back(tokens: str) -> None:
    texts = english()
    config = TaskConfig(tokens=tokens, num_subwords=90)
    vocabulary = build_vocabulary(texts, config)
    read = parse(Vocabulary, json.loads(json.dumps(asdict(vocabulary))))
    assert vocabulary == build_vocabulary(texts, config) == read
    assert vocabulary.names[0] == "<blank>"
    assert len(vocabulary) == (90 if tokens == "subwords" else len(set("".join(texts))) + 1)
    ids = vocabulary.encode(texts, "ctc")
    assert [vocabulary.text(row) for row in ids] == texts
    assert all(0 < i < len(vocabulary) for row in ids for i in row)


def test_subwords_are_shorter_than_characters() -> None:
    texts = english()
    lengths = [
        sum(map(len, build_vocabulary(texts, config).encode(texts, "ctc")))
        for config in (TaskConfig(), TaskConfig(tokens="subwords", num_subwords=90))
    ]
    assert lengths[1] < 0.7 * lengths[0]


@pytest.mark.parametrize("tokens", ["characters", "subwords"])
def test_what_was_not_in_training_is_left_out(tokens: str) -> None:
    vocabulary = build_vocabulary(["ab ba", "abba ab"], TaskConfig(tokens=tokens, num_subwords=6))
    (ids,) = vocabulary.encode(["a?b Ω ba"], "ctc")
    assert vocabulary.text(ids).replace(" ", "") == "abba"


def manifest(tmp_path: Path, *lines: str) -> Manifest:
    path = tmp_path / "m.tsv"
    path.write_text("\n".join(["path\tsamples\ttext\tkind", *lines]) + "\n")
    return Manifest.read(path)


def test_clips_that_have_a_label(tmp_path: Path) -> None:
    clips = manifest(tmp_path, "a\t900\tx y\tgood", "b\t100\t \tgood", "c\t100\tz\tbad", "d\t100\tw\tgood")
    config: dict[str, Any] = {"column": "text", "where": {"kind": "good"}}
    assert labelled(clips, TaskConfig(**config)).files == ["a", "d"]
    assert labelled(clips, TaskConfig(**config), max_samples=500).files == ["d"]
    assert labelled(clips, TaskConfig(kind="classify", **config), max_samples=500).files == ["a", "d"]


def test_tables_of_labels(tmp_path: Path) -> None:
    clips = manifest(tmp_path, "a\t900\tab\tgood", "b\t100\tb  a b\tgood", "c\t100\tq\tbad")
    batch = Batch(torch.zeros(3, 900), torch.tensor([900, 100, 100]), (1, 0, 2), (0, 0, 0), 1)
    config = TaskConfig(column="text")
    labels = Labels(clips, config, Vocabulary(("<blank>", "a", "b", "▁")))
    assert labels.of(batch).tolist() == [[2, 3, 1, 3, 2], [1, 2, -1, -1, -1], [-1] * 5]
    assert labels.texts == ["ab", "b a b", "q"]
    config = TaskConfig(kind="classify", column="kind")
    assert Labels(clips, config, Vocabulary(("good", "poor"))).of(batch).tolist() == [[0], [0], [-1]]


def test_labels_that_cannot_be_spelt_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Capitals, say, that training did not have; whether a letter is one character or two makes no difference."""
    clips = manifest(tmp_path, "a\t900\tHELLO\tx", "b\t900\tab\tx", "c\t900\te\u0301\tx")
    with caplog.at_level(logging.WARNING, logger="lighthubert"):
        Labels(clips, TaskConfig(column="text"), Vocabulary(("<blank>", "a", "b", "é")))
    rule = "1 of 3 labels cannot be spelt with the vocabulary, such as 'HELLO'"
    assert [record.message for record in caplog.records] == [f"{clips.path}: {rule}"]


@pytest.mark.parametrize(
    ("config", "rule"),
    [
        (TaskConfig(column="words"), "m.tsv: no column words (there are text, kind)"),
        (TaskConfig(column="text", where={"age": "4"}), "m.tsv: no column age (there are text, kind)"),
        (TaskConfig(column="text", where={"kind": "odd"}), "m.tsv: no clip with a text, kind odd"),
    ],
)
def test_nothing_to_learn_from(tmp_path: Path, config: TaskConfig, rule: str) -> None:
    with pytest.raises(ManifestError) as error:
        labelled(manifest(tmp_path, "a\t900\tab\tgood"), config)
    assert str(error.value).endswith(rule)


def test_too_long_clips_alone(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"every clip is longer than data\.max_clip_seconds"):
        labelled(manifest(tmp_path, "a\t900\tab\tgood"), TaskConfig(column="text"), max_samples=500)


@pytest.mark.parametrize(
    ("config", "texts", "rule"),
    [
        (TaskConfig(kind="classify", column="k"), ["a", "a"], "task.column: k has a single class, 'a', in the"),
        (TaskConfig(tokens="subwords"), ["ab ba"], "task.num_subwords: the training texts give 8 subwords, got 1000"),
    ],
)
def test_no_vocabulary(config: TaskConfig, texts: list[str], rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        build_vocabulary(texts, config)


def test_every_wrong_value_of_a_task_is_named() -> None:
    with pytest.raises(ValueError, match=r"kind: .*'gan'.*tokens: .*'bytes'.*num_subwords: .*got 1.*layers: .*'first'"):
        TaskConfig(kind="gan", tokens="bytes", layers="first", num_subwords=1)
