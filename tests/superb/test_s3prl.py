"""Our upstream inside s3prl: its own interface, its own conformance test, and its bundled LightHuBERT."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import oracle
import pytest
import torch
from tiny import FEW, random_supernet
from torch import Tensor

from lighthubert.config import write_yaml
from lighthubert.superb.upstream import lighthubert

TOLERANCE = 2e-5  # of a state's deviation


def assert_near(found: Tensor, expected: Tensor) -> None:
    scale = expected.std(correction=0).item()
    torch.testing.assert_close(found, expected, rtol=0, atol=TOLERANCE * scale)


@pytest.mark.parametrize("arch", ["largest", "smallest"])
@torch.no_grad()
def test_through_s3prls_interface(s3prl: ModuleType, files: Path, arch: str) -> None:
    path = str(files / "supernet.safetensors")
    upstream = s3prl.S3PRLUpstream("lighthubert", path, extra_conf={"model_config": arch}).eval()
    net = random_supernet(FEW).sample(getattr(FEW, arch)()).eval()
    assert upstream.num_layers == net.config.num_layers + 1
    assert set(upstream.hidden_sizes) == {net.config.embed_dim}
    assert set(upstream.downsample_rates) == {320}

    lengths = torch.tensor([16000, 800, 4800])
    waveform = torch.randn(3, 16000, generator=torch.Generator().manual_seed(0))
    states, num_frames = upstream(waveform, lengths)
    assert num_frames[0].tolist() == [50, 3, 15]  # rounded up; the receptive field leaves 49, 2, 14
    for row, samples in enumerate(lengths.tolist()):
        expected = net(waveform[row : row + 1, :samples]).hidden_states
        for found, state in zip(states, expected, strict=True):
            frames = state.shape[1]
            assert_near(found[row, :frames], state[0])
            assert torch.equal(found[row, frames], found[row, frames - 1])
    mixed, _ = s3prl.Featurizer(upstream)(states, num_frames)
    assert_near(mixed, torch.stack(list(states)).mean(0))  # its weights start equal


def test_s3prls_own_upstream_test(
    s3prl: ModuleType, package: Path, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It names an upstream without a checkpoint, and compares with states that it finds in a file."""
    path = package.parent / "test" / "test_upstream.py"
    if not path.is_file():
        pytest.skip("only a git checkout of s3prl (S3PRL_ROOT) holds its tests")
    spec = importlib.util.spec_from_file_location("s3prl_test_upstream", path)
    assert spec is not None
    assert spec.loader is not None
    theirs = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(theirs)
    monkeypatch.setattr(sys.modules["s3prl.hub"], "ours", lambda **_: lighthubert(files / "net.safetensors"), False)
    monkeypatch.setattr(theirs, "EXTRACTED_GT_DIR", tmp_path)
    torch.save(theirs._extract_feat(s3prl.S3PRLUpstream("ours").eval()), tmp_path / "ours.pt")
    theirs._test_specific_upstream("ours")


@torch.no_grad()
def test_what_a_task_is_handed(s3prl: ModuleType, files: Path) -> None:
    """The runner's featurizer, which is another one: a clip's frames are the same beside longer clips as alone."""
    upstream = lighthubert(files / "net.safetensors")
    featurizer = sys.modules["s3prl.upstream.interfaces"].Featurizer(upstream, upstream_device="cpu")
    featurizer.weights.copy_(torch.tensor([0.3, -1.0, 0.5, 2.0]))
    lengths = [24001, 800, 16000, 4799, 35 * 16000]
    wavs = [0.1 * torch.randn(n, generator=torch.Generator().manual_seed(n)) + 0.3 for n in lengths]
    together = featurizer(wavs, upstream(wavs))
    assert [len(frames) for frames in together] == [75, 2, 50, 15, 1749]  # rounded; the longest has no frame to spare
    for wav, frames in zip(wavs, together, strict=True):
        (alone,) = featurizer([wav], upstream([wav]))
        assert frames.isfinite().all()
        assert_near(frames[: len(alone)], alone)  # a clip alone has no frames past its end
        assert len(frames) - len(alone) in (0, 1)


@pytest.mark.filterwarnings("ignore:.*weight_norm. is deprecated:FutureWarning")  # in s3prl's model
@pytest.mark.parametrize(
    ("name", "mode", "space"),
    [
        ("hubert_pruner", "default", "small"),
        ("hubert_pruner", "layer_norm", "base"),
        ("student_hubert", "layer_norm", "small"),
    ],
)
def test_a_released_file_gives_what_s3prls_lighthubert_gives(
    s3prl: ModuleType, tmp_path: Path, name: str, mode: str, space: str
) -> None:
    """Its bundled model runs one subnet of stage 2's file, and the whole net of stage 1's. Single clips: in a batch it
    lets padding be heard. Both normalise the clip: it is quiet and far from 0."""
    model = {"_name": name, "extractor_mode": mode, "pruner_supernet": f"{space}.yaml"}
    oracle.write_released(tmp_path / "released.pt", oracle.state_dict(mode), model)
    arch = tmp_path / "arch.yaml"
    write_yaml(arch, oracle.S3PRL_ARCHS[space])

    theirs = sys.modules["s3prl.hub"].lighthubert_local(str(tmp_path / "released.pt")).eval()
    ours = lighthubert(tmp_path / "released.pt", arch if name == "hubert_pruner" else None)
    for samples in (9000, 16000):
        wav = 0.1 * torch.randn(samples, generator=torch.Generator().manual_seed(samples)) + 0.05
        with torch.no_grad():
            expected, found = (upstream([wav])["hidden_states"] for upstream in (theirs, ours))
        assert len(found) == len(expected) == 13
        for one, other in zip(found, expected, strict=True):
            assert_near(one, other)
