"""The patches: there while they are needed, gone afterwards, and computing what they replace."""

import importlib
import shutil
import sys
from argparse import Namespace
from pathlib import Path
from pickle import UnpicklingError

import pytest
import soundfile
import torch
import torchaudio

from lighthubert import load_audio
from lighthubert.data import MINI
from lighthubert.superb import compat

CLIP = next(MINI.rglob("*.ogg"))


def test_undone() -> None:
    before = {name: vars(torchaudio).get(name) for name in ("load", "set_audio_backend", "sox_effects")}
    cuda, modules = torch.Tensor.cuda, set(sys.modules)
    with pytest.raises(KeyError), compat.patched():
        raise KeyError("an error inside")
    assert before == {name: vars(torchaudio).get(name) for name in before}
    assert torch.Tensor.cuda is cuda
    assert not {"catalyst", "torchaudio.sox_effects"} & (set(sys.modules) - modules)


def test_what_is_there_is_left_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(torchaudio, "set_audio_backend", print, raising=False)
    monkeypatch.setattr(torchaudio, "info", print, raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    (tmp_path / "catalyst.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(compat, "find_spec", lambda name: name)
    with compat.patched() as patches:
        assert patches == []


def test_every_patch_has_its_reason() -> None:
    with compat.patched() as patches:
        assert all(len(patch.reason) > 20 for patch in patches)


def test_what_s3prl_imports_and_calls() -> None:
    with compat.patched():
        torchaudio.set_audio_backend("sox_io")
        effects = importlib.import_module("torchaudio.sox_effects")
        importlib.import_module("catalyst.data.sampler")
        waveform, rate = torchaudio.load(CLIP)
        louder, _ = effects.apply_effects_file(CLIP, [["channels", "1"], ["rate", "16000"], ["gain", "-3.0"]])
    assert rate == 16000
    torch.testing.assert_close(waveform, load_audio(CLIP)[None])
    torch.testing.assert_close(louder, 10 ** (-3 / 20) * waveform)


def test_parts_of_a_file() -> None:
    whole, _ = compat.load(CLIP)
    part, _ = compat.load(CLIP, frame_offset=100, num_frames=50, channels_first=False)
    assert torch.equal(part, whole[:, 100:150].T)
    with pytest.raises(NotImplementedError, match="normalize=False"):
        compat.load(CLIP, normalize=False)


def test_effects(tmp_path: Path) -> None:
    samples = 0.1 * torch.randn(4000, 2, generator=torch.Generator().manual_seed(0))
    soundfile.write(tmp_path / "stereo.wav", samples.numpy(), 8000, subtype="FLOAT")
    found, rate = compat.apply_effects_file(tmp_path / "stereo.wav", [["channels", "1"], ["rate", "16000"]])
    assert (rate, found.shape) == (16000, (1, 8000))
    torch.testing.assert_close(found[0], load_audio(tmp_path / "stereo.wav"), rtol=0, atol=1e-4)
    with pytest.raises(NotImplementedError, match="'reverb 50' is not reproduced"):
        compat.apply_effects_tensor(found, 16000, [["reverb", "50"]])


def test_silence_is_cut_by_sox() -> None:
    """Of a second of noise between two of nothing, the second is left, but for the 0.1 s that sox keeps or needs."""
    if shutil.which("sox") is None:
        pytest.skip("no program sox")
    noise = 0.1 * torch.randn(16000, generator=torch.Generator().manual_seed(0))
    samples = torch.cat([torch.zeros(16000), noise, torch.zeros(16000)])[None]
    effect = [["silence", "1", "0.1", "0.1%", "-1", "0.1", "0.1%"]]  # what speaker verification asks for
    found, _ = compat.apply_effects_tensor(samples, 16000, effect)
    assert 16000 <= found.shape[1] <= 16000 + 2 * 1600
    torch.testing.assert_close(found[0, :16000], noise, rtol=0, atol=1e-7)
    empty, _ = compat.apply_effects_tensor(torch.zeros(1, 16000), 16000, effect)
    assert empty.shape == (1, 0)


def test_silence_without_sox(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(compat.shutil, "which", lambda _: None)
    compat._warn_of_silence.cache_clear()
    samples = torch.zeros(1, 16000)
    for _ in range(2):
        assert compat.apply_effects_tensor(samples, 16000, [["silence", "1", "0.1", "0.1%"]])[0].shape == (1, 16000)
    assert [record.message[:15] for record in caplog.records] == ["no program sox:"]


def test_a_tasks_checkpoint_can_be_read(tmp_path: Path) -> None:
    torch.save({"Args": Namespace(mode="train"), "Step": 3}, tmp_path / "states-3.ckpt")
    with compat.patched():
        assert torch.load(tmp_path / "states-3.ckpt")["Args"] == Namespace(mode="train")
    with pytest.raises(UnpicklingError):
        torch.load(tmp_path / "states-3.ckpt")


def test_cuda_where_there_is_none() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is")
    with compat.patched():
        tensor = torch.zeros(1)
        assert tensor.cuda() is tensor
