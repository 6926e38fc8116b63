"""A net as s3prl's tasks want it: a list of clips in, a list of hidden states out."""

# B clips, S samples, T frames, E embed

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from lighthubert.checkpoint import Loaded, read
from lighthubert.models import Hubert, receptive_field
from lighthubert.runtime.errors import UserError


class UpstreamError(UserError):
    """A checkpoint or an arch that cannot be evaluated."""


class Upstream(nn.Module):
    """The interface that s3prl asks of an upstream, in its runner and in its `S3PRLUpstream`."""

    def __init__(self, net: Hubert) -> None:
        super().__init__()
        self.net = net

    def get_downsample_rates(self, key: str) -> int:
        """Samples per frame."""
        return self.net.config.hop

    def forward(self, wavs: Sequence[Tensor]) -> dict[str, list[Tensor]]:
        """wavs: clips (S,) at 16 kHz -> "hidden_states": the front-end's projection, then each layer, all (B, T, E).

        A model of normalised audio normalises each clip by itself. Clips shorter than one frame are heard with silence
        behind them. Frames past a clip's end repeat its last one: s3prl rounds lengths up and hands some of them to
        its tasks, and so a clip looks the same in every batch.
        """
        shortest = receptive_field(self.net.config)
        lengths = torch.tensor([max(len(wav), shortest) for wav in wavs], device=wavs[0].device)
        waveform = pad_sequence(list(wavs), batch_first=True)
        waveform = nn.functional.pad(waveform, (0, max(0, shortest - waveform.shape[1])))
        output = self.net(waveform, lengths)
        num_frames = output.last_hidden_state.shape[1]
        frames = torch.arange(num_frames, device=lengths.device).minimum(output.lengths[:, None] - 1)  # (B, T)
        clips = torch.arange(len(wavs), device=lengths.device)[:, None]
        return {"hidden_states": [state[clips, frames] for state in output.hidden_states]}


def lighthubert(ckpt: str | Path, model_config: str | Path | Mapping[str, Any] | None = None, **_: Any) -> Upstream:
    """The upstream of a checkpoint, under the names of arguments that s3prl and torch.hub use.

    ckpt: any file or folder that `lighthubert.load` reads. model_config: which subnet of a supernet, "largest",
    "smallest", the YAML or JSON file of an arch, or its keys; None for a single net. s3prl's further arguments
    (refresh) say nothing here. Raises UpstreamError.
    """
    try:
        return Upstream(chosen(read(ckpt), model_config)).eval()
    except (ValueError, OSError) as error:
        raise UpstreamError(str(error)) from error


def chosen(file: Loaded, arch: str | Path | Mapping[str, Any] | None) -> Hubert:
    """The net of a file, or the subnet of its supernet that this names. Raises ValueError that names the file."""
    if file.space is None and arch is None:
        return file.hubert
    supernet = file.supernet(f"there is no subnet to choose (--arch {arch})")
    space = supernet.space
    try:
        if arch is None and space.num_archs > 1:
            raise ValueError(
                "a supernet: say which of its subnets, --arch ARCH.yaml, --arch largest or --arch smallest"
            )
        if arch in (None, "largest"):
            return supernet.sample(space.largest())
        return supernet.sample(space.smallest() if arch == "smallest" else arch)
    except (ValueError, OSError) as error:
        raise UpstreamError(f"{file.path}: {error}") from error
