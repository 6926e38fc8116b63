"""lighthubert search: its files, a kill, two ranks, and what it says of wrong input."""

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import harness
import pytest
import torch
from tiny import FEW as SPACE

from lighthubert import SearchSpace, load, load_audio, save
from lighthubert.cost import Conditions, Latency
from lighthubert.cost.latency import covering, entries, space_digest
from lighthubert.data import MINI, DataConfig, Manifest, write_manifest
from lighthubert.probes import make_probe, score
from lighthubert.search.__main__ import main
from lighthubert.search.record import Scored
from lighthubert.search.score import HeldOutLoss, draw_clips

DATA = {"max_seconds": 8.0, "max_clip_seconds": 2.0, "min_clip_seconds": 0.5}


def recipe(world: Path, folder: Path, **changes: Any) -> Path:
    values = {"run_dir": str(folder / "run"), "budget": {"macs": 3.2e7},
              "supernet": str(world / "supernet.safetensors"),
              "valid_manifest": str(world / "valid.tsv"), "seconds": 4, "evaluations": 40, "population": 10,
              "data": DATA, **changes}  # fmt: skip
    path = folder / "search.yaml"
    path.write_text(json.dumps(values))
    return path


def scores(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "scored.jsonl").read_text().splitlines()[1:]]


@pytest.fixture(scope="module")
def finished(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a recipe and of its finished run."""
    folder = tmp_path_factory.mktemp("finished")
    assert main([str(recipe(world, folder, test_manifest=str(world / "test.tsv"), test_seconds=5))]) == 0
    return folder


def test_the_front_is_archs_whose_files_have_the_very_scores(world: Path, finished: Path, tmp_path: Path) -> None:
    supernet, data = load(world / "supernet.safetensors"), DataConfig(**DATA)
    clips = draw_clips(Manifest.read(world / "valid.tsv"), 4, data)
    loss = HeldOutLoss(supernet, load(world / "teacher.safetensors"), clips, data)
    known = {SPACE.arch(row["arch"]): row["score"] for row in scores(finished / "run")}
    paths = sorted((finished / "run" / "front").glob("*.yaml"))
    assert paths
    for path in [finished / "run" / "best.yaml", *paths]:
        arch = SPACE.arch(path)
        save(supernet.sample(path), tmp_path / "subnet.safetensors")
        assert loss(load(tmp_path / "subnet.safetensors")) == known[arch]


def test_a_score_is_the_mean_distance_over_frames(world: Path) -> None:
    """Against one clip at a time, without batches, masks or our losses."""
    supernet, teacher = load(world / "supernet.safetensors").eval(), load(world / "teacher.safetensors").eval()
    clips, data = Manifest.read(world / "valid.tsv"), DataConfig(**DATA)
    arch = SPACE.smallest()
    total, frames = 0.0, 0

    with torch.no_grad():
        for row in range(len(clips)):
            audio = load_audio(clips.file_path(row))[None, :32000]
            states = teacher(audio).ffn_outputs[-2:]
            goal = torch.stack([torch.nn.functional.layer_norm(s, s.shape[-1:]) for s in states]).mean(0)
            state = supernet.sample(arch)(audio).last_hidden_state
            predicted = state @ supernet.head["last"].weight[:, : arch.embed_dim].T
            total += float((predicted - goal).abs().mean(-1).sum())
            frames += goal.shape[1]
    assert HeldOutLoss(supernet, teacher, clips, data)(supernet.sample(arch)) == pytest.approx(total / frames, rel=1e-5)


def test_pictures_and_table(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same command on a finished folder shows the result again, and scores nothing."""
    before = (finished / "run" / "scored.jsonl").read_bytes()
    assert main([str(finished / "search.yaml")]) == 0
    assert (finished / "run" / "scored.jsonl").read_bytes() == before
    out = capsys.readouterr().out
    for word in ("searched", "best of 40 random", "uniform", "held-out loss, test", "GMACs / 10 s at most 0.032"):
        assert word in out
    for name in ("search.png", "widths.png", "search.html"):
        assert (finished / "run" / name).stat().st_size > 10_000


def test_scores_by_a_probe(world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Recorded scores are what the probe says of the extracted files; the table's last column is of all test clips."""
    for name, split in (("learn", "train"), ("judge", "valid"), ("other", "train")):
        clips = Manifest.read(MINI / f"{split}.tsv")
        rows = [{"path": clips.file_path(i), "samples": n, "tongue": clips.columns["language"][i]}
                for i, n in enumerate(clips.samples.tolist()) if n < 56000 and i % 2 == (name == "learn")]  # fmt: skip
        write_manifest(tmp_path / f"{name}.tsv", ("path", "samples", "tongue"), rows)
    learn, judge, other = (str(tmp_path / f"{name}.tsv") for name in ("learn", "judge", "other"))
    probe = {"train_manifest": learn, "column": "tongue", "train_clips": 30, "held_out_clips": 8}
    path = recipe(world, tmp_path, valid_manifest=judge, test_manifest=other, probe=probe, evaluations=4, population=4)
    assert main([str(path)]) == 0
    out = capsys.readouterr().out
    assert "probe error, searched" in out
    rows, supernet = scores(tmp_path / "run"), load(world / "supernet.safetensors")
    task = make_probe("tongue", learn, judge, column="tongue")
    for row in rows:
        save(supernet.sample(row["arch"]), tmp_path / "subnet.safetensors")
        assert row["score"] == 1 - score(load(tmp_path / "subnet.safetensors"), task, 30, 8)
        assert row["score"] * 8 == round(row["score"] * 8)
    assert len({row["score"] for row in rows}) > 1
    everything = make_probe("tongue", learn, other, column="tongue").take(30, None)
    best = supernet.sample(tmp_path / "run" / "best.yaml")
    assert f"{1 - score(best, everything, None, None):.4f}" in out
    assert main([str(path), "probe.held_out_clips=7"]) == 2
    assert "started with another recipe: clips was " in capsys.readouterr().err


@pytest.mark.parametrize("ranks", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_killed_search_ends_with_the_same_scores(world: Path, finished: Path, tmp_path: Path, ranks: int) -> None:
    command = ["-m", "lighthubert.search", str(recipe(world, tmp_path))]
    record = tmp_path / "run" / "scored.jsonl"
    with harness.job(command, tmp_path / "killed.txt", ranks, fork=True) as job:
        job.kill_when(lambda: record.exists() and record.read_text().count("\n") > 12, "a dozen archs are scored")
    assert 12 < record.read_text().count("\n") < 1 + len(scores(finished / "run"))
    harness.finish(command, tmp_path / "whole.txt", ranks, fork=True)
    assert scores(tmp_path / "run") == scores(finished / "run")
    for name in ("best.yaml", "front/000.yaml"):
        assert (tmp_path / "run" / name).read_bytes() == (finished / "run" / name).read_bytes()


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        (b'"score": ', b'"score": 1', 5, "does not match its check"),
        (b'"score": ', b'"score": "x", "y": ', 5, "does not match its check"),
        (b'{"arch"', b"[" * 100_000 + b'{"arch"', 5, "recursion"),
        (b'"origin"', b'"orig\xffin"', 5, "can't decode byte 0xff"),
        (b'{"arch"', b'[1, {"arch"', 5, "Expecting ',' delimiter"),
        (b'"check": "', b'"chick": "', 5, "does not match its check"),
        (b'{"search": ', b'{"search": [1], "x": ', 1, ""),
        (b'{"search": ', b'[{"search": ', 1, ""),
    ],
)
def test_a_changed_record_is_told(
    finished: Path, capsys: pytest.CaptureFixture[str], old: bytes, new: bytes, line: int, message: str
) -> None:
    path = finished / "run" / "scored.jsonl"
    whole = path.read_bytes()
    lines = whole.split(b"\n")
    assert old in lines[line - 1]
    lines[line - 1] = lines[line - 1].replace(old, new, 1)
    path.write_bytes(b"\n".join(lines))
    try:
        assert main([str(finished / "search.yaml")]) == 2
    finally:
        path.write_bytes(whole)
    error = capsys.readouterr().err
    assert error.startswith(f"error: {path}, line {line}: not of the record of a search (")
    assert message in error
    assert error.count("\n") == 1


def test_a_row_of_another_space_is_told(finished: Path, tmp_path: Path) -> None:
    """With a right check."""
    rows = scores(finished / "run")
    with pytest.raises(ValueError, match="not in the search space"):
        Scored.from_dict(rows[0], SearchSpace.load("mini"))
    assert Scored.from_dict(rows[0], SPACE).to_dict() == rows[0]


def test_a_half_written_line_is_cut_off(world: Path, finished: Path, tmp_path: Path) -> None:
    path = recipe(world, tmp_path)
    whole = (finished / "run" / "scored.jsonl").read_text()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "scored.jsonl").write_text(whole[: len(whole) // 2])
    assert main([str(path)]) == 0
    assert scores(tmp_path / "run") == scores(finished / "run")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"budget": {"macs": 1e6}}, "budget.macs: the smallest subnet has 21,292,632, got 1,000,000"),
        ({"budget": {"flops": 1e6}}, "budget.flops: no such cost; known are params, macs, superb_macs, megabytes"),
        ({"budget": {}}, "budget: needs one cost or more, of params, macs, superb_macs, megabytes"),
        ({"budget": {"macs": -1}}, "budget.macs: must be positive, got -1"),
        ({"budget": {"macs": "many"}}, "budget.macs: expected a number, got 'many'"),
        ({"evaluations": 5}, "evaluations: must be at least the population (10), got 5"),
        ({"population": 3}, "population: must be at least 4, got 3"),
        ({"seconds": 0}, "seconds: must be positive, got 0.0"),
        ({"supernet": "gone.safetensors"}, "gone.safetensors"),
        ({"valid_manifest": "gone.tsv"}, "gone.tsv: No such file or directory"),
        ({"probe": {"train_manifest": "gone.tsv", "column": "x"}}, "gone.tsv: No such file or directory"),
        ({"probe": {"train_manifest": "short.tsv", "column": "x"}}, "short.tsv: no column x"),
        ({"probe": {"train_manifest": "a", "column": "x", "kind": "no"}}, "probe.kind: must be one of classes, frames"),
        ({"probe": {"train_manifest": "a", "column": "x", "train_clips": 0}}, "probe.train_clips: must be positive"),
        ({"probe": {"train_manifest": "a", "column": "x"}, "teacher": "b"}, "probe, teacher: a probe has no teacher"),
        ({"data": {**DATA, "min_clip_seconds": 1.5}, "valid_manifest": "short.tsv"}, "no clip is as long"),
    ],
)  # fmt: skip
def test_wrong_input_is_told(world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], changes: dict[str, Any],
                             message: str, monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    (tmp_path / "short.tsv").write_text("path\tsamples\nx.wav\t16000\n")
    assert main([str(recipe(world, tmp_path, **changes))]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error


def test_a_single_net_has_nothing_to_search(world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(recipe(world, tmp_path, supernet=str(world / "teacher.safetensors")))]) == 2
    assert "holds a single net, not a supernet; there is nothing to search" in capsys.readouterr().err


def test_scores_of_another_recipe_are_not_taken(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (finished / "run" / "scored.jsonl").read_bytes()
    assert main([str(finished / "search.yaml"), "seed=2"]) == 2
    error = capsys.readouterr().err
    assert "scored.jsonl: started with another recipe: seed was 1, is 2. Use" in error
    assert (finished / "run" / "scored.jsonl").read_bytes() == before


def test_a_budget_in_milliseconds_is_kept_and_resumed(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A killed search goes on with the latency that it began with, though the machine has another by then."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    short = Conditions(seconds=0.1)
    model = Latency.here(SPACE, short)
    limit = (model(SPACE.config(SPACE.largest())) + model(SPACE.config(SPACE.smallest()))) / 2
    changes = {"budget": {"milliseconds": limit, "macs": 3.2e7}, "latency": {"seconds": 0.1}, "evaluations": 10}
    path, run = recipe(world, tmp_path, **changes), tmp_path / "run"
    assert main([str(path)]) == 0
    assert "ms at most" in capsys.readouterr().out
    whole, best = scores(run), (run / "best.yaml").read_bytes()
    assert len(whole) > 10
    for row in whole:
        arch = SPACE.arch(row["arch"])
        assert row["costs"]["milliseconds"] == model(SPACE.config(arch)) <= limit
        assert row["costs"]["macs"] <= 3.2e7
    lines = (run / "scored.jsonl").read_text().splitlines(keepends=True)
    (run / "scored.jsonl").write_text("".join(lines[:7]))
    (cached,) = (tmp_path / "cache" / "lighthubert").iterdir()
    Latency(SPACE, model.described, {entry: 2 * time for entry, time in model.milliseconds.items()}).save(cached)
    assert main([str(path)]) == 0
    assert scores(run) == whole
    assert (run / "best.yaml").read_bytes() == best
    assert (run / "latency.json").exists()
    smallest = 2 * model(SPACE.config(SPACE.smallest()))  # as the cache says now, for new runs
    tight = [f"run_dir={tmp_path / 'other'}", f"budget.milliseconds={0.9 * smallest}"]
    assert main([str(path), *tight]) == 2
    told = f"budget.milliseconds: the smallest subnet has {math.ceil(1000 * smallest) / 1000:,}, got "
    assert told in capsys.readouterr().err


def test_milliseconds_beside_another_budget(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = recipe(world, tmp_path, latency={"seconds": 0.1}, evaluations=10)
    assert main([str(path)]) == 0
    table, rows = capsys.readouterr().out, scores(tmp_path / "run")
    model = Latency.load(tmp_path / "run" / "latency.json", SPACE)
    for row in rows:
        assert row["costs"]["milliseconds"] == model(SPACE.config(SPACE.arch(row["arch"])))
    best = SPACE.arch(tmp_path / "run" / "best.yaml")
    assert f"{model(SPACE.config(best)):.3f}" in table
    assert '"label":"ms"' in (tmp_path / "run" / "search.html").read_text()  # in the menu of the picture


def test_a_search_with_milliseconds_does_not_go_on_without(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nor one without with them: its rows would lack what the table shows."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = recipe(world, tmp_path, latency={"seconds": 0.1}, evaluations=10)
    assert main([str(path)]) == 0
    assert main([str(path), "latency=null"]) == 2
    assert "started with another recipe: latency was " in capsys.readouterr().err
    other = [f"run_dir={tmp_path / 'other'}", "latency=null"]
    assert main([str(path), *other]) == 0
    assert main([str(path), other[0]]) == 2
    assert "started with another recipe: latency was not set, is " in capsys.readouterr().err


def test_the_package_and_its_modules_can_be_imported() -> None:
    """No function bears the name of a package."""
    import lighthubert.search.score as score

    assert score.HeldOutLoss.name == "held-out loss"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "latency.json: not a latency model (JSONDecodeError: "),
        ("mini", "latency.json: the latency of another search space"),
        ("bf16", 'latency.json: started with another recipe: precision was "bf16", is "fp32"'),
        ("twice", "scored.jsonl: started with another recipe: latency was "),
    ],
)  # fmt: skip
def test_a_wrong_latency_in_the_folder_is_told(
    world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str, message: str
) -> None:
    space = SearchSpace.load("mini") if content == "mini" else SPACE
    described = {"space": space_digest(space), **asdict(Conditions(precision="bf16" if content == "bf16" else "fp32"))}
    model = Latency(space, described, {entry: 1.0 for a in covering(space) for entry in entries(space.config(a))})
    file, path = tmp_path / "run" / "latency.json", recipe(world, tmp_path, budget={"milliseconds": 1000})
    model.save(file)
    if content == "{":
        file.write_text(content)
    if content == "twice":
        assert main([str(path), "evaluations=10"]) == 0
        Latency(space, described, dict.fromkeys(model.milliseconds, 2.0)).save(file)
    assert main([str(path), "evaluations=10"]) == 2
    assert message in capsys.readouterr().err
