"""The job on real clips: it learns, keeps still what is frozen, and what it writes can be used."""

import itertools
import json
import shutil
from pathlib import Path
from typing import Any

import harness
import pytest
import torch
from safetensors.torch import load_file
from tiny import TEACHER, classes, random_hubert, task_values, write_yaml

import lighthubert as lh
from lighthubert import finetune
from lighthubert.checkpoint import CheckpointError
from lighthubert.data import MINI, Manifest, write_manifest
from lighthubert.finetune.__main__ import main
from lighthubert.tasks.model import TaskModel


def train(folder: Path, values: dict[str, Any]) -> TaskModel:
    recipe = write_yaml(folder / "recipe.yaml", {**values, "run_dir": str(folder / "run")})
    assert main([str(recipe)]) == 0
    return finetune.load(folder / "run" / "model.safetensors")


def test_four_real_clips_are_learnt_by_heart(
    tmp_path: Path, repo_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """From the mini teacher, in characters; the command line then tells them, with times."""
    clips = Manifest.read(MINI / "train.tsv")
    english = [row for row in range(len(clips)) if clips.columns["language"][row] == "en"]
    chosen = sorted(english, key=lambda row: int(clips.samples[row]))[:4]
    rows = [{"path": clips.file_path(row), "samples": clips.samples[row], "text": clips.columns["transcript"][row]}
            for row in chosen]  # fmt: skip
    write_manifest(tmp_path / "clips.tsv", ("path", "samples", "text"), rows)
    teacher = repo_root / "checkpoints" / "hubert-mini.safetensors"
    values = task_values(
        tmp_path, init=str(teacher), train_manifest=str(tmp_path / "clips.tsv"),
        valid_manifest=str(tmp_path / "clips.tsv"), data={"max_seconds": 12.0},
        train={"steps": 60, "lr": 2e-3, "eval_every": 60},
    )  # fmt: skip
    train(tmp_path, values)
    first, last = harness.evals(tmp_path / "run")
    assert first["values"]["cer"] > 0.7
    assert last["values"]["cer"] < 0.05
    assert last["values"]["loss/ctc"] < 0.05 * first["values"]["loss/ctc"]
    capsys.readouterr()
    files = [row["path"] for row in rows[:2]]
    assert main(["transcribe", str(tmp_path / "run" / "model.safetensors"), *files]) == 0
    texts = [part.split("\n") for part in capsys.readouterr().out.strip().split(str(Path(files[0]).parent))[1:]]
    for lines, row in zip(texts, rows[:2], strict=True):
        text = lines[0].split("\t")[1]
        words = [line.split() for line in lines[1:] if line]
        assert " ".join(word for _, _, word in words) == text
        times = [float(time) for start, end, _ in words for time in (start, end)]
        assert times == sorted(times)
        assert 0 <= times[0] < times[-1] <= int(row["samples"]) / 16000


def test_what_is_frozen_stays(tmp_path: Path, world: Path) -> None:
    """The convolutions always, and all of the net for freeze_steps; the head learns from the first step on."""
    before = lh.load(world / "net.safetensors").state_dict()
    for freeze, moved in ((4, False), (2, True)):
        folder = tmp_path / str(freeze)
        folder.mkdir()
        values = task_values(world, freeze_steps=freeze, masks={"time_prob": 0.5, "channel_prob": 0.5},
                             train={"save_every": 1, "keep_last": 9})  # fmt: skip
        after = train(folder, values).hubert.state_dict()
        same = {name for name in before if torch.equal(before[name], after[name])}
        convs = {name for name in before if name.startswith(("frontend.convs", "frontend.norms"))}
        assert same == (convs if moved else before.keys())
        states = sorted((folder / "run" / "checkpoints").glob("*.pt"))
        heads = [torch.load(path, weights_only=True)["model"]["head.proj.weight"] for path in states]
        assert all(not torch.equal(a, b) for a, b in itertools.pairwise(heads))


def test_a_fine_tuned_file_is_a_net_too(tmp_path: Path, world: Path) -> None:
    """lighthubert.load gives the net, finetune.load all of it; both agree with what was evaluated last."""
    model = train(tmp_path, task_values(world, train={"steps": 2, "eval_every": 2}))
    path = tmp_path / "run" / "model.safetensors"
    net = lh.load(path)
    assert isinstance(net, lh.Hubert)
    assert net.config == model.hubert.config
    torch.manual_seed(0)
    waveform, lengths = torch.randn(2, 9000), torch.tensor([9000, 5000])
    logits, frames = model(waveform, lengths)
    output = net(waveform, lengths)
    assert torch.equal(model.head(output), logits)
    assert torch.equal(output.lengths, frames)
    names = json.loads((tmp_path / "run" / "vocabulary.json").read_text())["names"]
    assert tuple(names) == model.vocabulary.names
    model.save(tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == path.read_bytes()


def test_check_writes_nothing(tmp_path: Path, world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = write_yaml(tmp_path / "r.yaml", task_values(world, run_dir=str(tmp_path / "run")))
    assert main([str(recipe), "--check"]) == 0
    assert list(tmp_path.iterdir()) == [recipe]
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("vocabulary: ") and "`<blank>`" in line for line in lines)
    assert f"{world / 'train.tsv'}: 6 clips, 0.00 h" in lines


def test_other_files_hold_no_task(tmp_path: Path, world: Path) -> None:
    with pytest.raises(CheckpointError, match=r"net\.safetensors: holds no fine-tuned task"):
        finetune.load(world / "net.safetensors")
    with pytest.raises(CheckpointError, match="no such file"):
        finetune.load(tmp_path / "gone")


def test_subwords_and_classes(tmp_path: Path, world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    model = train(tmp_path / "a", task_values(world, task={"tokens": "subwords", "num_subwords": 60}))
    assert len(model.vocabulary) == 60
    assert set(harness.evals(tmp_path / "a" / "run")[-1]["values"]) == {"loss/ctc", "wer", "cer"}
    model = train(tmp_path / "b", classes(world, dropouts={"dropout": 0.2}))
    assert model.hubert.config.dropout == 0.2
    assert model.vocabulary.names == ("en", "ru")
    assert set(harness.evals(tmp_path / "b" / "run")[-1]["values"]) == {"loss/classify", "accuracy"}
    file = str(tmp_path / "b" / "run" / "model.safetensors")
    clips = Manifest.read(world / "valid.tsv")
    capsys.readouterr()
    assert main(["transcribe", file, clips.file_path(0)]) == 0
    path, name, probability = capsys.readouterr().out.strip().split("\t")
    assert (path, name in ("en", "ru")) == (clips.file_path(0), True)
    assert 0.5 <= float(probability) <= 1
    assert main(["evaluate", file, str(world / "valid.tsv")]) == 0
    assert capsys.readouterr().out.endswith("% (en for all: 50.0 %)\n")


def test_a_head_goes_on_where_it_fits(tmp_path: Path, world: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in "abc":
        (tmp_path / name).mkdir()
    train(tmp_path / "a", classes(world))
    file = str(tmp_path / "a" / "run" / "model.safetensors")
    train(tmp_path / "b", classes(world, init=file))
    last, first = (harness.evals(tmp_path / name / "run")[i]["values"] for name, i in (("a", -1), ("b", 0)))
    assert first == last
    assert "starts anew" not in caplog.text
    train(tmp_path / "c", task_values(world, init=file))
    assert "its head starts anew, for it has another task.kind, task.layers, vocabulary" in caplog.text


def test_two_ranks_are_one_with_twice_the_batches(
    tmp_path: Path, world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Weights to rounding, error rates exactly. The last line is said once, and is of the last evaluation: held-out
    audio may be gone by then."""
    clips = Manifest.read(world / "valid.tsv")
    files = [shutil.copy(clips.file_path(row), tmp_path) for row in range(len(clips))]
    rows = [{"path": file, "samples": samples, "text": text}
            for file, samples, text in zip(files, clips.samples, clips.columns["text"], strict=True)]  # fmt: skip
    write_manifest(tmp_path / "valid.tsv", ("path", "samples", "text"), rows)
    values = task_values(world, valid_manifest=str(tmp_path / "valid.tsv"), masks={"time_prob": 0.3})
    recipe = str(write_yaml(tmp_path / "r.yaml", values))
    words = ["-m", "lighthubert.finetune", recipe, f"run_dir={tmp_path / 'two'}"]
    text = harness.finish(words, tmp_path / "text", ranks=2, fork=True)
    one = [recipe, f"run_dir={tmp_path / 'one'}", "train.accumulate=2"]
    assert main(one) == 0
    for file in files:
        Path(file).unlink()
    assert main(one) == 0  # all steps are done
    first, again = (line for line in capsys.readouterr().out.splitlines() if "4 clips: wer" in line)
    assert first == again
    assert text.count("clips: wer") == text.count(first) == 1
    nets = [load_file(tmp_path / name / "model.safetensors") for name in ("one", "two")]
    for name, weight in nets[0].items():
        torch.testing.assert_close(nets[1][name], weight, rtol=0, atol=1e-5, msg=name)
    for a, b in zip(*(harness.evals(tmp_path / name) for name in ("one", "two")), strict=True):
        assert (a["values"]["wer"], a["values"]["cer"]) == (b["values"]["wer"], b["values"]["cer"])
        assert a["values"]["loss/ctc"] == pytest.approx(b["values"]["loss/ctc"], rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("ranks", [1, 2])
def test_two_kills(tmp_path: Path, world: Path, ranks: int) -> None:
    """A run that was killed ends with the bits of one that was not, over the end of the frozen steps."""
    fat = random_hubert(lh.HubertConfig.from_dict({**TEACHER, "ffn_dim": [9000] * 5, "dropout": 0.1}))
    lh.save(fat, tmp_path / "fat.safetensors")
    values = task_values(world, init=str(tmp_path / "fat.safetensors"), freeze_steps=5, data={"max_seconds": 6.0},
                         masks={"time_prob": 0.3, "channel_prob": 0.3},
                         train={"steps": 16, "save_every": 3, "eval_every": 8})  # fmt: skip
    words = ["-m", "lighthubert.finetune", str(write_yaml(tmp_path / "recipe.yaml", values))]
    harness.Series(words, str(tmp_path), kills=2, ranks=ranks).prove()
    whole, killed = (tmp_path / name / "model.safetensors" for name in ("whole", "killed"))
    assert whole.read_bytes() == killed.read_bytes()


def test_masked_channels(world: Path) -> None:
    """They are 0 in the projection, in all frames of their clip alone."""
    net = lh.load(world / "net.safetensors")
    waveform, channels = torch.randn(2, 4000), torch.zeros(2, 48, dtype=torch.bool)
    channels[1, 5:9] = True
    masked, clean = (net(waveform, channel_mask=mask).hidden_states for mask in (channels, None))
    assert torch.equal(masked[0][0], clean[0][0])
    assert (masked[0][1, :, 5:9] == 0).all()
    assert torch.equal(masked[0][1, :, 9:], clean[0][1, :, 9:])
    assert not torch.equal(masked[1][1], clean[1][1])
