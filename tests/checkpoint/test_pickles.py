"""Files of torch.save: hostile ones run nothing and are refused by the name of what they ask for."""

import argparse
import collections
import logging
import os
import pickle
import tarfile
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch

from lighthubert.checkpoint import CheckpointError, load
from lighthubert.checkpoint.pickles import plain, read_pickle


class Call:
    """Pickles as a call of a function."""

    def __init__(self, function: Any, *args: Any) -> None:
        self.call = function, args

    def __reduce__(self) -> Any:
        return self.call


def proof(path: Path) -> str:
    return f"touch {path}"


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("where", ["alone", "in cfg", "in the weights"])
def test_a_call_is_refused_by_name_and_not_made(tmp_path: Path, zipped: bool, where: str) -> None:
    call = Call(os.system, proof(tmp_path / "ran"))
    weights = {"mask_emb": torch.zeros(2)}
    content = {
        "alone": call,
        "in cfg": {"cfg": {"model": call}, "model": weights},
        "in the weights": {"model": {**weights, "encoder": call}},
    }[where]
    torch.save(content, tmp_path / "net.pt", _use_new_zipfile_serialization=zipped)
    with pytest.raises(CheckpointError, match=r"net\.pt: refused: it asks for the global '(posix|nt)\.system'"):
        load(tmp_path / "net.pt")
    assert not (tmp_path / "ran").exists()
    pickle_bytes = pickle.dumps(call, 2)
    pickle.loads(pickle_bytes)  # noqa: S301  the same call, made: the test's proof is a proof
    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("function", "args", "name"),
    [
        (eval, ("1",), "eval"),
        (exec, ("",), "exec"),
        (getattr, ("", "join"), "getattr"),
        (__import__, ("os",), "__import__"),
        (torch.hub.load, ("x",), "torch.hub.load"),
        (collections.ChainMap, (), "collections.ChainMap"),
        (logging.getLogger, (), "logging.getLogger"),
    ],
)
def test_any_other_global_is_refused_by_name(tmp_path: Path, function: Any, args: Any, name: str) -> None:
    torch.save({"model": Call(function, *args)}, tmp_path / "net.pt")
    with pytest.raises(CheckpointError, match=f"asks for the global '{name}"):
        load(tmp_path / "net.pt")


def unpickled(path: Path) -> Any:
    with path.open("rb") as file:
        return read_pickle(file)


def test_allowed_names_run_nothing(tmp_path: Path) -> None:
    count = collections.defaultdict(list, a=[1])
    torch.save(
        {"args": argparse.Namespace(lr=0.1, deep=argparse.Namespace(x=[1, None])), "count": count}, tmp_path / "a"
    )
    content = unpickled(tmp_path / "a")
    assert type(content["args"]) is not argparse.Namespace
    assert plain(content) == {"args": {"lr": 0.1, "deep": {"x": [1, None]}}, "count": {"a": [1]}}
    assert content["count"].get("b") is None
    with pytest.raises(KeyError):
        content["count"]["b"]  # the factory is gone

    # Called instead of named: still nothing happens.
    torch.save([Call(argparse.Namespace), Call(list, "abc"), Call(dict)], tmp_path / "b")
    assert plain(unpickled(tmp_path / "b")) == [{}, "abc", {}]


def test_nothing_stays_allowed(tmp_path: Path) -> None:
    before = set(torch.serialization.get_safe_globals())
    torch.save({"args": argparse.Namespace()}, tmp_path / "a")
    unpickled(tmp_path / "a")
    assert set(torch.serialization.get_safe_globals()) == before
    with pytest.raises(pickle.UnpicklingError, match=r"argparse\.Namespace"):
        torch.load(tmp_path / "a", weights_only=True)


def test_torchscript_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "net.pt", "w") as archive:  # what torch recognises TorchScript by
        archive.writestr("net/constants.pkl", b"\x80\x02).")
        archive.writestr("net/data.pkl", b"\x80\x02).")
        archive.writestr("net/version", b"3\n")
    with pytest.raises(CheckpointError, match=r"net\.pt: cannot be read by torch: .*TorchScript"):
        load(tmp_path / "net.pt")


def test_other_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "text").write_text("hello " * 100)
    (tmp_path / "plain").write_bytes(pickle.dumps(Call(os.system, proof(tmp_path / "ran"))))
    with tarfile.open(tmp_path / "tar", "w") as archive:  # torch before 0.1.10; known for a way around weights_only
        archive.add(tmp_path / "text", "storages")
    for name in ("empty", "text", "plain", "tar"):
        with pytest.raises(CheckpointError, match=f"{name}: neither a safetensors file nor one that torch.save wrote"):
            load(tmp_path / name)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_a_cut_file_is_named(tmp_path: Path, zipped: bool) -> None:
    path = tmp_path / "net.pt"
    torch.save({"model": {"mask_emb": torch.zeros(1000)}}, path, _use_new_zipfile_serialization=zipped)
    whole = path.read_bytes()
    for share in (0.02, 0.1, 0.5, 0.95):
        path.write_bytes(whole[: max(int(share * len(whole)), 16)])
        with pytest.raises(CheckpointError, match=r"net\.pt: "):
            load(path)


def test_damaged_bytes_never_escape_as_another_error(tmp_path: Path) -> None:
    """Legacy files have no checksum, so damage reaches the unpickler."""
    path = tmp_path / "net.pt"
    torch.save(
        {"cfg": {"a": argparse.Namespace(b=[1.5, "x"])}, "w": torch.ones(2)}, path, _use_new_zipfile_serialization=False
    )
    whole = path.read_bytes()
    rng = torch.Generator().manual_seed(0)
    refused = 0
    for _ in range(400):
        at, value = (int(torch.randint(high, (1,), generator=rng)) for high in (len(whole) - 20, 256))
        path.write_bytes(whole[: 16 + at] + bytes([value]) + whole[17 + at :])
        try:
            unpickled(path)
        except CheckpointError:
            refused += 1
    assert 20 < refused < 400


def rezipped(path: Path, change: Callable[[str, bytes], bytes], compression: int = zipfile.ZIP_STORED) -> None:
    """The records of a file of torch.save anew, each after `change`."""
    with zipfile.ZipFile(path) as archive:
        records = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in records.items():
            archive.writestr(name, change(name, content))


def test_a_storage_longer_than_its_record_is_refused(tmp_path: Path) -> None:
    """torch, before 2.14, would take what lies behind it in memory for weights."""
    torch.save({"model": {"mask_emb": torch.ones(10**6)}}, tmp_path / "net.pt")
    rezipped(tmp_path / "net.pt", lambda name, content: content[:8] if name.endswith("data/0") else content)
    with pytest.raises(CheckpointError, match=r"net\.pt: refused: .*storage 0: 1000000 numbers are not in the file"):
        load(tmp_path / "net.pt")


def test_compressed_records_are_refused(tmp_path: Path) -> None:
    torch.save({"model": {"mask_emb": torch.zeros(10**6)}}, tmp_path / "net.pt")
    rezipped(tmp_path / "net.pt", lambda _, content: content, zipfile.ZIP_DEFLATED)
    assert (tmp_path / "net.pt").stat().st_size < 10**5
    with pytest.raises(CheckpointError, match=r"net\.pt: refused: .*its records are compressed"):
        load(tmp_path / "net.pt")


PROGRAMS = {
    b"\x80\x02}" + b")" + b"\x85" * 10**6 + b"K\x01s.": "more than 50,000 containers and calls",  # a key; its hash
    b"\x80\x02" + b"]" * 10**6 + b".": "more than 50,000 containers and calls",
    b"\x80\x02X" + (3 * 10**6).to_bytes(4, "little") + b"a" * 3 * 10**6 + b".": "more than 2,097,152 bytes",
    b"\x80\x02}(X\x03\0\0\0cfg" + b"]" * 5000 + b"a" * 4999
    + b"X\x05\0\0\0model}X\x08\0\0\0mask_embK\x01su.": "settings: nested more than 50 deep",
    b"\x80\x02K\x01r\xff\xff\xff\x7f.": "expected a state dict",  # a memo of the highest number
    b"\x80\x04\x95" + b"\xff" * 8 + b".": "",
}  # fmt: skip


@pytest.mark.parametrize("program", PROGRAMS, ids=range(len(PROGRAMS)))
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_pickles_that_are_large_when_read_are_refused(tmp_path: Path, program: bytes, zipped: bool) -> None:
    path = tmp_path / "net.pt"
    torch.save([1], path, _use_new_zipfile_serialization=zipped)
    if zipped:
        rezipped(path, lambda name, content: program if name.endswith("data.pkl") else content)
    else:
        whole, content = path.read_bytes(), pickle.dumps([1], 2)
        assert content in whole
        path.write_bytes(whole.replace(content, program))
    with pytest.raises(CheckpointError, match=rf"net\.pt: .*{PROGRAMS[program] if zipped else ''}"):
        load(path)


def test_settings_that_nobody_writes_are_refused(tmp_path: Path) -> None:
    shared: Any = []
    for _ in range(40):
        shared = [shared, shared]
    deep: Any = {}
    for _ in range(300):
        deep = {"a": deep}
    round_in_a_circle: dict[str, Any] = {}
    round_in_a_circle["a"] = round_in_a_circle
    for value in (shared, deep, round_in_a_circle, 10**400, {"lr": [10**30]}):
        torch.save({"cfg": {"model": value}, "model": {"mask_emb": torch.zeros(2)}}, tmp_path / "net.pt")
        with pytest.raises(CheckpointError, match=r"net\.pt: "):
            load(tmp_path / "net.pt")
        with (tmp_path / "net.pt").open("rb") as file, pytest.raises(ValueError, match=r"nested more than 50|64 bits"):
            plain(read_pickle(file)["cfg"])


def test_threads_load_at_the_same_time(tmp_path: Path) -> None:
    """Of files that need allowed names, and of one that needs none."""
    torch.save({"args": argparse.Namespace(a=1), "count": collections.defaultdict(int, a=1)}, tmp_path / "a")
    torch.save({"w": torch.ones(2)}, tmp_path / "b")
    with ThreadPoolExecutor(8) as pool:
        contents = list(pool.map(unpickled, [tmp_path / "a", tmp_path / "b"] * 80))
    assert all(plain(content) == {"args": {"a": 1}, "count": {"a": 1}} for content in contents[::2])
    assert type(contents[0]["count"]) is dict
