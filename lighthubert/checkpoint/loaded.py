"""A file as it was read: commands hand it down, so that nobody looks at the file again."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from torch import Tensor, nn

from lighthubert.checkpoint.errors import CheckpointError
from lighthubert.elastic import Space, Supernet
from lighthubert.models import Hubert
from lighthubert.runtime.files import digest


@dataclass(frozen=True, eq=False)
class Loaded:
    """What a file holds.

    path: the name that it was read from, a bundle's too. net: in fp32, for evaluation. It stays as it was read: jobs
    train copies of it, so its digest does not depend on when it is asked for. task, head: what a net was fine-tuned
    for and the tensors of the head that does it, in fp32; None and nothing in other files.
    """

    path: str
    net: Hubert | Supernet
    task: dict[str, Any] | None = None
    head: dict[str, Tensor] = field(default_factory=dict)

    @property
    def hubert(self) -> Hubert:
        """The net; of a supernet, the one that holds the weights."""
        return self.net.hubert if isinstance(self.net, Supernet) else self.net

    @property
    def space(self) -> Space | None:
        """A supernet's."""
        return self.net.space if isinstance(self.net, Supernet) else None

    @property
    def predicts(self) -> dict[str, Any] | None:
        """What a supernet's heads predict, where the file says it."""
        return self.net.predicts if isinstance(self.net, Supernet) else None

    @cached_property
    def digest(self) -> str:
        """Hash of all weights of the net, a supernet's heads too."""
        return weights_digest(self.net)

    def supernet(self, otherwise: str) -> Supernet:
        """The net of a supernet's file. Raises CheckpointError for a single net, which says what this prevents."""
        if not isinstance(self.net, Supernet):
            raise CheckpointError(f"{self.path}: holds a single net, not a supernet; {otherwise}")
        return self.net


def weights_digest(net: nn.Module) -> str:
    """Hash of a net's weights."""
    return digest(p.detach().cpu().numpy().tobytes() for p in net.parameters())
