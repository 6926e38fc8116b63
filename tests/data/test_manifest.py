"""Manifests: both forms, what they keep, and what is said about wrong ones."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lighthubert.data import Manifest, ManifestError, write_manifest
from lighthubert.data.manifest import listed_path


def test_columns_and_order_are_kept(tmp_path: Path) -> None:
    text = 'label\tsamples\tpath\ttranscript\r\n3\t16000\ta/b c.wav\tsay "it\u2028\'s"\r\n\t8000\td.flac\t\r\n\r\n'
    (tmp_path / "m.tsv").write_bytes(b"\xef\xbb\xbf" + text.encode())
    manifest = Manifest.read(str(tmp_path / "m.tsv"))
    assert manifest.files == ["a/b c.wav", "d.flac"]
    assert manifest.samples.tolist() == [16000, 8000]
    assert manifest.columns == {"label": ["3", ""], "transcript": ['say "it\u2028\'s"', ""]}
    assert manifest.root == tmp_path
    assert manifest.file_path(0) == str(tmp_path / "a" / "b c.wav")
    assert (len(manifest), manifest.seconds) == (2, 1.5)


@pytest.mark.parametrize("is_absolute", [True, False])
def test_fairseq_form(tmp_path: Path, is_absolute: bool) -> None:
    (tmp_path / "audio").mkdir()
    (tmp_path / "m.tsv").write_text(f"{tmp_path / 'audio' if is_absolute else 'audio'}\nx.flac\t32000\n")
    manifest = Manifest.read(tmp_path / "m.tsv")
    assert manifest.file_path(0) == str(tmp_path / "audio" / "x.flac")
    assert manifest.samples.tolist() == [32000]
    assert manifest.columns == {}


def test_written_and_read_again(tmp_path: Path) -> None:
    rows = [{"path": "ä.wav", "samples": 5, "speaker": '"q', "unused": 1}, {"path": "b", "samples": 7, "speaker": ""}]
    write_manifest(tmp_path / "new" / "m.tsv", ["path", "samples", "speaker"], rows)
    manifest = Manifest.read(tmp_path / "new" / "m.tsv")
    assert (manifest.files, manifest.samples.tolist()) == (["ä.wav", "b"], [5, 7])
    assert manifest.columns == {"speaker": ['"q', ""]}
    assert os.listdir(tmp_path / "new") == ["m.tsv"]
    with pytest.raises(ManifestError, match=r"'a\\tb' holds a tab, a line break or no UTF-8"):
        write_manifest(tmp_path / "m.tsv", ["path"], [{"path": "a\tb"}])
    assert not (tmp_path / "m.tsv").exists()


def test_digest_is_of_clips_and_lengths(tmp_path: Path) -> None:
    def digest(name: str, text: str) -> str:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
        return Manifest.read(tmp_path / name).digest

    first = digest("a/m.tsv", "path\tsamples\tlabel\nx\t5\ty\nz\t6\ty\n")
    assert digest("b/n.tsv", "samples\tpath\n5\tx\n6\tz\n") == first
    others = {digest("m.tsv", f"path\tsamples\n{rows}") for rows in ("x\t5\nz\t7\n", "x\t5\ny\t6\n", "z\t6\nx\t5\n")}
    assert len(others - {first}) == 3


def test_files_elsewhere_are_listed_whole(tmp_path: Path) -> None:
    assert listed_path(tmp_path / "a" / "x.wav", tmp_path / "m.tsv") == "a/x.wav"
    assert listed_path(tmp_path / "x.wav", tmp_path / "a" / "m.tsv") == str(tmp_path / "x.wav")


WRONG = {
    "": "{path}: the file is empty; its first line must name the columns path and samples",
    "path\tsamples\n": "{path}: no clip, only one line",
    "file\tsamples\na\t1\n": "{path}, line 1: column 'path' is missing (the columns are file, samples)",
    "file\tnum_frames\na\t1\n": "{path}, line 1: column 'path' is missing; column 'samples' is missing "
    "(the columns are file, num_frames)",
    "path\tsamples\tsamples\t\na\t1\t1\t\n": "{path}, line 1: column 'samples' stands twice; a column has no name "
    "(the columns are path, samples, samples, )",
    "no/such/folder\na\t1\n": "{path}, line 1: no header with path and samples, and no folder {root}/no/such/folder",
    "path\nb\n": "{path}, line 1: column 'samples' is missing (the columns are path)",
    "path\tsamples\na\t1\nb\nc\t2\td\n": "{path}: 2 wrong lines: "
    "line 3: 1 fields, but the header has 2; "
    "line 4: 3 fields, but the header has 2",
    "path\tsamples\na\t1.5\nb\t-3\nc\t0\n\t\n": "{path}: 5 wrong lines: "
    "line 2: samples must be a whole number above 0, not '1.5'; "
    "line 3: samples must be a whole number above 0, not '-3'; "
    "line 4: samples must be a whole number above 0, not '0'; "
    "line 5: samples must be a whole number above 0, not ''; "
    "line 5: path is empty",
    "path,samples\na,1\n": "{path}, line 1: no header with path and samples, and no folder {root}/path,samples",
}


@pytest.mark.parametrize("text", WRONG)
def test_wrong_manifests(tmp_path: Path, text: str) -> None:
    path = tmp_path / "m.tsv"
    path.write_text(text)
    with pytest.raises(ManifestError) as caught:
        Manifest.read(path)
    assert str(caught.value) == WRONG[text].format(path=path, root=tmp_path)


def test_missing_and_binary_manifests(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"/none\.tsv: No such file or directory$"):
        Manifest.read(tmp_path / "none.tsv")
    (tmp_path / "m.tsv").write_bytes(b"path\tsamples\n\xff\xfe\t1\n")
    with pytest.raises(ManifestError, match=r"/m\.tsv: not UTF-8 text \(invalid start byte at byte 13\)$"):
        Manifest.read(tmp_path / "m.tsv")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("/dev/zero", "not a regular file"),
        ("a" * 5000, "File name too long"),
        ("a\0b", "embedded null byte"),
        ("a\ud800", "surrogates not allowed"),
    ],
)
def test_what_no_manifest_can_be(name: str, reason: str) -> None:
    with pytest.raises(ManifestError, match=reason) as caught:
        Manifest.read(name)
    assert len(str(caught.value)) <= 1000


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        (f"path\tsamples\na\t{'9' * 5000}\n", "line 2: samples must be a whole number above 0"),
        ("a" * 300 + "\nx\t1\n", "line 1: no header with path and samples, and no folder"),
        ("a\0b\nx\t1\n", "line 1: no header with path and samples, and no folder"),
    ],
)
def test_values_out_of_all_bounds(tmp_path: Path, text: str, rule: str) -> None:
    (tmp_path / "m.tsv").write_text(text)
    with pytest.raises(ManifestError, match=rule) as caught:
        Manifest.read(tmp_path / "m.tsv")
    assert len(str(caught.value)) <= 1000


def test_a_long_list_of_problems_is_cut(tmp_path: Path) -> None:
    (tmp_path / "m.tsv").write_text("path\tsamples\n" + "a\tx\n" * 33)
    with pytest.raises(ManifestError) as caught:
        Manifest.read(tmp_path / "m.tsv")
    assert "m.tsv: 33 wrong lines: line 2: " in str(caught.value)
    assert str(caught.value).endswith("not 'x'; and 13 more")
    assert len(str(caught.value)) <= 1000


def test_some_of_the_clips(tmp_path: Path) -> None:
    write_manifest(tmp_path / "m.tsv", ["path", "samples", "speaker"],
                   [{"path": f"{i}.wav", "samples": 100 + i, "speaker": f"s{i}"} for i in range(4)])  # fmt: skip
    some = Manifest.read(tmp_path / "m.tsv").take([3, 1])
    assert (some.files, some.samples.tolist()) == (["3.wav", "1.wav"], [103, 101])
    assert some.columns == {"speaker": ["s3", "s1"]}
    assert some.file_path(0) == str(tmp_path / "3.wav")
