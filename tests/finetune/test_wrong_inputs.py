"""What fine-tuning's command line says to wrong inputs: exit code 2 and one message."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from tiny import classes, task_values, write_yaml

from lighthubert.data import Manifest
from lighthubert.finetune.__main__ import main


@pytest.fixture(scope="module")
def folder(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recipes of both tasks, a trained model of each, and files that are not what they should be."""
    folder = tmp_path_factory.mktemp("wrong")
    train = {"steps": 1, "eval_every": 1}
    write_yaml(folder / "r.yaml", task_values(world, run_dir="run", train=train))
    write_yaml(folder / "c.yaml", classes(world, run_dir="run", train=train))
    for name in ("r", "c"):
        assert main([str(folder / f"{name}.yaml"), f"run_dir={folder / name}"]) == 0
    (folder / "text.wav").write_text("no audio")
    soundfile.write(folder / "short.wav", np.zeros(300), 16000)
    (folder / "lm.bin").write_bytes(bytes(range(256)))
    (folder / "lm.arpa").write_text("\\data\\\nngram 1=1\n\\1-grams:\n-1 HELLO\n\\end\\\n")
    (folder / "capitals.tsv").write_text("path\tsamples\ttext\tlanguage\nx.wav\t16000\tHELLO\ten\n")
    (folder / "no_label.tsv").write_text("path\tsamples\nx.wav\t16000\n")
    return folder


@pytest.fixture(autouse=True)
def inside(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Messages then name short paths."""
    monkeypatch.chdir(folder)
    yield
    assert not any((folder / "run").glob("checkpoints/*.pt")), "it trained"


CASES = {  # arguments: how the message begins
    "r.yaml task.kind=gan": "r.yaml: task.kind: must be one of ctc, classify, got 'gan'",
    "r.yaml task.tokens=bytes": "r.yaml: task.tokens: must be one of characters, subwords, got 'bytes'",
    "r.yaml task.layers=first task.num_subwords=1": (
        "r.yaml: task.num_subwords: must be at least 2, got 1; task.layers: must be one of last, weighted, got 'first'"
    ),
    "r.yaml freeze_steps=-1": "r.yaml: freeze_steps: must not be negative, got -1",
    "r.yaml masks.time_prob=2": "r.yaml: masks.time_prob: must lie within 0 and 1, got 2.0",
    "r.yaml masks.channel_length=0": "r.yaml: masks.channel_length: must be positive, got 0",
    "r.yaml dropouts.dropout=1.5": "HubertConfig: dropout: must be at least 0 and below 1, got 1.5",
    "r.yaml teacher=x": "r.yaml: teacher: unknown key; known are run_dir, train_manifest, valid_manifest, train, ",
    "r.yaml task.column=words": "{world}/train.tsv: no column words (there are text, language)",
    "r.yaml task.where={{language: en, age: four}}": "{world}/train.tsv: no column age (there are text, language)",
    "r.yaml task.where={{language: de}}": "{world}/train.tsv: no clip with a text, language de",
    "r.yaml train_manifest=no_label.tsv": "no_label.tsv: no column text (there are none beside path and samples)",
    "c.yaml task.where={{language: en}}": "task.column: language has a single class, 'en', in the training clips",
    "r.yaml task.tokens=subwords": "task.num_subwords: the training texts give ",
    "r.yaml data.max_clip_seconds=1": "{world}/train.tsv: every clip is longer than data.max_clip_seconds",
    "r.yaml init=gone.safetensors": "gone.safetensors: no such file or folder",
    "transcribe gone.safetensors {clip}": "gone.safetensors: no such file or folder",
    "transcribe {world}/net.safetensors {clip}": "{world}/net.safetensors: holds no fine-tuned task; ",
    "transcribe r/model.safetensors gone.wav": "gone.wav: No such file or directory",
    "transcribe r/model.safetensors text.wav": "text.wav: cannot be decoded: ",
    "transcribe r/model.safetensors short.wav": "short.wav: too short: 300 samples at 16 kHz, one frame needs 400",
    "transcribe r/model.safetensors {clip} --lm gone.arpa": "gone.arpa: No such file or directory",
    "transcribe r/model.safetensors {clip} --lm lm.bin": "lm.bin: not an n-gram model in ARPA format (text): ",
    "transcribe c/model.safetensors {clip} --lm lm.bin": "--lm: c/model.safetensors tells classes, not texts",
    "transcribe r/model.safetensors {clip} --lm lm.arpa --beam 0": "beam: must be at least 1, got 0",
    "transcribe r/model.safetensors {clip} --lm lm.arpa": "lm.arpa: none of its 1 words can be spelt with the ",
    "transcribe r/model.safetensors {clip} --device moon": "--device: moon: torch cannot use it here: ",
    "evaluate r/model.safetensors capitals.tsv": "capitals.tsv: none of its 1 labels can be spelt with the vocabulary",
    "evaluate r/model.safetensors gone.tsv": "gone.tsv: No such file or directory",
    "evaluate r/model.safetensors no_label.tsv": "no_label.tsv: no column text",
}


@pytest.mark.parametrize("arguments", CASES)
def test_a_wrong_input(arguments: str, world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = {"world": world, "clip": Manifest.read(world / "valid.tsv").file_path(0)}
    words = [word.format(**names) for word in arguments.replace(": ", ":\0").split(" ")]
    words = [word.replace("\0", " ") for word in _joined(words)]
    assert main(words) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: " + CASES[arguments].format(**names))
    assert error.count("\n") == 1


def _joined(words: list[str]) -> list[str]:
    """Words of a mapping in braces belong together."""
    joined: list[str] = []
    for word in words:
        if joined and joined[-1].count("{") > joined[-1].count("}"):
            joined[-1] += " " + word
        else:
            joined.append(word)
    return joined


def test_bad_clips_are_named_counted_and_skipped(world: Path, capsys: pytest.CaptureFixture[str],
                                                 caplog: pytest.LogCaptureFixture) -> None:  # fmt: skip
    clip = Manifest.read(world / "valid.tsv").file_path(0)
    files = ["gone.wav", "text.wav", clip, "short.wav"]
    assert main(["transcribe", "r/model.safetensors", *files, "--device", "cpu"]) == 0
    said = capsys.readouterr()
    assert said.out.startswith(f"{clip}\t")
    names = [line.split(":")[0] for line in said.err.splitlines()]
    assert names == ["skipped gone.wav", "skipped text.wav", "skipped short.wav", "3 of 4 clips skipped"]
    assert main(["transcribe", "r/model.safetensors", "gone.wav", "short.wav"]) == 2
    assert capsys.readouterr().err.endswith("error: none of the 2 clips can be used\n")
    lines = (world / "valid.tsv").read_text().splitlines()
    missing = ["\t".join(["gone.wav", *lines[1].split("\t")[1:]])] * 3
    manifest = world / "some_gone.tsv"
    manifest.write_text("\n".join([*lines, *missing]) + "\n")
    assert main(["evaluate", "r/model.safetensors", str(manifest)]) == 0
    assert f"{manifest}: 3 of {len(lines) + 2} clips left out" in [record.message for record in caplog.records]
    assert capsys.readouterr().out.startswith(f"{manifest}, ")


def test_labels_that_changed_are_refused(world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Under the same name, with the same clips."""
    train = Path(tmp_path / "train.tsv")
    train.write_text((world / "train.tsv").read_text())
    values = classes(world, run_dir=str(tmp_path / "trained"), train_manifest=str(train), train={"steps": 2})
    recipe = write_yaml(tmp_path / "r.yaml", values)
    assert main([str(recipe)]) == 0
    lines = train.read_text().splitlines()
    train.write_text("\n".join([*lines[:-1], lines[-1].removesuffix("ru") + "en"]) + "\n")
    assert main([str(recipe)]) == 2
    assert "started with another recipe: train_labels was " in capsys.readouterr().err


def test_files_whose_task_is_broken(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import json

    from safetensors import safe_open
    from safetensors.torch import save_file

    with safe_open(folder / "c" / "model.safetensors", "pt") as file:
        tensors, header = {k: file.get_tensor(k) for k in file.keys()}, json.loads(file.metadata()["lighthubert"])  # noqa: SIM118
    header["task"]["config"]["kind"] = "gan"
    save_file(tensors, folder / "kind.safetensors", {"lighthubert": json.dumps(header)})
    header["task"]["config"]["kind"] = "classify"
    header["task"]["vocabulary"]["names"].append("de")
    save_file(tensors, folder / "more.safetensors", {"lighthubert": json.dumps(header)})
    header["task"] = 3
    save_file(tensors, folder / "three.safetensors", {"lighthubert": json.dumps(header)})
    for name, rule in (
        ("kind", "kind.safetensors: metadata 'lighthubert': task: config: kind: must be one of ctc, classify, got "),
        ("more", "more.safetensors: the head's tensors are {"),
        ("three", "three.safetensors: metadata 'lighthubert': task: expected an object or null, got 3"),
    ):
        assert main(["evaluate", f"{name}.safetensors", "no_label.tsv"]) == 2
        assert capsys.readouterr().err.startswith("error: " + rule)
