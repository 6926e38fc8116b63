"""What the command line says to wrong inputs: exit code 2 and one message that names key, file and rule."""

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import harness
import pytest
from tiny import PARENT, SPACE, recipe_values, unit_values, write_yaml

from lighthubert import Hubert, HubertConfig, save
from lighthubert.data.fairseq2_pipeline import reason_unavailable
from lighthubert.pretrain.__main__ import main

ONE_STEP = ["train.steps=1", "train.warmup_steps=0", "eval_archs=0"]


@pytest.fixture(scope="module")
def folder(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recipes of both objectives, and files that are not what they should be."""
    folder = tmp_path_factory.mktemp("wrong")
    write_yaml(
        folder / "r.yaml", recipe_values(world, run_dir=str(folder / "run"), train={"steps": 2, "warmup_steps": 0})
    )
    write_yaml(
        folder / "u.yaml", unit_values(world, run_dir=str(folder / "units"), train={"steps": 2, "warmup_steps": 0})
    )
    write_yaml(folder / "gan.yaml", recipe_values(world, run_dir="x", objective="gan"))
    write_yaml(folder / "list_of_objectives.yaml", recipe_values(world, run_dir="x", objective=["distill"]))
    write_yaml(folder / "no_run_dir.yaml", recipe_values(world))
    write_yaml(folder / "wide.yaml", {**SPACE, "parent": {**PARENT, "embed_dim": 64, "pos_conv_groups": 8}})
    write_yaml(folder / "deep.yaml", {**SPACE, "parent": {**PARENT, "num_heads": [4] * 6, "ffn_dim": [80] * 6}})
    write_yaml(folder / "heads.yaml", {**SPACE, "parent": {**PARENT, "head_dim": 16}})
    write_yaml(folder / "loud.yaml", {**SPACE, "parent": {**PARENT, "conv_norm": "layer", "normalize_waveform": True}})
    save(Hubert(HubertConfig.from_dict({**PARENT, "num_heads": [4] * 2, "ffn_dim": [80] * 2})),
         folder / "cut_layers.safetensors")  # fmt: skip
    write_yaml(folder / "outside.yaml", {**SPACE, "embed_dim": [20], "num_layers": [9]})
    (folder / "bad.yaml").write_text("a: [1\n")
    (folder / "list.yaml").write_text("- 1\n")
    (folder / "text.pt").write_text("no checkpoint, but some text")
    (folder / "words.tsv").write_text("path\tsamples\nx.wav\tmany\ny.wav\t-1\n")
    (folder / "empty.tsv").write_text("path\tsamples\n")
    (folder / "other.tsv").write_text("file\tlength\nx.wav\t16000\n")
    (folder / "missing_clips.tsv").write_text("path\tsamples\nx.wav\t16000\ny.wav\t16000\n")
    (folder / "folder").mkdir()
    shutil.copy(world / "teacher.safetensors", folder / "cut.safetensors")
    with (folder / "cut.safetensors").open("r+b") as file:
        file.truncate(5000)
    return folder


@pytest.fixture(autouse=True)
def inside(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Messages then name short paths."""
    monkeypatch.chdir(folder)
    yield
    assert not any((folder / "run").glob("checkpoints/*.pt")), "it trained"


def message(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one message of a call that must fail."""
    assert main(arguments) == 2
    progress, _, error = capsys.readouterr().err.rpartition("error: ")
    assert all(line.startswith("clip ") for line in progress.splitlines())
    assert "Traceback" not in error
    return error.rstrip("\n")


KNOWN_TRAIN = (
    "known are steps, lr, warmup_steps, schedule, flat_share, phases, betas, eps, weight_decay, clip_norm, accumulate, "
    "precision, save_every, keep_last, eval_every, log_every, max_bad_steps, checkpoint_layers"
)
CASES: dict[str, tuple[str, str]] = {  # arguments: the whole message
    # recipe files
    "nowhere.yaml": ("nowhere.yaml: No such file or directory", ""),
    "folder": ("folder: Is a directory", ""),
    "bad.yaml": ("bad.yaml: cannot be read as YAML: while parsing a flow sequence ", ', line 2, column 1'),
    "list.yaml": ("list.yaml: expected keys and values, got list", ""),
    "gan.yaml": ("gan.yaml: objective: must be one of distill, units, got 'gan'", ""),
    "no_run_dir.yaml": ("no_run_dir.yaml: run_dir: is missing", ""),
    # keys and types
    "r.yaml train.learning_rate=1": (f"r.yaml: train.learning_rate: unknown key; {KNOWN_TRAIN}", ""),
    "r.yaml train.steps=many": ("r.yaml: train.steps: expected an integer, got 'many'", ""),
    "r.yaml train.steps=2.5": ("r.yaml: train.steps: expected an integer, got 2.5", ""),
    "r.yaml in_place=3": ("r.yaml: in_place: expected true or false, got 3", ""),
    "r.yaml share=half": ("r.yaml: share: must be one of nothing, clips, steps, got 'half'", ""),
    "r.yaml run_dir=": ("r.yaml: run_dir: expected text, got None", ""),
    "r.yaml train=3": ("r.yaml: train: expected keys and values, got 3", ""),
    "r.yaml teacher.path=x": ("r.yaml: teacher: expected text, got {'path': 'x'}", ""),
    "r.yaml target.pairs=[a]": ("r.yaml: target.pairs[0]: expected an integer, got 'a'", ""),
    "u.yaml teacher=x": ("u.yaml: teacher: unknown key; known are run_dir, train_manifest, ", "units, frames"),
    "r.yaml steps": ("'steps': an override is written key=value", ""),
    "r.yaml =3": ("'=3': an override is written key=value", ""),
    "r.yaml train.steps=[1": ("'train.steps=[1': while parsing a flow sequence", ", line 1, column 3"),
    # values
    "r.yaml subnets=[largest,tiny]": (
        "r.yaml: subnets: needs one or more of parent, largest, smallest, random, got ['largest', 'tiny']", ""),
    "r.yaml subnets=[]": ("r.yaml: subnets: needs one or more of parent, largest, smallest, random, got []", ""),
    "r.yaml subnets=largest": ("r.yaml: subnets: expected a list, got 'largest'", ""),
    "r.yaml in_place=true": (
        "r.yaml: in_place: needs two subnets or more on the same clips (share: nothing)", ""),
    "r.yaml in_place=true share=clips subnets=[largest,random]": (
        "r.yaml: in_place: needs two subnets or more on the same clips (share: nothing)", ""),
    "r.yaml eval_archs=-1": ("r.yaml: eval_archs: must not be negative, got -1", ""),
    "r.yaml target.tap=fnn": ("r.yaml: target.tap: must be one of ffn, layer, got 'fnn'", ""),
    "r.yaml target.normalize=batch": (
        "r.yaml: target.normalize: must be one of layer, instance, none, got 'batch'", ""),
    "r.yaml target.layers=0": ("r.yaml: target.layers: must be positive, got 0", ""),
    "r.yaml target.pairs=[0,1]": ("r.yaml: target.pairs: layers count from 1, got [0, 1]", ""),
    "r.yaml distance.l1=0": (
        "r.yaml: distance.l1, l2, cosine: must not be negative nor all zero, got 0.0, 0.0, 0.0", ""),
    "r.yaml frames.mask_prob=1.5": ("r.yaml: frames.mask_prob: must lie within 0 and 1, got 1.5", ""),
    "r.yaml train.lr=0": ("r.yaml: train.lr: must be above 0, got 0.0", ""),
    "r.yaml train.schedule=cosine": (
        "r.yaml: train.schedule: must be one of poly, tri_stage, flat_linear, got 'cosine'", ""),
    "r.yaml init=random order_by_importance=true": (
        "r.yaml: order_by_importance: random weights (init: random) have no order", ""),
    "r.yaml train.precision=int8": ("r.yaml: train.precision: must be one of fp32, bf16, fp16, got 'int8'", ""),
    "r.yaml train.warmup_steps=100": ("r.yaml: train.warmup_steps: must be in [0, 1], before the decay, got 100", ""),
    "u.yaml units.num_units=1": ("u.yaml: units.num_units: must be at least 2, got 1", ""),
    "u.yaml units.num_units=65537": ("u.yaml: units.num_units: must be at most 65536, got 65537", ""),
    "r.yaml data.max_clip_seconds=5": (
        "r.yaml: data.min_clip_seconds, max_clip_seconds, max_seconds: must be positive and not fall, ",
        "got 0.5, 5.0, 4.0"),
    # nets that do not go together
    "r.yaml target.layers=9": ("target.layers: the teacher has 5 layers, got 9", ""),
    "r.yaml target.pairs=[1,5]": ("target.pairs: the teacher has 5 layers, the student 4, got [1, 5]", ""),
    "r.yaml space=wide.yaml": ("init 'teacher': embed_dim: it has 48, the supernet's parent 64", ""),
    "r.yaml space=deep.yaml": ("init 'teacher': it has 5 layers, the supernet's parent 6", ""),
    "r.yaml space=heads.yaml": (
        "init 'teacher': its slices are not the supernet's parent: head_dim: 8 instead of 16", ""),
    "r.yaml space=loud.yaml": (
        "init 'teacher': its slices are not the supernet's parent: conv_norm: group instead of layer; "
        "normalize_waveform: False instead of True", ""),
    "u.yaml init=cut_layers.safetensors": (
        "init 'cut_layers.safetensors': not the sizes of model: num_heads: ",
        "ffn_dim: (80, 80) instead of (80, 80, 80, 80)"),
    # files
    "r.yaml space=tiny": (
        "tiny: no search space of this name (there are base, base_conv, large, mini, small, small_conv) and no such ",
        "file"),
    "r.yaml space=outside.yaml": (
        "outside.yaml: search space outside: num_layers: the parent has 4, got [9]; ",
        "embed_dim: must be a multiple of 8 (positional convolution, fixed group_dim), got 20"),
    "r.yaml teacher=nowhere.pt": ("nowhere.pt: no such file or folder", ""),
    "r.yaml teacher=text.pt": ("text.pt: neither a safetensors file nor one that torch.save wrote", ""),
    "r.yaml teacher=cut.safetensors": ("cut.safetensors: cannot be read as safetensors: ", ""),
    "r.yaml teacher=folder": ("folder: a folder without config.json; expected a Hugging Face model folder", ""),
    "r.yaml init=nowhere.safetensors": ("nowhere.safetensors: no such file or folder", ""),
    "u.yaml units.source=nowhere.pt": ("nowhere.pt: no such file or folder", ""),
    "r.yaml train_manifest=nowhere.tsv": ("nowhere.tsv: No such file or directory", ""),
    "r.yaml valid_manifest=nowhere.tsv": ("nowhere.tsv: No such file or directory", ""),
    "r.yaml train_manifest=empty.tsv": ("empty.tsv: no clip, only one line", ""),
    "r.yaml train_manifest=words.tsv": (
        "words.tsv: 2 wrong lines: line 2: samples must be a whole number above 0, not 'many'; line 3: ",
        "samples must be a whole number above 0, not '-1'"),
    "r.yaml train_manifest=other.tsv": ("other.tsv, line 1: ", "(the columns are file, length)"),
    "r.yaml valid_manifest=missing_clips.tsv": (
        "missing_clips.tsv: 2 of the first 2 clips cannot be used, more than max_bad_share 0.01 allows; for example ",
        "x.wav: No such file or directory; y.wav: No such file or directory"),
    "r.yaml valid_manifest=missing_clips.tsv data.max_bad_share=1": (
        "missing_clips.tsv: none of its 2 clips can be used", ""),
    "u.yaml valid_manifest=missing_clips.tsv data.max_bad_share=1": (
        "missing_clips.tsv: none of its 2 clips can be used", ""),
    "u.yaml units.num_units=60000": ("units.num_units: 60000 units need as many frames, the clips have ", ""),
    "r.yaml data.min_clip_seconds=100 data.max_clip_seconds=200 data.max_seconds=300": (
        "", " s of audio, 300 s a batch)"),
}  # fmt: skip


@pytest.mark.parametrize("arguments", CASES)
def test_the_message(arguments: str, capsys: pytest.CaptureFixture[str]) -> None:
    start, end = CASES[arguments]
    text = message(arguments.split(), capsys)
    assert text.startswith(start), text
    assert text.endswith(end), text


def test_several_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    wrong = ["train.steps=0", "train.lr=-1", "nonsense=3", "frames.mask_prob=2", "target.tap=fnn", "subnets=largest"]
    text = message(["r.yaml", *wrong], capsys)
    for part in ("nonsense: unknown key; known are run_dir, ", "train.steps: must be at least 1, got 0",
                 "lr: must be above 0, got -1.0",
                 "frames.mask_prob: must", "target.tap: must", "subnets: expected a list"):  # fmt: skip
        assert part in text
    assert "\n" not in text


def test_another_recipe_on_the_same_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Named key by key, whatever is not free to change; the run can still go on."""
    run = [f"run_dir={tmp_path / 'run'}", "data.max_bad_share=0.5", *ONE_STEP]
    assert main(["r.yaml", *run]) == 0
    before = (tmp_path / "run" / "supernet.safetensors").read_bytes()
    capsys.readouterr()
    changed = ["subnets=[largest]", "seed=2", "target.layers=2", "train.lr=0.1", "train.steps=3"]
    text = message(["r.yaml", *run, *changed], capsys)
    assert text.startswith(f"{tmp_path / 'run'}: started with another recipe: ")
    for part in ("seed was 1, is 2; ", 'subnets was ["parent"], is ["largest"]; ', "target.layers was 3, is 2; "):
        assert part in text
    assert text.endswith("train.lr was 0.005, is 0.1; train.steps was 1, is 3. Use the old values or another run_dir")
    text = message(["r.yaml", *run, "data.window=3", "data.max_seconds=3"], capsys)
    assert text.endswith("cannot go on with other data: max_seconds was 4 and is 3; window was 6 and is 3")
    assert main(["r.yaml", *run, "train.log_every=7", "data.threads=1"]) == 0
    assert "nothing to do" in capsys.readouterr().out
    assert (tmp_path / "run" / "supernet.safetensors").read_bytes() == before


def test_a_run_that_diverges(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A learning rate that overflows: the run stops, and says so without a traceback."""
    run = [f"run_dir={tmp_path / 'run'}", "train.steps=9", "train.warmup_steps=0", "train.lr=1e30",
           "train.max_bad_steps=2", "train.eval_every=99", "eval_archs=0"]  # fmt: skip
    assert main(["r.yaml", *run]) == 2
    last = capsys.readouterr().err.splitlines()[-1]  # progress lines come before
    assert last.startswith(f"error: {tmp_path / 'run'}: step ")
    assert "2 bad steps in a row (train.max_bad_steps)" in last


def test_in_a_process_of_its_own(folder: Path, tmp_path: Path) -> None:
    """The exit code, and nothing but the message on stderr: no traceback, no warning."""
    with harness.job(["-m", "lighthubert.pretrain", str(folder / "r.yaml"), "space=tiny"], tmp_path / "text") as job:
        assert job.wait() == 2
        assert len(job.text().splitlines()) == 1
        assert job.text().startswith("error: tiny: no search space of this name")


def test_other_ranks_say_who_they_are(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Under torchrun, where every rank has the same error or one has its own."""
    monkeypatch.setenv("RANK", "3")
    assert main(["r.yaml", "seed=-1"]) == 2
    assert capsys.readouterr().err == "error on rank 3: r.yaml: seed: must not be negative, got -1\n"


def test_a_reader_that_is_not_installed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "fairseq2"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "fairseq2", None)
    reason_unavailable.cache_clear()  # another test of this process may have asked
    try:
        text = message(["r.yaml", "data.reader=fairseq2"], capsys)
    finally:
        reason_unavailable.cache_clear()
    assert text.startswith("data: reader is fairseq2, which cannot be imported (ModuleNotFoundError: ")


@pytest.mark.parametrize("arguments", ["r.yaml objective=gan", "r.yaml objective=units", "u.yaml objective=distill"])
def test_an_objective_by_override(arguments: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = message([*arguments.split(), f"run_dir={tmp_path / 'run'}", *ONE_STEP[:2]], capsys)
    assert "objective" in text


def test_a_list_of_objectives(capsys: pytest.CaptureFixture[str]) -> None:
    assert "objective: must be one of distill, units, got ['distill']" in message(["list_of_objectives.yaml"], capsys)


@pytest.mark.parametrize("run_dir", ["text.pt", "text.pt/run", "/proc/run"])
def test_a_run_dir_that_cannot_be(run_dir: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_dir in message(["r.yaml", f"run_dir={run_dir}", *ONE_STEP], capsys)


def test_an_override_of_an_element(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = f"run_dir={tmp_path / 'run'}"
    assert message(["r.yaml", "subnets[0]=random", run], capsys).startswith("r.yaml: subnets[0]: unknown key; ")


def test_an_interpolation_to_nowhere(capsys: pytest.CaptureFixture[str]) -> None:
    text = message(["r.yaml", "train.lr=${nothing}"], capsys)
    assert text.startswith("r.yaml: ")
    assert "\n" not in text


def test_a_negative_seed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "seed" in message(["r.yaml", "seed=-1", f"run_dir={tmp_path / 'run'}", *ONE_STEP], capsys)


def test_two_problems_of_a_section(capsys: pytest.CaptureFixture[str]) -> None:
    text = message(["r.yaml", "frames.mask_prob=2", "frames.mask_length=0", "data.window=0", "data.threads=-1"], capsys)
    for key in ("frames.mask_prob: ", "frames.mask_length: ", "data.window", "data.threads"):
        assert key in text
    assert "data.data" not in text


def test_a_wrong_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert "u.yaml: model.embed_dim: must be" in message(["u.yaml", "model.embed_dim=41"], capsys)


def test_units_of_a_layer_that_is_not_there(world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = [f"units.source={world / 'teacher.safetensors'}", "units.layer=6", f"run_dir={tmp_path / 'run'}"]
    assert "units.layer" in message(["u.yaml", *source], capsys)
