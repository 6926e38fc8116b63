"""Ranks and readers do not change what is learnt; neither does a clip that cannot be read stop a run."""

from pathlib import Path

import harness
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tiny import DATA, HUBERT, recipe_values, unit_values, write_yaml

from lighthubert.data import DataConfig, Manifest, fairseq2_pipeline, plan, write_manifest
from lighthubert.pretrain.__main__ import main


def even_seed(manifest: Path) -> int:
    """A seed whose first epochs have even numbers of batches: two ranks then drop none, and see what one rank sees."""
    samples, data = Manifest.read(manifest).samples, DataConfig(**DATA)
    return next(s for s in range(1000) if all(len(plan(samples, data, HUBERT, s, e)) % 2 == 0 for e in range(1, 5)))


@pytest.mark.parametrize("share", ["clips", "steps", pytest.param("nothing", marks=pytest.mark.slow)])
def test_two_ranks_equal_one_that_accumulates(tmp_path: Path, world: Path, share: str) -> None:
    """Stage 2 without dropout: weights to 5e-6 after 6 steps of AdamW that moved them by 0.02, losses to 1e-4."""
    values = recipe_values(world, seed=even_seed(world / "train.tsv"), subnets=["largest", "smallest", "random"],
                           share=share, eval_archs=1, train={"steps": 6, "warmup_steps": 0})  # fmt: skip
    recipe = str(write_yaml(tmp_path / "r.yaml", values))
    two = ["-m", "lighthubert.pretrain", recipe, f"run_dir={tmp_path / 'two'}"]
    text = harness.finish(two, tmp_path / "text", ranks=2, fork=True)
    assert text.count("finished, all 6 steps are done") == 1
    assert text.count("Held-out loss, clean speech") == 1
    assert main([recipe, f"run_dir={tmp_path / 'one'}", "train.accumulate=2"]) == 0
    one, two_ = (load_file(tmp_path / name / "supernet.safetensors") for name in ("one", "two"))
    assert one.keys() == two_.keys()
    for name, weight in one.items():
        torch.testing.assert_close(two_[name], weight, rtol=0, atol=5e-6, msg=name)
    for a, b in zip(*(harness.evals(tmp_path / name) for name in ("one", "two")), strict=True):
        assert a["values"] == pytest.approx(b["values"], rel=1e-4)
        assert a["audio_seconds"] == pytest.approx(b["audio_seconds"])


@pytest.mark.skipif(bool(fairseq2_pipeline.reason_unavailable()), reason="fairseq2 cannot be imported here")
@pytest.mark.parametrize("objective", ["distill", "units"])
def test_readers_give_the_same_weights(tmp_path: Path, world: Path, objective: str) -> None:
    values = (unit_values if objective == "units" else recipe_values)(world, train={"steps": 4})
    recipe = str(write_yaml(tmp_path / "r.yaml", values))
    for reader in ("torch", "fairseq2"):
        run = [f"run_dir={tmp_path / reader}", f"data.reader={reader}", f"data.threads={int(reader == 'fairseq2')}"]
        assert main([recipe, *run]) == 0
    for path in (tmp_path / "torch").glob("*.safetensors"):
        assert path.read_bytes() == (tmp_path / "fairseq2" / path.name).read_bytes()
    assert any((tmp_path / "fairseq2").glob("*.safetensors"))


def test_labels_are_the_same_in_every_run(tmp_path: Path, world: Path) -> None:
    """Of another process too, and on two ranks, which share the clips."""
    recipe = str(write_yaml(tmp_path / "u.yaml", unit_values(world, train={"steps": 2, "warmup_steps": 0})))
    words = ["-m", "lighthubert.pretrain", recipe, f"run_dir={tmp_path / 'two'}"]
    text = harness.finish(words, tmp_path / "text", ranks=2, fork=True)
    assert text.count("clip 6/6  units of train clips") == 2  # of twelve, for each of the ranks
    assert main([recipe, f"run_dir={tmp_path / 'one'}"]) == 0
    for name in ("centres", "train", "valid"):
        assert (tmp_path / "one/units" / f"{name}.npz").read_bytes() == (
            tmp_path / "two/units" / f"{name}.npz"
        ).read_bytes()
    with np.load(tmp_path / "one/units/train.npz") as labels:
        frames = (Manifest.read(world / "train.tsv").samples - 400) // 320 + 1
        assert np.array_equal(np.diff(labels["offsets"]), frames)
        assert len(np.unique(labels["units"])) > 5


@pytest.fixture
def with_bad_clips(tmp_path: Path, world: Path) -> Path:
    """The training clips, and one that is gone, one of text and one that is too short for a frame."""
    import soundfile

    clips = Manifest.read(world / "train.tsv")
    rows = [{"path": clips.file_path(row), "samples": clips.samples[row]} for row in range(len(clips))]
    (tmp_path / "text.wav").write_text("text")
    soundfile.write(tmp_path / "short.wav", np.zeros(300, dtype=np.float32), 16000)
    rows += [{"path": "gone.wav", "samples": 20000}, {"path": "text.wav", "samples": 20000}]
    write_manifest(tmp_path / "bad.tsv", ("path", "samples"), rows)
    write_manifest(tmp_path / "short.tsv", ("path", "samples"), [*rows, {"path": "short.wav", "samples": 300}])
    return tmp_path


def test_bad_clips_have_no_labels(with_bad_clips: Path, world: Path, caplog: pytest.LogCaptureFixture) -> None:
    values = unit_values(world, run_dir=str(with_bad_clips / "run"), train_manifest=str(with_bad_clips / "bad.tsv"),
                         data={"max_bad_share": 0.5})  # fmt: skip
    assert main([str(write_yaml(with_bad_clips / "u.yaml", values))]) == 0
    with np.load(with_bad_clips / "run/units/train.npz") as labels:
        assert np.diff(labels["offsets"])[-2:].tolist() == [0, 0]
        assert np.diff(labels["offsets"])[:-2].min() > 0
    assert "no units for gone.wav" in caplog.text
    assert "no units for text.wav" in caplog.text


def test_a_clip_too_short_for_a_frame_has_no_labels(with_bad_clips: Path, world: Path) -> None:
    values = unit_values(world, run_dir=str(with_bad_clips / "run"), train_manifest=str(with_bad_clips / "short.tsv"),
                         data={"max_bad_share": 0.5})  # fmt: skip
    assert main([str(write_yaml(with_bad_clips / "u.yaml", values))]) == 0


def test_bad_clips_of_a_distillation(with_bad_clips: Path, world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Held out clips too. A few are left out; too many end the run."""
    values = recipe_values(world, run_dir=str(with_bad_clips / "run"), train_manifest=str(with_bad_clips / "bad.tsv"),
                           valid_manifest=str(with_bad_clips / "bad.tsv"), eval_archs=0, train={"steps": 4},
                           data={"max_bad_share": 0.5})  # fmt: skip
    recipe = str(write_yaml(with_bad_clips / "r.yaml", values))
    assert main([recipe]) == 0
    capsys.readouterr()
    assert main([recipe, f"run_dir={with_bad_clips / 'strict'}", "data.max_bad_share=0.1"]) == 2
    assert "cannot be used, more than max_bad_share 0.1 allows" in capsys.readouterr().err


def test_the_first_held_out_clip_may_be_bad(with_bad_clips: Path, world: Path) -> None:
    clips = Manifest.read(world / "valid.tsv")
    rows = [{"path": clips.file_path(row), "samples": clips.samples[row]} for row in range(len(clips))]
    write_manifest(with_bad_clips / "valid.tsv", ("path", "samples"), [{"path": "gone.wav", "samples": 20000}, *rows])
    values = recipe_values(world, run_dir=str(with_bad_clips / "run"), eval_archs=0, data={"max_bad_share": 0.5},
                           valid_manifest=str(with_bad_clips / "valid.tsv"),
                           train={"steps": 1, "warmup_steps": 0})  # fmt: skip
    assert main([str(write_yaml(with_bad_clips / "r.yaml", values))]) == 0
