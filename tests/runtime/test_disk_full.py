"""A full disk names the file that did not fit, and leaves nothing half-written; what was there stays."""

import errno
import gc
import random
import resource
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import FEW, NET, random_hubert

from lighthubert import Hubert, load, save
from lighthubert.config import write_yaml
from lighthubert.cost import Latency
from lighthubert.data import write_manifest
from lighthubert.objectives import UnitLabels
from lighthubert.objectives.units import save_centres
from lighthubert.runtime import plots
from lighthubert.runtime.files import write_text
from lighthubert.search.record import Record
from lighthubert.train.checkpoints import PARTS, Checkpoints
from lighthubert.train.log import write_evals

LIMIT = 8192  # bytes that a file may have


@contextmanager
def full_disk() -> Iterator[None]:
    """No file of this process grows beyond LIMIT."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def write_record(path: Path) -> None:
    rng = np.random.default_rng(0)
    archs = list({FEW.sample(random.Random(seed)) for seed in range(60)})
    record = Record(FEW, lambda arch: float(rng.random()), [], path, {})
    record(archs, "random")


def write_picture(path: Path) -> None:
    figure = plots.loss_curves([{"step": i, "values": {"loss": 1.0 / (1 + i)}} for i in range(9)])
    plots.save(figure, path)


def write_checkpoint(path: Path) -> None:
    state = {key: torch.arange(LIMIT).tolist() if key == "recipe" else torch.zeros(LIMIT) for key in PARTS}
    Checkpoints(path.parent, 1).save(7, state, None)


WRITERS: dict[str, Callable[[Path], object]] = {
    "step_00000007.pt": write_checkpoint,
    "net.safetensors": lambda path: save(random_hubert(NET), path),
    "clips.tsv": lambda path: write_manifest(path, ("path", "samples"), [{"path": "x" * 99, "samples": 1}] * 99),
    "train.npz": lambda path: UnitLabels.write(path, [np.zeros(LIMIT, np.uint16)]),
    "centres.npz": lambda path: save_centres(path, np.zeros((99, 99)), {}),
    "latency.json": lambda path: Latency(FEW, {}, {("x", (i,)): 1.0 for i in range(999)}).save(path),
    "scored.jsonl": write_record,
    "report.png": write_picture,
    "evals.jsonl": lambda path: write_evals(path.parent, [{"step": "x" * LIMIT}]),
    "config.yaml": lambda path: write_yaml(path, {"x": "x" * LIMIT}),
}


# numpy 1.26 leaves its zip file to the garbage collector when a write fails, which then complains.
@pytest.mark.filterwarnings("ignore:Exception ignored in. <function ZipFile.__del__")
@pytest.mark.parametrize("name", WRITERS)
def test_the_file_is_named_and_nothing_is_left(tmp_path: Path, name: str) -> None:
    write_text(tmp_path / name, head := "before\n" if name != "scored.jsonl" else '{"search": {}}\n')
    before = sorted(tmp_path.iterdir())
    with full_disk(), pytest.raises(OSError, match=name) as error:
        WRITERS[name](tmp_path / name)
    gc.collect()
    assert error.value.errno == errno.EFBIG or "too large" in str(error.value)
    assert sorted(tmp_path.iterdir()) == before
    text = (tmp_path / name).read_text()
    assert text.startswith(head)
    assert text.endswith("\n")
    WRITERS[name](tmp_path / name)  # and with room again


def test_eight_threads_write_one_file(tmp_path: Path) -> None:
    nets = [random_hubert(NET, seed) for seed in range(8)]
    errors: list[BaseException] = []

    def write(net: Hubert) -> None:
        try:
            for _ in range(8):
                save(net, tmp_path / "net.safetensors")
        except BaseException as error:  # noqa: BLE001  shown below
            errors.append(error)

    threads = [threading.Thread(target=write, args=(net,)) for net in nets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert [path.name for path in tmp_path.iterdir()] == ["net.safetensors"]
    weights = load(tmp_path / "net.safetensors").state_dict()
    assert any(all(torch.equal(weights[k], v) for k, v in net.state_dict().items()) for net in nets)
