"""What is measured on held-out clips, against losses computed by hand; what is told about it."""

from pathlib import Path

import pytest
import torch
from tiny import DATA, distillation

from lighthubert.data import Batch, DataConfig, load_audio
from lighthubert.objectives import DistanceConfig, FrameConfig, TargetConfig


def test_held_out_losses_by_hand(world: Path) -> None:
    """Clean: every frame of unmasked clips. Masked: masked frames of masked clips. Sums and counts over the ranks."""
    objective = distillation(world, eval_archs=1)
    model = objective.model.eval()
    assert list(objective.archs) == ["largest", "smallest", "random0"]
    sums = {f"{kind}_loss/{name}": [0.0, 0.0] for kind in ("clean", "masked") for name in objective.archs}
    with torch.no_grad():
        whole = objective.evaluate(0, 0, 1)
        ranks = [objective.evaluate(0, rank, 2) for rank in (0, 1)]
        for row, samples in enumerate(objective.valid.samples.tolist()):
            wave = load_audio(objective.valid.file_path(row))[None, : min(samples, DataConfig(**DATA).max_clip_samples)]
            single = Batch(wave, torch.tensor([wave.shape[1]]), (row,), (0,), 0)
            mask, _ = objective.weights(single)
            target = sum(torch.nn.functional.layer_norm(x, (48,)) for x in objective.teacher(wave).ffn_outputs[-3:]) / 3
            for name, arch in objective.archs.items():
                net = model.sample(arch)
                for kind, given in (("clean", None), ("masked", mask)):
                    state = net(wave, mask=given).last_hidden_state
                    error = (state @ model.head["last"].weight[:, : arch.embed_dim].T - target).abs().mean(-1)
                    counted = torch.ones_like(mask) if given is None else mask
                    sums[f"{kind}_loss/{name}"][0] += float(error[counted].sum())
                    sums[f"{kind}_loss/{name}"][1] += int(counted.sum())
    assert whole.keys() == sums.keys()
    for name, (value, count) in sums.items():
        assert whole[name] == pytest.approx((value, count), rel=1e-5)
        assert [sum(rank[name][i] for rank in ranks) for i in (0, 1)] == pytest.approx([value, count], rel=1e-5)


def test_measured_archs_are_always_the_same(world: Path) -> None:
    one, other = distillation(world, eval_archs=3), distillation(world, eval_archs=2, seed=9, subnets=["parent"])
    assert list(one.archs) == ["largest", "smallest", "random0", "random1", "random2"]
    assert list(one.archs.items())[:4] == list(other.archs.items())
    assert len(set(one.archs.values())) == 5


def test_texts_and_pictures(world: Path) -> None:
    objective = distillation(world)
    texts = objective.describe()
    assert all(f"| {name} | " in texts["archs"] for name in objective.archs)
    entry = {"step": 0, "values": {"clean_loss/largest": 1.0, "other": 2.0}}
    assert objective.figures([entry]) == {}
    (figure,) = objective.figures([entry, {"step": 5, "values": {"clean_loss/largest": None}}]).values()
    assert [line.get_label() for line in figure.axes[0].lines] == ["clean_loss/largest"]


def test_the_section_defaults_are_what_the_paper_says() -> None:
    """LightHuBERT's authors: mean of the last 8 FFN outputs, L1; masks and the loss on them as in HuBERT."""
    assert TargetConfig() == TargetConfig(layers=8, tap="ffn")
    assert DistanceConfig() == DistanceConfig(l1=1.0, l2=0.0, cosine=0.0)
    assert FrameConfig() == FrameConfig(0.65, 10, 1.0, 0.0)


def test_a_subnet_without_any_of_the_pairs_is_not_measured(world: Path) -> None:
    objective = distillation(world, target={"pairs": [2, 3]}, eval_archs=0)
    objective.model.eval()
    with torch.no_grad():
        means = objective.evaluate(0, 0, 1)
    assert "clean_loss/largest" in means
    assert not means.get("clean_loss/smallest", (0, 0))[1]
