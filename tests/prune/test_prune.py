"""The job, end to end in a world where a step takes hundredths of a second."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import harness
import pytest
import torch
from safetensors.torch import load_file
from tiny import DATA, TEACHER, merged, random_hubert, write_yaml

import lighthubert as lh
from lighthubert import HubertConfig, cost, save
from lighthubert.config import Recipes, read_yaml
from lighthubert.data import write_manifest
from lighthubert.elastic import EMBED, axis_sizes, conv, importance, ranking
from lighthubert.finetune import load
from lighthubert.prune.__main__ import main
from lighthubert.prune.gates import open_probability
from lighthubert.prune.recipe import Prune

RECIPES = Path(__file__).resolve().parents[2] / "recipes"
NAMES = sorted(path.relative_to(RECIPES).with_suffix("").as_posix() for path in RECIPES.rglob("prune*.yaml"))
NETS = {"HUBERT_BASE": HubertConfig.base(), "WAV2VEC2_BASE": HubertConfig.base()}


def values_of(world: Path, **changes: Any) -> dict[str, Any]:
    """The keys of a short pruning of the tiny teacher, by its own hidden states."""
    teacher = str(world / "teacher.safetensors")
    values: dict[str, Any] = {
        "init": teacher,
        "distill": {"teacher": teacher, "layers": [0, 2, 5]},
        "train_manifest": str(world / "train.tsv"),
        "valid_manifest": str(world / "few.tsv"),
        "sparsity": {"params": 0.5, "warmup_steps": 4},
        "gate_lr": 0.2,
        "data": DATA,
        "train": {"steps": 8, "lr": 1e-3, "save_every": 3, "eval_every": 4, "log_every": 4},
    }
    return merged(values, changes)


def prune(folder: Path, world: Path, *overrides: str, **changes: Any) -> Path:
    """A finished run's folder."""
    run_dir = folder / "run"
    path = write_yaml(folder / "recipe.yaml", values_of(world, **changes))
    assert main([str(path), f"run_dir={run_dir}", *overrides]) == 0
    return run_dir


METHODS = {
    "size": ({"params": 0.5}, ("", "bf16")),
    "sepsize": ({"params": None, "frontend_params": 0.3, "transformer_params": 0.6}, ("", "fp32")),
    "macs": ({"params": None, "macs": 0.4}, ("", "fp16")),
}


@pytest.mark.parametrize("method", METHODS)
def test_the_three_methods(tmp_path: Path, world: Path, capsys: pytest.CaptureFixture[str], method: str) -> None:
    """An ordinary file within 1 % of the target, its arch, a picture, and the whole net in the gates' order."""
    sparsity, (_, precision) = METHODS[method]
    run_dir = prune(tmp_path, world, sparsity=sparsity, train={"precision": precision})
    net, whole = lh.load(run_dir / "pruned.safetensors"), lh.load(world / "teacher.safetensors")
    assert isinstance(net, lh.Hubert)
    for key, asked in sparsity.items():
        if asked is None:
            continue
        part, _, kind = key.rpartition("_")
        count = {"params": cost.num_params, "macs": cost.macs}[kind]
        kept = count(net.config, part=part or "all") / count(whole.config, part=part or "all")
        assert 0.99 * (1 - asked) <= kept <= 1 - asked
    assert cost.num_params(net.config) == sum(p.numel() for p in net.parameters())
    assert lh.Arch.from_dict(read_yaml(run_dir / "arch.yaml")) == net.config.arch
    assert (run_dir / "report.png").stat().st_size > 10_000
    assert any((run_dir / "tensorboard").iterdir())
    assert "largest difference from the gated net: 0" in capsys.readouterr().out
    waveform, ordered = torch.randn(2, 6000), lh.load(run_dir / "ordered.safetensors")
    embed = list(ranking(whole, importance(whole))[EMBED])
    states = tuple(state[:, :, embed] for state in whole(waveform).hidden_states)
    torch.testing.assert_close(ordered(waveform).hidden_states, states, atol=1e-4, rtol=1e-4)
    assert not torch.equal(ordered.encoder.layers[0].fc1.weight, whole.encoder.layers[0].fc1.weight)
    last = harness.evals(run_dir)[-1]["values"]
    assert {f"width/conv{i}" for i in range(7)} <= last.keys()
    assert all(value is not None for value in last.values())


def test_multipliers_ascend(tmp_path: Path, world: Path) -> None:
    """While less is gone than is asked for, lambda1 falls below 0 (its gap is negative), lambda2 rises."""
    run_dir = prune(tmp_path, world)
    state = harness.newest(run_dir)
    ((linear, square),) = state["model"]["multipliers"].tolist()
    assert linear < -0.1
    assert square > 0.1
    groups = state["optimizer"]["param_groups"]
    assert [group["maximize"] for group in groups] == [False, False, False, True]
    assert [group.get("scale") for group in groups] == [None, None, 200.0, 200.0]


def command(world: Path, folder: Path) -> list[str]:
    """A second of pruning with dropout; FFN units make checkpoints of 10 MB, to be hit."""
    fat = HubertConfig.from_dict({**TEACHER, "ffn_dim": [5000] * 5, "dropout": 0.1, "attention_dropout": 0.1})
    save(random_hubert(fat), folder / "fat.safetensors")
    values = values_of(world, init=str(folder / "fat.safetensors"), sparsity={"params": 0.9},
                       train={"steps": 12, "save_every": 2, "eval_every": 6, "log_every": 5})  # fmt: skip
    return ["-m", "lighthubert.prune", str(write_yaml(folder / "recipe.yaml", values))]


@pytest.mark.slow
@pytest.mark.parametrize("ranks", [1, 2])
def test_killed_runs_end_with_the_same_bits(tmp_path: Path, world: Path, ranks: int) -> None:
    """Weights, gates, multipliers and their moments, and the files."""
    harness.Series(command(world, tmp_path), str(tmp_path), kills=2, ranks=ranks).prove()
    for name in ("pruned.safetensors", "ordered.safetensors", "arch.yaml"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "killed" / name).read_bytes(), name


@pytest.mark.slow
def test_two_ranks_are_one_with_twice_the_batches(tmp_path: Path, world: Path) -> None:
    """Gates, multipliers and weights to rounding: the price of a step is counted once, whatever the ranks."""
    values = values_of(world, train={"steps": 2, "save_every": 2, "eval_every": 2}, sparsity={"warmup_steps": 1})
    words = ["-m", "lighthubert.prune", str(write_yaml(tmp_path / "r.yaml", values))]
    harness.finish([*words, f"run_dir={tmp_path / 'two'}"], tmp_path / "two.txt", ranks=2, fork=True)
    harness.finish([*words, f"run_dir={tmp_path / 'one'}", "train.accumulate=2"], tmp_path / "one.txt", fork=True)
    one, two = (harness.newest(tmp_path / name)["model"] for name in ("one", "two"))
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, atol=2e-5, rtol=1e-4, msg=name)


def test_a_second_phase_and_pruning_again(tmp_path: Path, world: Path) -> None:
    """Without a target the pruned net learns on as it is; with one it shrinks further."""
    first = prune(tmp_path, world)
    for name, sparsity in (("on", {"params": None, "warmup_steps": 0}), ("again", {"params": 0.3})):
        (tmp_path / name).mkdir()
        second = prune(tmp_path / name, world, init=str(first / "pruned.safetensors"), sparsity=sparsity)
        before, after = (lh.load(path / "pruned.safetensors") for path in (first, second))
        if name == "on":
            assert after.config == replace(before.config, layers=(0, 1, 2, 3, 4))
            assert not torch.equal(after.frontend.convs[0].weight, before.frontend.convs[0].weight)
            assert not (second / "arch.yaml").exists()
        else:
            assert cost.num_params(after.config) <= 0.7 * cost.num_params(before.config)


def write_labels(world: Path, folder: Path) -> dict[str, str]:
    """The clips of the world, half of class a and half of b, with texts."""
    from lighthubert.data import Manifest

    for name in ("train", "valid"):
        clips = Manifest.read(world / f"{name}.tsv")
        rows = [{"path": clips.file_path(i), "samples": clips.samples[i], "text": "ab ba"[: 2 + i % 3],
                 "kind": "ab"[i % 2]}
                for i in range(len(clips))]  # fmt: skip
        write_manifest(folder / f"{name}.tsv", ("path", "samples", "text", "kind"), rows)
    return {f"{name}_manifest": str(folder / f"{name}.tsv") for name in ("train", "valid")}


TASKS = {
    "ctc": {"kind": "ctc", "column": "text"},
    "classify": {"kind": "classify", "column": "kind", "layers": "weighted"},
}


@pytest.mark.parametrize("kind", TASKS)
def test_tasks(tmp_path: Path, world: Path, kind: str) -> None:
    """The file holds the head as fine-tuning writes it, and pruning goes on with the head of such a file."""
    paths = write_labels(world, tmp_path)
    data = {"max_clip_seconds": 3.0}
    run_dir = prune(tmp_path, world, distill=None, task=TASKS[kind], masks={"time_prob": 0.2}, data=data, **paths)
    model = load(run_dir / "pruned.safetensors")
    state = harness.newest(run_dir)["model"]
    assert torch.equal(model.head.proj.weight, state["head.proj.weight"])
    assert model.hubert.config.arch == lh.Arch.from_dict(read_yaml(run_dir / "arch.yaml"))
    rate = {"ctc": "wer", "classify": "accuracy"}[kind]
    assert {f"loss/{kind}", rate} <= harness.evals(run_dir)[-1]["values"].keys()
    (tmp_path / "again").mkdir()
    again = prune(tmp_path / "again", world, "train.steps=1", distill=None, task=TASKS[kind], data=data, **paths,
                  init=str(run_dir / "pruned.safetensors"), sparsity={"params": 0.1, "warmup_steps": 0})  # fmt: skip
    head = harness.newest(again)["model"]["head.proj.weight"]
    torch.testing.assert_close(head, model.head.proj.weight, atol=2e-3, rtol=0)  # one step of Adam away


WIDE = {**TEACHER, "conv_channels": [24] * 7, "num_heads": [6] * 3, "ffn_dim": [96] * 3}
LONG = {"steps": 110, "schedule": "flat_linear", "flat_share": 1.0, "eps": 1e-8, "eval_every": 200, "save_every": 200}


@pytest.mark.slow
def test_macs_go_where_the_leverage_is(tmp_path: Path, world: Path) -> None:
    """MACs saved per parameter fall from the first convolution to the last: a constraint on MACs shuts channels of the
    first ones, one on size leaves them alone."""
    config = HubertConfig.from_dict(WIDE)
    sizes = axis_sizes(config)
    leverage = []
    for i in range(7):
        fewer = sizes | {conv(i): sizes[conv(i)] - 1}
        saved = [count(config) - count(config, sizes=fewer) for count in (cost.macs, cost.num_params)]
        leverage.append(saved[0] / saved[1])
    assert leverage == sorted(leverage, reverse=True)
    save(random_hubert(config), tmp_path / "wide.safetensors")
    wide, found = str(tmp_path / "wide.safetensors"), {}
    for kind in ("params", "macs"):
        (tmp_path / kind).mkdir()
        sparsity = {"params": None, kind: 0.4, "warmup_steps": 20}
        run_dir = prune(tmp_path / kind, world, init=wide, distill={"teacher": wide, "layers": [0, 1, 3]}, gate_lr=0.1,
                        sparsity=sparsity, train=LONG)  # fmt: skip
        gates = harness.newest(run_dir)["model"]
        found[kind] = [float(open_probability(gates[f"gates.log_alpha.conv{i}"]).mean()) for i in range(7)]
    first, last = slice(0, 3), slice(3, 6)
    mean = {(kind, part): sum(found[kind][s]) / 3 for kind in found for part, s in (("first", first), ("last", last))}
    assert mean["macs", "first"] < mean["macs", "last"] - 0.08
    assert mean["macs", "first"] < mean["params", "first"] - 0.08
    assert abs(mean["params", "first"] - mean["params", "last"]) < 0.05


def test_the_order_of_gates_seeds_a_supernet(tmp_path: Path, world: Path) -> None:
    """`ordered.safetensors` is the net with the units that pruning kept in front; the width, which has no gates, is in
    the order of the weights that read it."""
    run_dir = prune(tmp_path, world)
    gates = harness.newest(run_dir)["model"]
    order = gates["gates.log_alpha.ffn2"].argsort(descending=True, stable=True)
    whole, ordered = (load_file(path) for path in (world / "teacher.safetensors", run_dir / "ordered.safetensors"))
    embed = ranking(net := lh.load(world / "teacher.safetensors"), importance(net))[EMBED]
    assert list(embed) != sorted(embed)
    name = "encoder.layers.2.fc1.weight"
    assert torch.equal(ordered[name], whole[name][order][:, list(embed)])


def test_a_fine_tuned_net_keeps_its_head_while_it_is_distilled(tmp_path: Path, world: Path) -> None:
    paths = write_labels(world, tmp_path)
    (tmp_path / "first").mkdir()
    data = {"max_clip_seconds": 3.0}
    first = prune(tmp_path / "first", world, distill=None, task=TASKS["classify"], data=data, **paths)
    init = str(first / "pruned.safetensors")
    run_dir = prune(tmp_path, world, init=init, sparsity={"params": 0.2})
    before, after = (load(path / "pruned.safetensors") for path in (first, run_dir))
    assert after.vocabulary == before.vocabulary
    assert cost.num_params(after.hubert.config) <= 0.8 * cost.num_params(before.hubert.config)
    assert torch.equal(after.head.proj.weight, before.head.proj.weight)
    torch.manual_seed(0)
    waveform = torch.randn(1, 9000)
    assert torch.equal(after(waveform)[0], after.head(lh.load(run_dir / "pruned.safetensors")(waveform)))


WRONG = {
    "distill=null": "distill, task: needs exactly one of the two",
    "gate_lr=0": "gate_lr: must be above 0, got 0.0",
    "seed=-1": "seed: must not be negative, got -1",
    "sparsity.params=1.5": "sparsity.params: must be above 0 and below 1, got 1.5",
    "sparsity.size=0.5": "sparsity.size: unknown key; known are params, macs, ",
    "sparsity.macs=0.5": "sparsity: needs exactly one value about units conv, got params, macs",
    "sparsity.warmup_steps=8": "sparsity.warmup_steps: must be below train.steps=8, got 8",
    "units=[neurons]": "units: must be some of conv, heads, ffn, attention, feed_forward, got 'neurons'",
    "distill.layers=[0,0]": "distill.layers: needs distinct layers, one or more, from 0 up, got [0, 0]",
    "distill.layers=[6]": "distill.layers: the teacher has 5 layers, got [6]",
    "sparsity.params=0.95": "sparsity.params: at most 0.",
}


@pytest.mark.parametrize("override", WRONG)
def test_wrong_recipes(tmp_path: Path, world: Path, capsys: pytest.CaptureFixture[str], override: str) -> None:
    path = write_yaml(tmp_path / "r.yaml", values_of(world, run_dir=str(tmp_path / "run")))
    assert main([str(path), override]) == 2
    error = capsys.readouterr().err
    assert WRONG[override] in error
    assert error.startswith("error: ")
    assert len(error.splitlines()) == 1


@pytest.mark.parametrize("what", ["distill", "task"])
def test_check_writes_nothing(tmp_path: Path, world: Path, capsys: pytest.CaptureFixture[str], what: str) -> None:
    changes = {"distill": None, "task": TASKS["ctc"]} | write_labels(world, tmp_path) if what == "task" else {}
    path = write_yaml(tmp_path / "r.yaml", values_of(world, data={"max_clip_seconds": 3.0}, **changes))
    before = set(tmp_path.iterdir())
    assert main([str(path), f"run_dir={tmp_path / 'run'}", "--check"]) == 0
    assert set(tmp_path.iterdir()) == before
    assert "constraints: params" in capsys.readouterr().out.splitlines()


def test_another_init_under_the_same_name(tmp_path: Path, world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    init = shutil.copy(world / "teacher.safetensors", tmp_path / "net.safetensors")
    prune(tmp_path, world, init=str(init))
    save(random_hubert(HubertConfig.from_dict(TEACHER), seed=5), init)
    assert main([str(tmp_path / "recipe.yaml"), f"run_dir={tmp_path / 'run'}"]) == 2
    assert "started with another recipe: init_weights was" in capsys.readouterr().err


def test_there_are_recipes() -> None:
    assert {"mini/prune_size", "mini/prune_sepsize", "mini/prune_macs", "base/prune_dphubert"} <= set(NAMES)
    assert {
        f"base/prune_{net}_{data}" for net in ("hubert", "wav2vec2") for data in ("librispeech100", "slurp")
    } <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_recipes(tmp_path: Path, world: Path, name: str) -> None:
    """Full size without storage: layers exist, and the target can be reached; then a real step at small widths."""
    recipe = Recipes(Prune).read(RECIPES / f"{name}.yaml", [])
    assert recipe.run_dir == f"runs/{name}"
    config = NETS[recipe.init] if recipe.init in NETS else lh.load(RECIPES.parent / recipe.init).config
    with torch.device("meta"):
        assert sum(p.numel() for p in lh.Hubert(config).parameters()) == cost.num_params(config)
    assert recipe.distill is None or max(recipe.distill.layers) <= config.num_layers
    narrow = replace(config, conv_channels=(8,) * 7, embed_dim=48, head_dim=4, num_heads=(4,) * config.num_layers,
                     ffn_dim=(96,) * config.num_layers, pos_conv_kernel=8, pos_conv_groups=1)  # fmt: skip
    save(random_hubert(narrow), tmp_path / "net.safetensors")
    net = tmp_path / "net.safetensors"
    overrides = [f"run_dir={tmp_path / 'run'}", f"init={net}", "train.steps=1", "sparsity.warmup_steps=0",
                 "train.warmup_steps=0"]  # fmt: skip
    if recipe.distill is not None:
        overrides += [f"distill.teacher={net}", *(f"{s}_manifest={world / 'few.tsv'}" for s in ("train", "valid"))]
    else:
        overrides += [f"{key}={value}" for key, value in write_labels(world, tmp_path).items()]
        overrides.append(f"task.column={'text' if recipe.task.kind == 'ctc' else 'kind'}")
    assert main([str(RECIPES / f"{name}.yaml"), *overrides]) == 0
    small = lh.load(tmp_path / "run" / "pruned.safetensors").config
    for c in recipe.sparsity.constraints:
        assert 0.99 * c.budget(narrow) <= c.of(small) <= c.budget(narrow)
    last = json.loads((tmp_path / "run" / "evals.jsonl").read_text().splitlines()[-1])
    assert last["step"] == 1
