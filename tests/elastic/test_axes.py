"""The table of axes against nets whose sizes were changed one at a time."""

from __future__ import annotations

import dataclasses

import pytest
from torch import nn

from lighthubert.elastic import (
    AXES,
    EMBED,
    Axis,
    SearchSpace,
    Subnet,
    Supernet,
    axes,
    axis_sizes,
    conv,
    extract,
    ffn,
    heads,
    importance,
    skeleton,
)  # fmt: skip
from lighthubert.elastic.axes import GROUP, NUMBERED, POS_KERNEL, fixed_sizes, layer_of, parameters, rows_per_unit
from lighthubert.models import Hubert, HubertConfig

BASE = HubertConfig(
    conv_channels=(10, 11, 12),
    conv_kernels=(10, 3, 2),
    conv_strides=(5, 2, 2),
    embed_dim=32,
    head_dim=5,
    num_heads=(2, 3),
    ffn_dim=(40, 41),
    pos_conv_kernel=9,
    pos_conv_groups=4,
)
LARGE = dataclasses.replace(
    BASE, conv_norm="layer", conv_bias=True, conv_scale=True, norm_first=True, pos_conv_depth=2
)
WHOLE = dataclasses.replace(BASE, pos_conv_fixed="group_dim")


def shapes(config: HubertConfig) -> dict[str, tuple[int, ...]]:
    return {name: tuple(p.shape) for name, p in skeleton(config).named_parameters()}


def changed(config: HubertConfig, axis: Axis) -> HubertConfig:
    """The same net with half as wide an embedding, or one unit less on another axis."""
    if axis == EMBED:
        return config.resized(config.embed_dim // 2)
    key = NUMBERED[axis.kind]
    sizes = list(getattr(config, key))
    sizes[axis.index] -= 1
    return dataclasses.replace(config, **{key: tuple(sizes)})


@pytest.mark.parametrize("config", [BASE, LARGE, WHOLE], ids=["base", "large", "whole groups"])
def test_an_axis_is_what_changes_with_its_size(config: HubertConfig) -> None:
    before = shapes(config)
    for axis in axis_sizes(config):
        after = shapes(changed(config, axis))
        for name, shape in before.items():
            table = axes(name, len(config.conv_channels))
            # A group's width follows the embedding, unless it is what stays fixed.
            named = [a == axis or (a == GROUP and axis == EMBED and config.pos_conv_fixed == "groups") for a in table]
            assert [x != y for x, y in zip(shape, after[name], strict=True)] == named, (axis, name)


@pytest.mark.parametrize("config", [BASE, LARGE, WHOLE], ids=["base", "large", "whole groups"])
def test_units_times_rows_are_the_shape(config: HubertConfig) -> None:
    sizes = axis_sizes(config) | fixed_sizes(config)
    for name, shape in shapes(config).items():
        for size, axis in zip(shape, axes(name, 3), strict=True):
            if axis == GROUP:
                assert size == config.embed_dim // config.pos_conv_groups
            else:
                assert size == sizes[axis] * rows_per_unit(axis, config), name


def test_every_entry_is_used() -> None:
    used = {*shapes(BASE), *shapes(LARGE), "head.last.weight"}
    patterns = {".".join("#" if part.isdigit() else part for part in name.split(".")) for name in used}
    assert {pattern.replace("head.last", "head") for pattern in patterns} == AXES.keys()


def test_the_number_of_an_axis() -> None:
    assert axes("frontend.convs.0.weight") == (conv(0), conv(-1), Axis("kernel", 0))
    assert axes("frontend.convs.6.weight") == (conv(6), conv(5), Axis("kernel", 6))
    assert axes("frontend.proj.weight") == (EMBED, conv(6))
    assert axes("frontend.norm.bias", num_convs=3) == (conv(2),)
    assert axes("encoder.layers.11.attention.out_proj.weight") == (EMBED, heads(11))
    assert axes("encoder.layers.10.fc1.bias") == (ffn(10),)
    assert axes("encoder.pos_convs.4.weight") == (EMBED, GROUP, POS_KERNEL)
    assert layer_of("encoder.layers.11.fc1.bias") == 11
    assert layer_of("encoder.pos_convs.0.bias") is None


ROGUES = [
    "",
    "frontend",
    "encoder",
    "encoder.layers.1",
    "encoder.layers.1.attention",
    "encoder.pos_convs.0",
    "frontend.convs.2",
]


@pytest.mark.parametrize("place", ROGUES)
def test_a_parameter_without_an_entry_is_refused(place: str) -> None:
    """Nothing is fixed, dropped or kept by accident."""
    net = Hubert(BASE)
    net.get_submodule(place).register_parameter(
        "gain", nn.Parameter(nn.init.ones_(skeleton(BASE).mask_embed.new_empty(3, device="cpu")))
    )
    name = f"{place}.gain".lstrip(".")
    for use in (lambda: axes(name), lambda: extract(net, Subnet((0, 1))), lambda: importance(net)):
        with pytest.raises(KeyError, match=f"parameter '{name}' has no entry in the table of axes"):
            use()


def test_a_supernet_with_such_a_parameter_does_not_run() -> None:
    import torch

    supernet = Supernet(SearchSpace.load("mini"))
    supernet.hubert.encoder.layers[5].register_parameter("gate", nn.Parameter(torch.ones(1)))
    with pytest.raises(KeyError, match="gate"):
        supernet(torch.zeros(1, 1000), None, supernet.space.largest())


@pytest.mark.parametrize("config", [BASE, LARGE, WHOLE], ids=["base", "large", "whole groups"])
def test_the_table_names_the_parameters_of_a_net_in_order(config: HubertConfig) -> None:
    """Costs are counted from it, without a net."""
    assert [pattern.replace("#", str(i)) for pattern, i in parameters(config)] == [*shapes(config)]


def test_an_axis_is_a_value() -> None:
    assert heads(3) == Axis("heads", 3) == Axis.parse("heads3") != heads(4)
    assert f"{EMBED} {conv(0)} {ffn(11)}" == "embed conv0 ffn11"
    assert {EMBED: 1, conv(2): 3} == {Axis.parse("embed"): 1, Axis.parse("conv2"): 3}
    assert Axis.parse("feed_forward12") == Axis("feed_forward", 12)
    with pytest.raises(ValueError, match="'heads 3': not an axis"):
        Axis.parse("heads 3")
