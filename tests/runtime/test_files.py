"""Files appear whole or not at all."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lighthubert.runtime.errors import StateError, UserError, one_line
from lighthubert.runtime.files import locked, open_regular, read_text, replacing, write_text


@pytest.fixture(params=[0o022, 0o027, 0o077], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def test_the_new_file_takes_the_name_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")
    with replacing(path) as part:
        part.write_text("ne")
        assert path.read_text() == "old"
        part.write_text("new")
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_the_old_file_stays_on_an_error(tmp_path: Path) -> None:
    """Of two files, neither is replaced."""
    one, two, new = (tmp_path / name for name in ("one", "two", "new"))
    one.write_text("old 1")
    two.write_text("old 2")

    def stopped_halfway() -> None:
        with replacing(one) as a, replacing(two) as b, replacing(new) as c:
            for part in (a, b, c):
                part.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped_halfway()
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"one": "old 1", "two": "old 2"}


def test_nothing_written_is_an_error(tmp_path: Path) -> None:
    write_text(tmp_path / "file", "old")
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "file"):
        pass
    assert (tmp_path / "file").read_text() == "old"


def test_two_files(tmp_path: Path) -> None:
    with replacing(tmp_path / "a") as a, replacing(tmp_path / "b") as b:
        a.write_text("1")
        b.write_text("2")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a": "1", "b": "2"}


def test_permissions_follow_the_umask(tmp_path: Path, umask: int) -> None:
    """Whatever the writer gave the file, and the file before had."""
    path = tmp_path / "file"
    path.write_text("old")
    path.chmod(0o600)
    with replacing(path) as part:
        part.touch(0o600)
    assert path.stat().st_mode & 0o777 == 0o666 & ~umask
    assert os.umask(umask) == umask


def test_who_holds_a_folder_clears_what_a_killed_process_left(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    left = tmp_path / "sub/.model.pt.123.part"
    left.write_text("half")
    with locked(tmp_path), locked(tmp_path):  # again by the same process
        assert not left.exists()


def test_a_folder_has_one_holder(tmp_path: Path) -> None:
    """Another process holds it until its stdin ends."""
    hold = "import filelock, sys\nwith filelock.FileLock(sys.argv[1]):\n    print('held', flush=True)\n    input()"
    words = [sys.executable, "-c", hold, str(tmp_path / ".lock")]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout
        assert other.stdout.readline() == "held\n"
        with pytest.raises(StateError, match="another process trains in this folder"), locked(tmp_path, seconds=0.1):
            pass
        other.communicate("\n")
    with locked(tmp_path, seconds=-1):
        pass


def content(path: Path, most: int | None, meanwhile: Callable[[], object] = lambda: None) -> bytes:
    with open_regular(path, UserError, most) as file:
        meanwhile()
        return file.read()


@pytest.mark.skipif(os.name != "posix", reason="pipes and devices with names")
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("pipe", "not a regular file"),
        ("/dev/zero", "not a regular file"),
        (".", "Is a directory"),
        ("gone", "No such file or directory"),
        ("a" * 300, "File name too long"),
        ("a/" * 2500, "File name too long"),
        ("a\0b", "embedded null byte"),
        ("\ud800", "surrogates not allowed"),
        ("/proc/self/mem", "Input/output error"),
        ("long", "11 bytes; such a file has 10 at most"),
    ],
    ids=range(10),
)
def test_what_is_no_regular_file_is_refused_at_once(tmp_path: Path, name: str, reason: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "long").write_text("x" * 11)
    with pytest.raises(UserError, match=reason) as caught:
        content(tmp_path / name, 10)
    assert len(str(caught.value)) <= 1000
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("change", ["cut", "grown", "rewritten"])
def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path, change: str) -> None:
    path = tmp_path / "file"
    path.write_text("old")
    os.utime(path, (1, 1))
    new = {"cut": "", "grown": "longer", "rewritten": "new"}[change]
    with pytest.raises(UserError, match="file: was written to while it was read"):
        content(path, None, lambda: path.write_text(new))


def test_text_is_utf_8_with_or_without_a_mark(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for content in (b"\xc3\xa4", b"\xef\xbb\xbf\xc3\xa4"):
        path.write_bytes(content)
        assert read_text(path, UserError) == "\u00e4"
    path.write_bytes(b"ab\xff")
    with pytest.raises(UserError, match=r"file: not UTF-8 text \(invalid start byte at byte 2\)"):
        read_text(path, UserError)


def test_a_message_is_one_line_that_a_terminal_may_print() -> None:
    assert str(UserError("a.pt: \x1b[2Jkey\r\n\u202e\ud800 \u00e4")) == r"a.pt: \x1b[2Jkey\r\n\u202e\ud800 " + "\u00e4"
    for text in ("k" * 10**7, "\x1b" * 10**7, "\U000e0001" * 999):
        message = one_line(f"a.pt: {text} is the rule")
        assert message.startswith("a.pt: ")
        assert message.endswith(" is the rule")
        assert len(message) <= 1000
        assert message.isprintable()
