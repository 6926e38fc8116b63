"""Latency models: the bookkeeping against MACs, which are exact; what is cached, and for whom. Nothing here is timed
against a limit: how well latency is predicted is measured by docs/results/latency.py."""

import dataclasses
import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import TWO_CONVS

from lighthubert import Hubert, SearchSpace, cost
from lighthubert.cost.clock import device_name, time_nets, typical
from lighthubert.cost.latency import blocks, covering, entries

SHIPPED = ("mini", "small", "small_conv", "base", "base_conv", "large")
TINY = SearchSpace.from_dict({**TWO_CONVS, "num_layers": [2, 3], "conv_channels": [[4, 6], [6, 8]]})
NORM_FIRST = dataclasses.replace(TINY, parent=dataclasses.replace(TINY.parent, norm_first=True, conv_norm="layer"))
SHORT = cost.Conditions(seconds=0.1)


def macs_of_block(space: SearchSpace, kind: str, widths: tuple[int, ...], frames: list[int]) -> int:
    """Written out by hand, of one clip."""
    parent, last = space.parent, frames[-1]
    if kind.startswith("conv"):
        i = int(kind.removeprefix("conv"))
        channels, inputs = widths if i else (*widths, 1)
        return frames[i] * parent.conv_kernels[i] * channels * inputs
    if kind == "projection":
        return last * widths[0] * widths[1]
    if kind == "positions":
        (embed,) = widths
        width = embed // parent.pos_conv_groups
        if parent.pos_conv_fixed == "group_dim":
            width = parent.embed_dim // parent.pos_conv_groups
        return parent.pos_conv_depth * (last + 1 - parent.pos_conv_kernel % 2) * embed * width * parent.pos_conv_kernel
    if kind == "norm":
        return 0
    heads, embed, ffn = widths
    inner = heads * parent.head_dim
    return last * (4 * embed * inner + 2 * embed * ffn) + 2 * last**2 * inner


def macs_model(space: SearchSpace) -> cost.Latency:
    """A table whose entries are MACs of 10 s."""
    frames, count = [], 160000
    for kernel, stride in zip(space.parent.conv_kernels, space.parent.conv_strides, strict=True):
        count = (count - kernel) // stride + 1
        frames.append(count)
    found = {entry for arch in covering(space) for entry in entries(space.config(arch))}
    return cost.Latency(space, {}, {entry: float(macs_of_block(space, *entry, frames)) for entry in found})


@pytest.mark.parametrize("name", SHIPPED)
def test_a_table_of_macs_predicts_macs(name: str) -> None:
    """So every block is counted as often as it runs, with its own widths, and no arch lacks an entry."""
    space, rng = SearchSpace.load(name), random.Random(0)
    archs = [space.largest(), space.smallest(), *(space.sample(rng) for _ in range(60))]
    found = cost.costs(space, archs, ["macs", "milliseconds"], macs_model(space))
    assert found["milliseconds"].tolist() == found["macs"].tolist()


@pytest.mark.parametrize("space", [TINY, NORM_FIRST], ids=["post-norm", "pre-norm"])
def test_one_net_and_many_agree(space: SearchSpace) -> None:
    latency, archs = macs_model(space), [space.sample(random.Random(i)) for i in range(20)]
    many = cost.costs(space, archs, ["milliseconds"], latency)["milliseconds"]
    assert many.tolist() == [latency(space.config(arch)) for arch in archs]
    assert many.tolist() == [cost.macs(space.config(arch)) for arch in archs]


def test_a_wider_arch_is_slower_where_its_blocks_are() -> None:
    space, latency = TINY, macs_model(TINY)
    arch = space.smallest()
    wider = dataclasses.replace(arch, ffn_dim=(32, *arch.ffn_dim[1:]))
    (narrow,), (wide,) = ([e for e in entries(space.config(a)) if e[0] == "layer"][:1] for a in (arch, wider))
    difference = latency(space.config(wider)) - latency(space.config(arch))
    assert difference == latency.milliseconds[wide] - latency.milliseconds[narrow] > 0


@pytest.mark.parametrize("name", SHIPPED)
def test_covering_archs_are_few_and_in_the_space(name: str) -> None:
    space = SearchSpace.load(name)
    archs = covering(space)
    assert all(arch in space for arch in archs)
    assert len(archs) <= 24


def test_widths_outside_the_space_are_refused() -> None:
    latency, config = macs_model(TINY), TINY.config(TINY.largest())
    with pytest.raises(ValueError, match="layer: the latency of such widths was not measured"):
        latency(dataclasses.replace(config, ffn_dim=(48, 48, 40)))
    with pytest.raises(ValueError, match="milliseconds: needs the latency of a device"):
        cost.costs(TINY, [TINY.largest()], ["milliseconds"])


@pytest.mark.parametrize("space", [TINY, NORM_FIRST], ids=["post-norm", "pre-norm"])
@pytest.mark.parametrize("precision", cost.PRECISIONS)
def test_the_parts_of_a_run_are_the_run(space: SearchSpace, precision: str) -> None:
    """Every block is entered once, for each has a time, and none of them is negative."""
    arch = space.largest()
    modules = [block.module for block in blocks(space.config(arch))]
    (times,) = time_nets([Hubert(space.config(arch))], cost.Conditions(precision=precision, seconds=0.1), 6,
                         splits=[modules])  # fmt: skip
    assert times.shape == (6, len(modules))
    assert (times > 0).all()


def test_what_counts_are_whole_runs_of_the_fastest() -> None:
    times = np.array([[1.0, 9.0], [2.0, 2.0], [9.0, 1.0], [4.0, 2.0], [7.0, 7.0], [8.0, 8.0], [9.0, 9.0], [6.0, 6.0]])
    assert typical(times).tolist() == [3.0, 2.0]  # of [2, 2] and [4, 2]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "lighthubert"


def test_a_measurement_is_made_once(cache: Path) -> None:
    first = cost.Latency.here(TINY, SHORT)
    (file,) = cache.iterdir()
    assert cost.Latency.here(TINY, SHORT) == first
    assert first.described["model"] == device_name("cpu")
    assert first.described["torch"] == torch.__version__
    others = [(TINY, dataclasses.replace(SHORT, precision="bf16")), (TINY, cost.Conditions(seconds=0.2))]
    for space, conditions in [*others, (NORM_FIRST, SHORT)]:
        other = cost.Latency.here(space, conditions)
        assert other.described != first.described
        assert other.milliseconds != first.milliseconds
    assert len(list(cache.iterdir())) == 4
    assert file in cache.iterdir()


@pytest.mark.parametrize(
    "content",
    ["{", "[]", '{"latency": {}}', "[" * 10**5, "9" * 5000, "1e400", "other device", "other space"],
    ids=range(8),
)
def test_a_cache_of_something_else_is_measured_anew(
    cache: Path, content: str, caplog: pytest.LogCaptureFixture
) -> None:
    first = cost.Latency.here(TINY, SHORT)
    (file,) = cache.iterdir()
    values = json.loads(file.read_text())
    if content == "other device":
        content = json.dumps(values | {"latency": values["latency"] | {"model": "another"}})
    elif content == "other space":
        content = json.dumps(values | {"milliseconds": values["milliseconds"][1:]})
    elif content == "1e400":
        content = file.read_text().replace('"layer", [', '"layer", [1e400, ', 1)
        assert "1e400" in content
    file.write_text(content)
    again = cost.Latency.here(TINY, SHORT)
    assert again.described == first.described
    assert again.milliseconds.keys() == first.milliseconds.keys()
    assert f"{file}" in caplog.text
    assert "measured anew" in caplog.text
    assert cost.Latency.load(file, TINY) == again


def test_a_cache_that_cannot_be_written_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                caplog: pytest.LogCaptureFixture) -> None:  # fmt: skip
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert cost.Latency.here(TINY, SHORT).milliseconds
    assert "cannot be written" in caplog.text


def test_threads_are_as_before() -> None:
    before, net = torch.get_num_threads(), Hubert(TINY.config(TINY.smallest()))
    time_nets([net], dataclasses.replace(SHORT, threads=before + 1), 1)
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"device": "tpu"}, "device: must be cpu or cuda, got 'tpu'"),
        ({"precision": "int8"}, "precision: must be one of fp32, bf16, got 'int8'"),
        ({"threads": 0}, "threads: must be at least 1, got 0"),
        ({"seconds": 0.0}, "seconds: must be positive and finite, got 0.0"),
    ],
)
def test_wrong_conditions_are_told(values: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        cost.Conditions(**values)


def test_a_clip_shorter_than_a_frame_is_told() -> None:
    net = Hubert(TINY.config(TINY.smallest()))
    with pytest.raises(ValueError, match=r"seconds: one frame of the net needs 0\.00125, got 0\.0005"):
        time_nets([net], dataclasses.replace(SHORT, seconds=0.0005), 1)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there_is_told() -> None:
    with pytest.raises(ValueError, match="device: cuda:1: torch cannot use it here"):
        cost.Latency.here(TINY, cost.Conditions(device="cuda:1"))
