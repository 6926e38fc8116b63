"""Costs against the modules themselves, torch's counter of operations, published numbers and differences."""

from __future__ import annotations

import dataclasses
import random

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from lighthubert import cost
from lighthubert.elastic import EMBED, SearchSpace, Subnet, axis_sizes, conv, ffn, skeleton
from lighthubert.models import Hubert, HubertConfig

SHIPPED = ("base", "small", "base_conv", "small_conv", "mini", "large")
KINDS = {
    "base": HubertConfig.base(),
    "large": HubertConfig.large(),
    "data2vec": HubertConfig(conv_norm="layer", pos_conv_depth=5, pos_conv_kernel=19, normalize_waveform=True),
    "uneven": HubertConfig(
        conv_channels=(24, 31, 50), conv_kernels=(11, 4, 2), conv_strides=(7, 3, 2), conv_bias=True, embed_dim=60,
        head_dim=7, num_heads=(3, 1, 9), ffn_dim=(10, 99, 200), pos_conv_kernel=6, pos_conv_groups=5, pos_conv_depth=2,
    ),
}  # fmt: skip


def counted_params(config: HubertConfig) -> int:
    return sum(p.numel() for p in skeleton(config).parameters())


def counted_macs(config: HubertConfig, num_samples: int) -> int:
    """By torch's counter, on a net without storage; attention in its plain form, whose products the counter knows."""
    net = skeleton(config).eval()
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        net(torch.empty(1, num_samples, device="meta"))
    flops = counter.get_total_flops()
    assert flops % 2 == 0
    return flops // 2


@pytest.mark.parametrize("kind", KINDS)
def test_params_and_macs_of_published_nets(kind: str) -> None:
    config = KINDS[kind]
    assert cost.num_params(config) == counted_params(config)
    for num_samples in (400, 4321, 16000):
        assert cost.macs(config, num_samples) == counted_macs(config, num_samples)


def test_ten_seconds_is_the_default() -> None:
    config = KINDS["uneven"]
    assert cost.macs(config) == cost.macs(config, 160000) == counted_macs(config, 160000)


@pytest.mark.parametrize("name", SHIPPED)
def test_params_of_many_archs(name: str) -> None:
    """200 in all."""
    space, rng = SearchSpace.load(name), random.Random(0)
    for arch in [space.largest(), space.smallest(), *(space.sample(rng) for _ in range(3 if name == "large" else 37))]:
        config = space.config(arch)
        assert cost.num_params(config) == counted_params(config), arch


@pytest.mark.parametrize("name", SHIPPED)
def test_macs_of_archs(name: str) -> None:
    space, rng = SearchSpace.load(name), random.Random(1)
    for arch in [space.largest(), space.sample(rng)]:
        config = space.config(arch)
        assert cost.macs(config, 16000) == counted_macs(config, 16000), arch


def random_config(rng: random.Random) -> HubertConfig:
    """Any sizes and forms, with layers that have lost all their heads or FFN units."""
    convs, layers, groups = rng.randint(1, 7), rng.randint(1, 5), rng.choice([1, 2, 4])
    return HubertConfig(
        conv_channels=tuple(rng.randint(1, 9) for _ in range(convs)),
        conv_kernels=tuple(rng.randint(1, 6) for _ in range(convs)),
        conv_strides=tuple(rng.randint(1, 3) for _ in range(convs)),
        conv_bias=rng.random() < 0.5,
        conv_norm=rng.choice(["group", "layer"]),
        conv_scale=rng.random() < 0.5,
        embed_dim=groups * rng.randint(1, 6),
        head_dim=rng.randint(1, 5),
        num_heads=tuple(rng.randint(0, 3) for _ in range(layers)),
        ffn_dim=tuple(rng.choice([0, 1, 7]) for _ in range(layers)),
        pos_conv_kernel=rng.randint(1, 6),
        pos_conv_groups=groups,
        pos_conv_depth=rng.randint(1, 3),
        pos_conv_fixed=rng.choice(["groups", "group_dim"]),
        norm_first=rng.random() < 0.5,
    )


@pytest.mark.parametrize("seed", range(40))
def test_params_of_random_nets(seed: int) -> None:
    """Real ones, and each part of them."""
    config = random_config(random.Random(seed))
    net = Hubert(config)
    assert cost.num_params(config) == sum(p.numel() for p in net.parameters())
    assert cost.num_params(config, part="frontend") == sum(p.numel() for p in net.frontend.parameters())


def test_no_net_is_built_to_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """It took 27 ms for each config; `make bench` says how long it takes now."""
    config = random_config(random.Random(1000))
    expected = counted_params(config)
    monkeypatch.delattr(Hubert, "__init__")
    with pytest.raises(TypeError):
        skeleton(config)
    assert cost.num_params(config) == expected
    assert cost.macs(config) > 0


def test_a_real_extracted_net() -> None:
    """Not a skeleton: the net that is saved."""
    net = Hubert(HubertConfig(num_heads=(3, 4), ffn_dim=(5, 6), conv_channels=(8,) * 7, embed_dim=64))
    from lighthubert.elastic import extract

    small = extract(net, Subnet((1,), {EMBED: range(32), ffn(1): (3, 0), conv(2): range(5)}))
    assert cost.num_params(small.config) == sum(p.numel() for p in small.parameters())


def test_superb_counts_hubert_base_as_published() -> None:
    """The SUPERB challenge's own number for its 32 utterances of LibriSpeech test-clean."""
    assert cost.superb_macs(HubertConfig.base()) == 1_669_156_022_848


def test_superb_is_macs_and_what_its_profiler_adds() -> None:
    """Per layer: 4 x width x frames (biases of q, k, v and the scaling), 3 frames^2 per head and 1 for dropout."""
    from lighthubert.cost.polynomial import SUPERB_SAMPLES

    assert len(SUPERB_SAMPLES) == 32
    assert sum(SUPERB_SAMPLES) / 16000 == pytest.approx(224.86, abs=0.005)
    for dropout, passes in ((0.1, 4), (0.0, 3)):
        config = dataclasses.replace(KINDS["uneven"], attention_dropout=dropout)
        expected = 0
        for n in SUPERB_SAMPLES:
            frames = n
            for kernel, stride in zip(config.conv_kernels, config.conv_strides, strict=True):
                frames = (frames - kernel) // stride + 1
            expected += cost.macs(config, n)
            expected += sum(4 * 7 * heads * frames + passes * heads * frames * frames for heads in config.num_heads)
        assert cost.superb_macs(config) == expected


FUNCTIONS = {"params": cost.num_params, "macs": cost.macs, "superb": cost.superb_macs}


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("name", ["small_conv", "mini"])
def test_one_config_and_the_widths_of_a_subnet(function: str, name: str) -> None:
    """The parent's polynomial at an arch's widths is the arch's own cost: what a search or a pruning loss evaluates."""
    space, rng = SearchSpace.load(name), random.Random(2)
    space = dataclasses.replace(space, num_layers=(space.parent.num_layers,))
    for _ in range(5):
        config = space.config(space.sample(rng))
        count = FUNCTIONS[function]
        assert count(space.parent, sizes=axis_sizes(config)) == count(config)


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("fixed", ["groups", "group_dim"])
def test_batched_tensors_give_what_integers_give(function: str, fixed: str) -> None:
    parent = dataclasses.replace(KINDS["uneven"], pos_conv_fixed=fixed)
    rng = random.Random(3)
    archs = []
    for _ in range(4):
        sizes = {axis: rng.randint(1, size) for axis, size in axis_sizes(parent).items()}
        archs.append(sizes | {EMBED: rng.choice([12, 24, 60]) if fixed == "group_dim" else rng.choice([5, 15, 60])})
    count = FUNCTIONS[function]
    one_by_one = [count(parent, sizes=sizes) for sizes in archs]
    assert all(type(n) is int for n in one_by_one)
    batch = {axis: torch.tensor([sizes[axis] for sizes in archs], dtype=torch.float64) for axis in axis_sizes(parent)}
    assert count(parent, sizes=batch).tolist() == one_by_one


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("fixed", ["groups", "group_dim"])
def test_gradients_against_differences(function: str, fixed: str) -> None:
    """A polynomial of degree two in every width: the central difference is exact."""
    parent = dataclasses.replace(KINDS["uneven"], pos_conv_fixed=fixed)
    sizes = {
        axis: torch.tensor(float(n), dtype=torch.float64, requires_grad=True) for axis, n in axis_sizes(parent).items()
    }
    count = FUNCTIONS[function]
    count(parent, sizes=sizes).backward()
    numbers = {axis: float(n.detach()) for axis, n in sizes.items()}
    for axis, n in numbers.items():
        up, down = (
            count(
                parent, sizes={a: torch.tensor(v, dtype=torch.float64) for a, v in {**numbers, axis: n + step}.items()}
            )
            for step in (0.5, -0.5)
        )
        gradient = sizes[axis].grad
        assert gradient is not None
        assert float(gradient) == pytest.approx(float(up - down), rel=1e-9), axis
        assert float(gradient) > 0
