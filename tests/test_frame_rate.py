"""Nets with other frames than HuBERT's: everything that counts frames asks the net's config."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from tiny import (
    DATA,
    HUBERT,
    PARENT,
    SPACE,
    STILL,
    TEACHER,
    TRAIN,
    manifests,
    random_hubert,
    recipe_values,
    task_values,
    unit_values,
    write_labelled_world,
    write_yaml,
)

import lighthubert as lh
from lighthubert.checkpoint import read
from lighthubert.cost import Conditions
from lighthubert.data import BadDataError, DataConfig, Manifest, Reader, eval_batches, mfcc, write_manifest
from lighthubert.finetune.__main__ import main as finetune
from lighthubert.models import HubertConfig, frame_middles, nearest_frames, num_frames, receptive_field
from lighthubert.objectives import UnitLabels
from lighthubert.objectives.units import layer_features
from lighthubert.pretrain.__main__ import main as pretrain
from lighthubert.probes.clips import SILENCE, frame_labels
from lighthubert.prune.__main__ import main as prune
from lighthubert.search.__main__ import main as search
from lighthubert.tasks.model import TaskModel

# 25 Hz: 720 samples, 640 apart. 100 Hz: 400 samples, 160 apart.
SLOW = {"conv_kernels": [10, 3, 3, 3, 3, 2, 4], "conv_strides": [5, 2, 2, 2, 2, 2, 4]}
FAST = {"conv_kernels": [10, 3, 3, 3, 3, 2, 2], "conv_strides": [5, 2, 2, 2, 2, 2, 1]}
ODD = {"conv_channels": [8] * 2, "conv_kernels": [30, 7], "conv_strides": [50, 3]}
SLOW_NET, FAST_NET, ODD_NET = (HubertConfig.from_dict({**PARENT, **rate}) for rate in (SLOW, FAST, ODD))
NETS = [HUBERT, SLOW_NET, FAST_NET, ODD_NET]
QUICK = {**TRAIN, "steps": 3, "warmup_steps": 1, "eval_every": 3}


@pytest.mark.parametrize("net", NETS)
def test_middles_are_those_of_the_convolutions(net: HubertConfig) -> None:
    """Convolutions that take means, of a clip whose samples say where they are."""
    x = (torch.arange(9000, dtype=torch.float64) + 0.5)[None, None]
    for kernel, stride in zip(net.conv_kernels, net.conv_strides, strict=True):
        x = torch.nn.functional.conv1d(x, torch.full((1, 1, kernel), 1 / kernel, dtype=torch.float64), stride=stride)
    assert frame_middles(net, x.shape[2]).tolist() == pytest.approx(x[0, 0].tolist())


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("other", NETS)
def test_the_nearest_frame_by_brute_force(net: HubertConfig, other: HubertConfig) -> None:
    for samples in (750, 5000, 16123):
        count = num_frames(samples, other)
        theirs = frame_middles(other, count)
        found = nearest_frames(samples, net, receptive_field(other) / 2, other.hop, count)
        away = (frame_middles(net, num_frames(samples, net))[:, None] - theirs).abs()
        assert found.tolist() == [int(row.argmin()) for row in away]  # the first of two as near
        if net is other:
            assert found.tolist() == list(range(count))


def test_mfcc_on_the_frames_of_a_net() -> None:
    wave = torch.randn(16000, generator=torch.Generator().manual_seed(0))
    every = mfcc(wave, FAST_NET)  # 10 ms apart; frame 1 has its middle where the first of 40 ms has
    assert len(every) == 98
    assert torch.equal(mfcc(wave, HUBERT), every[::2])
    assert torch.equal(mfcc(wave, SLOW_NET), every[1::4][: num_frames(16000, SLOW_NET)])
    with pytest.raises(ValueError, match=r"needs 720 samples or more \(one frame\), got 719"):
        mfcc(wave[:719], SLOW_NET)


def test_units_of_a_net_of_another_rate() -> None:
    """Every second state of a net that is twice as fast; each state twice of one half as fast."""
    wave = torch.randn(8000, generator=torch.Generator().manual_seed(0))
    fast, base = (random_hubert(HubertConfig.from_dict({**PARENT, **rate})) for rate in (FAST, {}))
    with torch.no_grad():
        states = {net: net(wave[None]).hidden_states[2][0] for net in (fast, base)}
    assert torch.equal(layer_features(fast, wave, 2, base.config), states[fast][::2][:24])
    twice = states[base].repeat_interleave(2, 0)
    assert torch.equal(layer_features(base, wave, 2, fast.config), twice[: num_frames(8000, FAST_NET)])


def test_phones_by_their_times(rng: np.random.Generator) -> None:
    """A phone of HuBERT's frame t is said 12.5 + 20 t ms into a clip."""
    for net in NETS:
        starts = np.sort(rng.choice(60, size=8, replace=False)).tolist()
        labels = frame_labels(" ".join(f"{t}:p{t}" for t in starts), num_frames(20000, net), net)
        for middle, label in zip(frame_middles(net, len(labels)).tolist(), labels, strict=True):
            away, nearest = min((abs(middle / 16 - 12.5 - 20 * t), t) for t in starts)
            assert label == (f"p{nearest}" if away < 90 else SILENCE)


def test_crops_and_their_units_are_in_step(world: Path, tmp_path: Path) -> None:
    clips = Manifest.read(world / "train.tsv")
    whole = [np.arange(num_frames(int(n), SLOW_NET), dtype=np.uint16) for n in clips.samples]
    UnitLabels.write(tmp_path / "units.npz", whole)
    reader, starts = Reader(clips, DataConfig(**DATA), SLOW_NET, seed=0), set()
    for _, batch in zip(range(8), reader, strict=False):
        table = UnitLabels(tmp_path / "units.npz", SLOW_NET).of(batch)
        for row, start, length in zip(table.tolist(), batch.starts, batch.lengths.tolist(), strict=True):
            starts.add(start)
            assert [640 * unit for unit in row if unit >= 0] == list(range(start, start + length - 719, 640))
    assert len(starts) > 4


def test_clips_without_a_frame_are_left_out(world: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """500 samples are a frame of HuBERT's, but none of a slower net."""
    clips = Manifest.read(world / "few.tsv")
    soundfile.write(tmp_path / "short.wav", np.zeros(500), 16000)
    rows = [{"path": clips.file_path(row), "samples": clips.samples[row]} for row in range(3)]
    write_manifest(tmp_path / "c.tsv", ("path", "samples"), [{"path": "short.wav", "samples": 500}, *rows])
    clips = Manifest.read(tmp_path / "c.tsv")
    data = DataConfig(**{**DATA, "min_clip_seconds": 0.01, "max_bad_share": 0.3})

    def held_out(net: HubertConfig, data: DataConfig = data) -> list[int]:
        return sorted(row for batch in eval_batches(clips, data, net) for row in batch.rows)

    assert held_out(HUBERT) == [0, 1, 2, 3]
    assert held_out(SLOW_NET) == [1, 2, 3]
    assert "short.wav: too short: 500 samples at 16 kHz, fewer than 720" in caplog.text
    with pytest.raises(BadDataError, match=r"short\.wav"):
        held_out(SLOW_NET, DataConfig(**{**DATA, "max_bad_share": 0.1}))
    for net, expected in ((HUBERT, {0, 1, 2, 3}), (SLOW_NET, {1, 2, 3})):
        reader = Reader(clips, data, net, seed=0)
        assert {row for _, batch in zip(range(20), reader, strict=False) for row in batch.rows} == expected
    few = DataConfig(**{**DATA, "min_clip_seconds": 0.01, "max_clip_seconds": 0.04})
    for start in (lambda: held_out(SLOW_NET, few), lambda: Reader(clips, few, SLOW_NET, seed=0)):
        with pytest.raises(ValueError, match=r"data.max_clip_seconds: one frame of the net needs 0.045, got 0.04"):
            start()


def test_a_clip_to_time_has_a_frame() -> None:
    Conditions(seconds=0.025).check(HUBERT)
    for net, seconds, needed in ((HUBERT, 0.0249, "0.025"), (SLOW_NET, 0.04, "0.045")):
        with pytest.raises(ValueError, match=rf"seconds: one frame of the net needs {needed}, got {seconds}"):
            Conditions(seconds=seconds).check(net)


def test_a_teacher_of_other_frames_is_refused(world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By --check too, and by search."""
    lh.save(random_hubert(HubertConfig.from_dict({**TEACHER, **SLOW})), tmp_path / "slow.safetensors")
    slow, run = str(tmp_path / "slow.safetensors"), str(tmp_path / "run")
    pruning = {"init": str(world / "teacher.safetensors"), "distill": {"teacher": slow, "layers": [2]},
               **manifests(world), "data": DATA, "train": QUICK}  # fmt: skip
    searching = {"supernet": str(world / "supernet.safetensors"), "teacher": slow, "budget": {"macs": 1e9},
                 "valid_manifest": str(world / "valid.tsv")}  # fmt: skip
    jobs = {pretrain: recipe_values(world, teacher=slow, init="random"), prune: pruning, search: searching}
    for main, values in jobs.items():
        recipe = write_yaml(tmp_path / "r.yaml", {**values, "run_dir": run})
        for arguments in ([], ["--check"]):
            assert main([str(recipe), *arguments]) == 2
            assert capsys.readouterr().err == (
                "error: teacher: its frames are 720 samples long and 640 apart, the student's 400 and 320: "
                "they must be the same\n"
            )
    assert not (tmp_path / "run" / "checkpoints").exists()


@pytest.fixture(scope="module")
def teacher(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A net of 25 Hz that was trained from nothing."""
    folder = tmp_path_factory.mktemp("slow")
    values = unit_values(world, run_dir=str(folder), model={**TEACHER, **SLOW}, train=QUICK)
    assert pretrain([str(write_yaml(folder / "u.yaml", values))]) == 0
    return folder / "hubert.safetensors"


def test_a_slow_net_is_trained_from_units(world: Path, teacher: Path, tmp_path: Path) -> None:
    """Of MFCC, and of a state of another net: units for the very frames that the net makes."""
    net = lh.load(teacher)
    values = unit_values(
        world, run_dir=str(tmp_path), model={**TEACHER, **SLOW}, train=QUICK,
        units={"num_units": 8, "fit_clips": 6, "source": str(world / "teacher.safetensors"), "layer": 2},
    )  # fmt: skip
    assert pretrain([str(write_yaml(tmp_path / "u.yaml", values))]) == 0
    clips = Manifest.read(world / "train.tsv")
    for folder in (teacher.parent, tmp_path):
        with np.load(folder / "units" / "train.npz") as file:
            counts = np.diff(file["offsets"]).tolist()
        waves = [lh.load_audio(clips.file_path(row)) for row in range(len(clips))]
        with torch.no_grad():
            assert counts == [net(wave[None]).last_hidden_state.shape[1] for wave in waves]
        last = json.loads((folder / "evals.jsonl").read_text().splitlines()[-1])
        assert 1 < last["values"]["masked_loss/units"] < 4


def test_a_slow_net_is_distilled_searched_and_fine_tuned(
    world: Path, teacher: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_yaml(tmp_path / "space.yaml", {**SPACE, "parent": {**PARENT, **SLOW}})
    values = recipe_values(world, run_dir=str(tmp_path / "distil"), teacher=str(teacher), eval_archs=0, train=QUICK,
                           space=str(tmp_path / "space.yaml"), subnets=["largest", "random"])  # fmt: skip
    assert pretrain([str(write_yaml(tmp_path / "d.yaml", values))]) == 0
    supernet = tmp_path / "distil" / "supernet.safetensors"
    searching = {"run_dir": str(tmp_path / "search"), "supernet": str(supernet), "budget": {"macs": 3e7}, "seconds": 4,
                 "valid_manifest": str(world / "valid.tsv"), "evaluations": 8, "population": 4, "data": DATA}
    assert search([str(write_yaml(tmp_path / "s.yaml", searching))]) == 0
    net = lh.load(supernet).sample(tmp_path / "search" / "best.yaml")
    assert net.config.hop == 640
    labelled = write_labelled_world(tmp_path)  # with a net.safetensors of its own
    lh.save(net, tmp_path / "net.safetensors")
    tuning = task_values(labelled, run_dir=str(tmp_path / "tune"), masks={"time_prob": 0.5}, dropouts=STILL)
    assert finetune([str(write_yaml(tmp_path / "f.yaml", tuning))]) == 0
    model, clip = TaskModel.load(read(tmp_path / "tune" / "model.safetensors")), Manifest.read(labelled / "valid.tsv")
    with torch.no_grad():  # it says one letter all the time
        model.head.proj.weight.zero_()
        model.head.proj.bias[model.vocabulary.names.index("a")] = 1
    model.save(tmp_path / "a.safetensors")
    capsys.readouterr()
    assert finetune(["transcribe", str(tmp_path / "a.safetensors"), clip.file_path(0)]) == 0
    seconds = 0.04 * num_frames(int(clip.samples[0]), SLOW_NET)
    assert capsys.readouterr().out == f"{clip.file_path(0)}\ta\n  {0:7.2f} {seconds:7.2f}  a\n"
