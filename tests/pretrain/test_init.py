"""Where a supernet's weights start: random, the teacher's slices, a file, another supernet; and what does not fit."""

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import PARENT, SPACE, TEACHER, random_hubert
from torch import Tensor, nn

from lighthubert import Hubert, HubertConfig, SearchSpace, Subnet, Supernet, save
from lighthubert.checkpoint import read
from lighthubert.objectives import TargetConfig
from lighthubert.pretrain.init import build_supernet

MEAN, PAIRS = TargetConfig(layers=3), TargetConfig(pairs=[1, 3])


@pytest.fixture(scope="module")
def teacher() -> Hubert:
    return random_hubert(HubertConfig.from_dict(TEACHER))


def space(**parent: Any) -> SearchSpace:
    return SearchSpace.from_dict({**SPACE, "parent": {**PARENT, **parent}})


def state_of(net: nn.Module) -> dict[str, Tensor]:
    return {name: parameter.detach().clone() for name, parameter in net.named_parameters()}


def equal(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize(("target", "heads"), [(MEAN, ["last"]), (PAIRS, ["1", "3"])])
def test_heads_fit_parent_and_teacher(teacher: Hubert, target: TargetConfig, heads: list[str]) -> None:
    supernet = build_supernet(space(), teacher, "teacher", target, seed=1)
    assert list(supernet.head) == heads
    for head in supernet.head.values():
        assert (head.in_features, head.out_features, head.bias) == (40, 48, None)


def test_random_is_a_function_of_the_seed(teacher: Hubert) -> None:
    """A fresh HuBERT, whatever was drawn before; not the teacher's weights."""
    one = state_of(build_supernet(space(), teacher, "random", MEAN, seed=1))
    torch.rand(7)
    assert equal(one, state_of(build_supernet(space(), teacher, "random", MEAN, seed=1)))
    other = state_of(build_supernet(space(), teacher, "random", MEAN, seed=2))
    assert not torch.equal(one["hubert.encoder.layers.0.fc1.weight"], other["hubert.encoder.layers.0.fc1.weight"])
    assert one["hubert.encoder.layers.0.fc1.weight"].std().item() == pytest.approx(0.02, rel=0.1)
    assert not one["hubert.encoder.layers.0.fc1.bias"].any()


def test_slices_of_a_wider_and_deeper_teacher(teacher: Hubert) -> None:
    """Leading units of every axis, cut by hand; layers 0, 1, 3, 4 of five (evenly spread: 0, 4/3, 8/3, 4)."""
    supernet = build_supernet(space(), teacher, "teacher", MEAN, 1)
    own, of = state_of(supernet.hubert), state_of(teacher)
    assert torch.equal(own["mask_embed"], of["mask_embed"][:40])
    assert torch.equal(own["frontend.convs.3.weight"], of["frontend.convs.3.weight"])
    assert torch.equal(own["frontend.proj.weight"], of["frontend.proj.weight"][:40])
    assert torch.equal(own["encoder.pos_convs.0.weight"], of["encoder.pos_convs.0.weight"][:40])  # whole groups of 8
    assert torch.equal(own["encoder.norm.bias"], of["encoder.norm.bias"][:40])
    for new, old in enumerate((0, 1, 3, 4)):
        a, b = f"encoder.layers.{new}.", f"encoder.layers.{old}."
        for name, rows, columns in (("attention.q_proj", 32, 40), ("attention.out_proj", 40, 32),
                                    ("fc1", 80, 40), ("fc2", 40, 80)):  # fmt: skip
            assert torch.equal(own[f"{a}{name}.weight"], of[f"{b}{name}.weight"][:rows, :columns]), name
            assert torch.equal(own[f"{a}{name}.bias"], of[f"{b}{name}.bias"][:rows]), name
        assert torch.equal(own[f"{a}ffn_norm.weight"], of[f"{b}ffn_norm.weight"][:40])
    assert len(own) == len(of) - 16  # one layer less


def test_a_teacher_of_the_same_size_is_copied(teacher: Hubert) -> None:
    """The parent then computes what the teacher computes, from weights of its own."""
    same = space(**{key: value for key, value in TEACHER.items() if key in PARENT})
    supernet = build_supernet(same, teacher, "teacher", MEAN, 1).eval()
    wave = torch.randn(1, 8000)
    with torch.no_grad():
        assert torch.equal(supernet.hubert(wave).last_hidden_state, teacher(wave).last_hidden_state)
        supernet.hubert.mask_embed.zero_()
    assert teacher.mask_embed.abs().sum() > 0


def test_a_narrower_front_end_takes_leading_channels(teacher: Hubert) -> None:
    thin = [4, 6, 8, 8, 8, 8, 6]
    values = {**SPACE, "conv_channels": [[4] * 7], "parent": {**PARENT, "conv_channels": thin}}
    own = state_of(build_supernet(SearchSpace.from_dict(values), teacher, "teacher", MEAN, 1).hubert)
    of = state_of(teacher)
    assert torch.equal(own["frontend.convs.1.weight"], of["frontend.convs.1.weight"][:6, :4])
    assert torch.equal(own["frontend.norms.0.weight"], of["frontend.norms.0.weight"][:4])
    assert torch.equal(own["frontend.proj.weight"], of["frontend.proj.weight"][:40, :6])


@pytest.fixture
def stage1(tmp_path: Path, teacher: Hubert) -> tuple[Supernet, str]:
    supernet = build_supernet(space(), teacher, "teacher", MEAN, seed=1)
    supernet.predicts = {"teacher": "t", **MEAN.describe()}
    with torch.no_grad():
        for parameter in supernet.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    save(supernet, tmp_path / "stage1.safetensors")
    return supernet, str(tmp_path / "stage1.safetensors")


def test_a_supernet_s_file_brings_its_head(teacher: Hubert, stage1: tuple[Supernet, str]) -> None:
    supernet, path = stage1
    assert equal(state_of(build_supernet(space(), teacher, read(path), MEAN, seed=1)), state_of(supernet))


def test_another_space_takes_slices_of_a_supernet(teacher: Hubert, stage1: tuple[Supernet, str]) -> None:
    """As the released Small starts from stage 1 of Base: another space, here with a smaller parent; the head is new."""
    supernet, path = stage1
    smaller = {**PARENT, "num_heads": [4] * 2, "ffn_dim": [64] * 2, "embed_dim": 32, "pos_conv_groups": 4}
    values = {**SPACE, "num_layers": [1, 2], "parent": smaller}
    built = build_supernet(SearchSpace.from_dict(values), teacher, read(path), MEAN, 1)
    of = state_of(supernet.hubert)
    own = state_of(built.hubert)
    assert torch.equal(own["encoder.layers.1.fc1.weight"], of["encoder.layers.3.fc1.weight"][:64, :32])
    assert built.head["last"].weight.shape == (48, 32)


NARROW = {"parent": {**PARENT, "embed_dim": 32, "pos_conv_groups": 4}}
ANEW: dict[str, tuple[dict[str, Any], TargetConfig, str]] = {
    "other names": ({}, PAIRS, "head '1' starts anew: the file has none; head '3' starts anew: the file has none"),
    "another mean": ({}, TargetConfig(layers=2), "head 'last' starts anew: layers: 3 instead of 2"),
    "another tap": ({}, TargetConfig(layers=3, tap="layer"), "head 'last' starts anew: tap: ffn instead of layer"),
    "another norm and width": (
        NARROW,
        TargetConfig(layers=3, normalize="none"),
        "head 'last' starts anew: normalize: layer instead of none, shape: [48, 40] instead of [48, 32]",
    ),
}


@pytest.mark.parametrize("case", ANEW)
def test_heads_that_start_anew(
    teacher: Hubert, stage1: tuple[Supernet, str], caplog: pytest.LogCaptureFixture, case: str
) -> None:
    """One warning names the file, the heads, and why; the net itself is taken over."""
    values, target, message = ANEW[case]
    supernet, path = stage1
    built = build_supernet(SearchSpace.from_dict({**SPACE, **values}), teacher, read(path), target, seed=1)
    fresh = build_supernet(SearchSpace.from_dict({**SPACE, **values}), teacher, "random", target, seed=1)
    assert equal(state_of(built.head), state_of(fresh.head))
    assert values or equal(state_of(built.hubert), state_of(supernet.hubert))
    assert caplog.messages == [f"init {path!r}: {message}"]


def test_heads_that_are_kept(tmp_path: Path, teacher: Hubert, caplog: pytest.LogCaptureFixture) -> None:
    """A pair's head is of one layer, whatever the other pairs, and whatever mean is not taken."""
    supernet = build_supernet(space(), teacher, "teacher", PAIRS, seed=5)
    supernet.predicts = PAIRS.describe()
    save(supernet, tmp_path / "pairs.safetensors")
    path, target = str(tmp_path / "pairs.safetensors"), TargetConfig(layers=2, pairs=[3, 4])
    built = build_supernet(space(), teacher, read(path), target, seed=1)
    fresh = build_supernet(space(), teacher, "random", target, seed=1)
    assert torch.equal(built.head["3"].weight, supernet.head["3"].weight)
    assert torch.equal(built.head["4"].weight, fresh.head["4"].weight)
    assert caplog.messages == [f"init {path!r}: head '4' starts anew: the file has none"]


def test_a_head_that_does_not_say_what_it_predicts(
    tmp_path: Path, teacher: Hubert, caplog: pytest.LogCaptureFixture
) -> None:
    save(build_supernet(space(), teacher, "teacher", MEAN, seed=5), tmp_path / "x.safetensors")
    built = build_supernet(space(), teacher, read(tmp_path / "x.safetensors"), MEAN, seed=1)
    assert equal(state_of(built.head), state_of(build_supernet(space(), teacher, "random", MEAN, seed=1).head))
    assert "head 'last' starts anew: the file does not say what it predicts" in caplog.text


def test_a_plain_net_s_file(tmp_path: Path, teacher: Hubert) -> None:
    """The same as the teacher's slices, out of a file; as a teacher, a supernet's file is the net that holds it."""
    save(teacher, tmp_path / "x.safetensors")
    built = build_supernet(space(), teacher, read(tmp_path / "x.safetensors"), MEAN, 1)
    assert equal(state_of(built), state_of(build_supernet(space(), teacher, "teacher", MEAN, 1)))
    save(built, tmp_path / "supernet.safetensors")
    assert equal(state_of(read(tmp_path / "supernet.safetensors").hubert), state_of(built.hubert))


@pytest.mark.parametrize(
    ("parent", "message"),
    [
        ({"num_heads": [4] * 6, "ffn_dim": [80] * 6}, "init 'teacher': it has 5 layers, the supernet's parent 6"),
        ({"embed_dim": 64, "pos_conv_groups": 8}, "init 'teacher': embed_dim: it has 48, the supernet's parent 64"),
        (
            {"num_heads": [7] * 4, "ffn_dim": [80, 80, 80, 200]},
            "init 'teacher': num_heads: it has 6x4, the supernet's parent 7x4; "
            "ffn_dim: it has 96x4, the supernet's parent (80, 80, 80, 200)",
        ),
        (
            {"conv_channels": [8] * 6 + [16]},
            "conv_channels: it has 8x7, the supernet's parent (8, 8, 8, 8, 8, 8, 16)",
        ),
        (
            {"conv_channels": [8] * 8, "conv_kernels": [10, *[2] * 7], "conv_strides": [5, *[2] * 7]},
            "conv_channels: it has 8x7, the supernet's parent 8x8",
        ),
        (
            {"normalize_waveform": True, "conv_norm": "layer"},
            "its slices are not the supernet's parent: conv_norm: group instead of layer; "
            "normalize_waveform: False instead of True",
        ),
        ({"head_dim": 16}, "its slices are not the supernet's parent: head_dim: 8 instead of 16"),
        (
            {"norm_first": True, "conv_norm": "layer", "conv_bias": True},
            "conv_bias: False instead of True; conv_norm: group instead of layer; norm_first: False instead of True",
        ),
        ({"pos_conv_kernel": 32, "pos_conv_groups": 10}, "pos_conv_kernel: 16 instead of 32; pos_conv_groups: 5 in"),
    ],
)
def test_sizes_that_do_not_fit(teacher: Hubert, parent: dict[str, Any], message: str) -> None:
    values = {**SPACE, "num_layers": [2], "conv_channels": [4], "parent": {**PARENT, **parent}}
    with pytest.raises(ValueError, match=r"^init 'teacher': ") as error:
        build_supernet(SearchSpace.from_dict(values), teacher, "teacher", MEAN, 1)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_the_file_is_named_where_it_does_not_fit(teacher: Hubert, stage1: tuple[Supernet, str]) -> None:
    _, path = stage1
    with pytest.raises(ValueError, match=r"init '.*stage1.safetensors': it has 4 layers, the supernet's parent 5"):
        build_supernet(space(num_heads=[4] * 5, ffn_dim=[80] * 5), teacher, read(path), MEAN, 1)


def test_group_norm_makes_loudness_free(teacher: Hubert) -> None:
    """Normalised audio is the same to a front-end with group norm, so a parent may differ from its teacher there."""
    other = SearchSpace.from_dict({**SPACE, "parent": {**PARENT, "normalize_waveform": True}})
    built = build_supernet(other, teacher, "teacher", MEAN, seed=1).eval()
    wave = torch.randn(1, 4000, generator=torch.Generator().manual_seed(0)) * 0.2 + 0.1
    same = SearchSpace.from_dict(SPACE)
    plain = build_supernet(same, teacher, "teacher", MEAN, seed=1).eval()
    states = [net(wave, None, net.space.largest()).last_hidden_state for net in (built, plain)]
    assert (states[0] - states[1]).abs().max() < 1e-3 * states[1].abs().max()


def test_units_in_order_of_importance(
    teacher: Hubert, stage1: tuple[Supernet, str], caplog: pytest.LogCaptureFixture
) -> None:
    """The parent's predictions stay, and the units that each axis keeps first weigh most."""
    _, path = stage1
    plain = build_supernet(space(), teacher, read(path), MEAN, seed=1).eval()
    ordered = build_supernet(space(), teacher, read(path), MEAN, seed=1, order_by_importance=True).eval()
    wave = torch.randn(2, 4000, generator=torch.Generator().manual_seed(0))
    full = Subnet.full(plain.config)
    predictions = [net.predict(net(wave, None, full).last_hidden_state, full) for net in (plain, ordered)]
    assert (predictions[0] - predictions[1]).abs().max() < 1e-5 * predictions[0].abs().max()
    assert not caplog.messages  # the head has come along
    weights = [[layer.fc2.weight.abs().sum(0) for layer in net.hubert.encoder.layers] for net in (plain, ordered)]
    for before, after in zip(*weights, strict=True):
        assert torch.allclose(after, before.sort(descending=True).values)
        assert not torch.allclose(after, before)


def test_slices_of_a_teacher_in_order_keep_what_weighs_most(teacher: Hubert) -> None:
    plain = build_supernet(space(), teacher, "teacher", MEAN, seed=1)
    ordered = build_supernet(space(), teacher, "teacher", MEAN, seed=1, order_by_importance=True)
    first, last = (net.hubert.encoder.layers[0].fc2.weight.abs().mean() for net in (plain, ordered))
    assert last > 1.01 * first


def test_strided_subnets_take_no_leading_units(teacher: Hubert) -> None:
    strided = SearchSpace.from_dict({**SPACE, "ffn_rule": "strided"})
    with pytest.raises(ValueError, match="needs a space with ffn_rule prefix, this one has strided"):
        build_supernet(strided, teacher, "teacher", MEAN, seed=1, order_by_importance=True)
