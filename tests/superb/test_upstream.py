"""What SUPERB's tasks may rely on: a clip's hidden states, whatever its length and whatever it is batched with."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny import ARCH, FEW, LARGE, NET, random_hubert, random_supernet
from torch import Tensor

import lighthubert as lh
from lighthubert.superb.upstream import Upstream, UpstreamError, lighthubert

TOLERANCE = 2e-5  # of a state's deviation
SAMPLES = [16000, 800, 24001, 400, 4799, 16319]


def clips(samples: list[int]) -> list[Tensor]:
    """Noise with an offset: zeros in the padding are then not its mean."""
    generator = torch.Generator().manual_seed(1)
    return [0.1 * torch.randn(n, generator=generator) + 0.3 for n in samples]


def assert_near(found: Tensor, expected: Tensor) -> None:
    scale = expected.std(correction=0).item()
    torch.testing.assert_close(found, expected, rtol=0, atol=TOLERANCE * scale)


@pytest.fixture(params=["base", "large", "subnet"])
def upstream(request: pytest.FixtureRequest) -> Upstream:
    makers = {"base": lambda: random_hubert(NET), "large": lambda: random_hubert(replace(NET, **LARGE))}
    return Upstream(makers.get(request.param, lambda: random_supernet(FEW).sample(ARCH).eval())())


@torch.no_grad()
def test_a_clip_is_the_same_in_every_batch(upstream: Upstream) -> None:
    wavs = clips(SAMPLES)
    together = upstream(wavs)["hidden_states"]
    for row, wav in enumerate(wavs):
        alone = upstream([wav])["hidden_states"]
        assert len(alone) == len(together)
        for one, all_clips in zip(alone, together, strict=True):
            frames = one.shape[1]
            assert_near(all_clips[row, :frames], one[0])
            # s3prl hands frames past the end to its tasks: they repeat the last one
            assert torch.equal(all_clips[row, frames:], all_clips[row, frames - 1].expand_as(all_clips[row, frames:]))


@torch.no_grad()
def test_states_are_the_nets(upstream: Upstream) -> None:
    (wav,) = clips([16000])
    expected = upstream.net(wav[None]).hidden_states  # the front-end's projection first
    found = upstream([wav])["hidden_states"]
    assert len(found) == upstream.net.config.num_layers + 1
    for one, other in zip(found, expected, strict=True):
        assert_near(one, other)


@pytest.mark.parametrize("seconds", [0.05, 0.1, 1.0, 5.0, 35.0])
@torch.no_grad()
def test_lengths(upstream: Upstream, seconds: float) -> None:
    samples = round(seconds * 16000)
    states = upstream(clips([samples, max(800, samples // 2)]))["hidden_states"]
    frames = (samples - 400) // 320 + 1
    assert {state.shape for state in states} == {(2, frames, upstream.net.config.embed_dim)}
    assert all(state.isfinite().all() for state in states)
    assert upstream.get_downsample_rates("hidden_states") == 320


@torch.no_grad()
def test_a_clip_shorter_than_a_frame(upstream: Upstream) -> None:
    short, long = clips([123, 4000])
    padded = torch.nn.functional.pad(short, (0, 400 - 123))
    expected = upstream([padded])["hidden_states"]
    for other in ([short], [short, long]):
        for one, state in zip(upstream(other)["hidden_states"], expected, strict=True):
            assert_near(one[0, :1], state[0])


@torch.no_grad()
def test_the_same_twice(upstream: Upstream) -> None:
    wavs = clips([16000, 9000])
    once, again = (upstream(wavs)["hidden_states"] for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(once, again, strict=True))


@torch.no_grad()
def test_a_constant_number_of_states(upstream: Upstream) -> None:
    numbers = set()
    for train in (False, True):
        upstream.train(train)
        numbers |= {len(upstream(clips([n]))["hidden_states"]) for n in (800, 16000, 9999, 3000)}
    assert numbers == {upstream.net.config.num_layers + 1}


def test_gradients_when_it_is_trained_too(upstream: Upstream) -> None:
    wavs = clips([800, 16000, 3210])
    states = upstream.train()(wavs)["hidden_states"]
    torch.stack(states).square().mean().backward()
    gradients = {name: parameter.grad for name, parameter in upstream.named_parameters()}
    assert [name for name, gradient in gradients.items() if gradient is None] == ["net.mask_embed"]
    assert all(g.isfinite().all() and g.any() for g in gradients.values() if g is not None)


def test_normalisation_is_the_models() -> None:
    """A model of normalised audio does not hear how loud it is; one of plain audio does."""
    (wav,) = clips([16000])
    for same in (True, False):
        upstream = Upstream(random_hubert(replace(NET, **{**LARGE, "normalize_waveform": same})))
        with torch.no_grad():
            one, two = (upstream([w])["hidden_states"][-1] for w in (wav, 3 * wav + 1))
        assert torch.allclose(one, two, atol=1e-3) is same


@pytest.mark.parametrize("which", ["largest", "smallest", "arch"])
def test_a_subnet_of_a_supernet(files: Path, which: str) -> None:
    arch = {"largest": FEW.largest(), "smallest": FEW.smallest(), "arch": FEW.arch(ARCH)}[which]
    expected = random_supernet(FEW).sample(arch)
    found = lighthubert(files / "supernet.safetensors", str(files / "arch.yaml") if which == "arch" else which)
    assert not found.training
    assert found.net.config == expected.config
    assert all(torch.equal(a, b) for a, b in zip(found.net.parameters(), expected.parameters(), strict=True))


def test_a_supernet_of_one_needs_no_arch(tmp_path: Path) -> None:
    one = {"embed_dim": [32], "num_layers": [3], "num_heads": [4], "ffn_ratio": [2.0], "conv_channels": [[8] * 7]}
    lh.save(lh.Supernet(lh.SearchSpace.from_dict({**FEW.to_dict(), **one})), tmp_path / "one.safetensors")
    assert lighthubert(tmp_path / "one.safetensors").net.config.embed_dim == 32


@pytest.mark.parametrize(
    ("file", "arch", "message"),
    [
        ("none.pt", None, "none.pt: no such file or folder"),
        ("arch.yaml", None, "arch.yaml: neither a safetensors file nor one that torch.save wrote"),
        ("supernet.safetensors", None, "supernet.safetensors: a supernet: say which of its subnets, --arch ARCH.yaml"),
        ("net.safetensors", "largest", "net.safetensors: holds a single net, not a supernet"),
        ("supernet.safetensors", "none.yaml", "none.yaml"),
        ("supernet.safetensors", "wrong.yaml", "embed_dim"),
    ],
)
def test_what_cannot_be_evaluated(
    files: Path, file: str, arch: str | None, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(files)
    Path("wrong.yaml").write_text("embed_dim: 20\nnum_layers: 2\nnum_heads: 2\nffn_ratio: 2.0\nconv_channels: 4\n")
    with pytest.raises(UpstreamError, match=re.escape(message)) as caught:
        lighthubert(file, arch)
    assert str(caught.value).startswith(file)


def test_torch_hub(repo_root: Path, files: Path) -> None:
    upstream = torch.hub.load(str(repo_root), "lighthubert", source="local", ckpt=files / "net.safetensors")
    assert upstream.net.config == NET
