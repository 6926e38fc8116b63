"""Phone pseudo-labels against what the transcripts sound like, by a grapheme-to-phoneme model."""

from pathlib import Path

import hama
import pytest
from tiny import HUBERT

from lighthubert.data import MINI, Manifest, write_manifest
from lighthubert.models import num_frames
from lighthubert.prepare.__main__ import main

COLUMNS = ["path", "samples", "transcript", "language", "source"]


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Manifest, list[str]]:
    """Twelve clips of the embedded corpus, four in each split, with their transcripts."""
    folder = tmp_path_factory.mktemp("corpus")
    clips = Manifest.read(MINI / "train.tsv")
    rows = [
        {"path": clips.file_path(i), "samples": clips.samples[i], "transcript": clips.columns["transcript"][i],
         "language": "en", "source": "asterisk"}
        for i in range(len(clips))
        if clips.columns["language"][i] == "en" and clips.samples[i] > 32000
    ][:12]  # fmt: skip
    other = [rows[0] | {"language": "fr"}, rows[1] | {"transcript": ""}, rows[2] | {"samples": 9999}]
    for i, split in enumerate(("train", "dev", "test")):
        write_manifest(folder / f"{split}.tsv", COLUMNS, rows[i::3] + other)
    assert main(["phones", "--corpus", str(folder), "--out", str(folder / "phones.tsv"), "--only", "asterisk"]) == 0
    transcripts = {row["path"]: str(row["transcript"]) for row in rows}
    manifest = Manifest.read(folder / "phones.tsv")
    return manifest, [transcripts[file] for file in manifest.files]


def distance(a: str, b: str) -> int:
    """Levenshtein's, in letters of the phonetic alphabet."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        row, last = [i], row
        for j, y in enumerate(b, 1):
            row.append(min(row[-1] + 1, last[j] + 1, last[j - 1] + (x != y)))
    return row[-1]


def test_phones_are_those_of_the_transcripts(labelled: tuple[Manifest, list[str]]) -> None:
    manifest, transcripts = labelled
    assert len(manifest) == 12
    assert manifest.columns["split"] == ["train"] * 4 + ["dev"] * 4 + ["test"] * 4
    spoken = hama.G2PModel()
    expected = [spoken.predict(text).ipa.replace(" ", "") for text in transcripts]
    heard = ["".join(item.split(":", 1)[1] for item in phones.split()) for phones in manifest.columns["phones"]]
    own = sum(distance(a, b) for a, b in zip(heard, expected, strict=True))
    shuffled = sum(distance(a, b) for a, b in zip(heard, expected[1:] + expected[:1], strict=True))
    assert own < 0.4 * shuffled, (own, shuffled)


def test_phones_stand_in_their_frames(labelled: tuple[Manifest, list[str]]) -> None:
    manifest, _ = labelled
    for samples, phones in zip(manifest.samples.tolist(), manifest.columns["phones"], strict=True):
        frames = [int(item.split(":")[0]) for item in phones.split()]
        assert frames == sorted(set(frames))
        assert 0 <= frames[0] <= frames[-1] <= num_frames(samples, HUBERT)


def test_what_is_missing_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["phones", "--corpus", str(tmp_path), "--out", str(tmp_path / "phones.tsv")]) == 2
    assert "train.tsv: No such file" in capsys.readouterr().err
    for split in ("train", "dev", "test"):
        write_manifest(tmp_path / f"{split}.tsv", COLUMNS,
                       [dict.fromkeys(COLUMNS, "a.flac") | {"samples": 16000, "language": "fr"}])  # fmt: skip
    assert main(["phones", "--corpus", str(tmp_path), "--out", str(tmp_path / "phones.tsv")]) == 2
    assert "no English clip with a transcript of asterisk, queen" in capsys.readouterr().err
