"""The supernet: one HuBERT that holds the weights, and the space of its subnets."""

from __future__ import annotations

import functools
import random
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.func import functional_call

from lighthubert.elastic.space import Space
from lighthubert.elastic.subnet import Subnet, extract, select, select_checked, skeleton
from lighthubert.models import Arch, Hubert, HubertConfig, HubertOutput


class _Skeletons(threading.local):
    """Nets without storage, by their sizes. One cache per thread, since functional_call fills them for its duration."""

    def __init__(self) -> None:
        self.of = functools.lru_cache(maxsize=16)(skeleton)


_skeletons = _Skeletons()


def run_subnet(hubert: Hubert, subnet: Subnet, waveform: Tensor, lengths: Tensor | None = None,
               mask: Tensor | None = None, channel_mask: Tensor | None = None) -> HubertOutput:  # fmt: skip
    """The outputs of a subnet, with gradients into the weights of `hubert`; arguments and errors as in Hubert."""
    net = _skeletons.of(subnet.config(hubert.config)).train(hubert.training)
    net.encoder.recompute = hubert.encoder.recompute
    params = select_checked(dict(hubert.named_parameters()), subnet, hubert.config)
    return functional_call(net, params, (waveform, lengths, mask, channel_mask), strict=True)


class Supernet(nn.Module):
    """The weights of `space.parent` and every subnet of them (LightHuBERT, Wang et al. 2022).

    `hubert` holds the weights. `head` maps a subnet's states to what it was distilled from: Linear(parent's embed_dim,
    target width) by name, "last" for the last state or a layer's number; `predicts` says what that is.
    """

    def __init__(self, space: Space) -> None:
        super().__init__()
        self.space = space
        self.hubert = Hubert(space.parent)
        self.head = nn.ModuleDict()
        self.predicts: dict[str, Any] | None = None

    @property
    def config(self) -> HubertConfig:
        return self.hubert.config

    def forward(
        self, waveform: Tensor, lengths: Tensor | None, arch: Arch | Subnet, mask: Tensor | None = None
    ) -> HubertOutput:
        """The outputs of one subnet, with gradients into the shared weights; arguments and errors as in Hubert."""
        return run_subnet(self.hubert, self.subnet(arch), waveform, lengths, mask)

    def subnet(self, arch: Arch | Subnet) -> Subnet:
        return arch if isinstance(arch, Subnet) else self.space.subnet(arch)

    def predict(self, state: Tensor, subnet: Subnet, key: str = "last") -> Tensor:
        """A subnet's state (B, T, E) -> the prediction of what `head[key]` learned (B, T, target width)."""
        (weight,) = select(dict(self.head[key].named_parameters(prefix="head")), subnet, self.config).values()
        return nn.functional.linear(state, weight)

    def sample(
        self, config: Arch | Mapping[str, Any] | str | Path | None = None, *, rng: random.Random | None = None
    ) -> Hubert:
        """One subnet as a standalone net with its own storage; its config keeps the arch.

        config: an Arch, a mapping, a YAML or JSON file, or None for a random one drawn with `rng`.
        Raises ValueError that says which value breaks which rule of the space.
        """
        arch = self.space.sample(rng or random.Random()) if config is None else self.space.arch(config)
        return extract(self.hubert, self.space.subnet(arch))

    def __repr__(self) -> str:
        head = f", head={list(self.head)}" if self.head else ""
        return f"Supernet(\n  {self.space!r},\n  {self.hubert!r}{head}\n)"
