"""Nets for onnxruntime, OpenVINO and torch.export: a folder with the graph, its settings and a card.

Each function writes the folder only after the graph was compared with the net (`prove`), and gives what it measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lighthubert.export.folder import Measured
    from lighthubert.models import Hubert
    from lighthubert.tasks.model import TaskModel

__all__ = ["to_onnx", "to_openvino", "to_torch"]


def to_onnx(net: Hubert | TaskModel, folder: str | Path, layers: Sequence[int] = ()) -> Measured:
    """Write model.onnx for onnxruntime.

    Inputs: input_values (B, S) float32 at 16 kHz, input_lengths (B,) int64 valid samples; any number of clips, from
    one frame's samples upwards. Outputs of a net: last_hidden_state (B, T, E), hidden_states.N for each of `layers` (0
    is the front-end), lengths (B,) valid frames; of a fine-tuned net: logits, and lengths for CTC.
    Raises ExportError if the graph disagrees with the net by 1e-4 of an output's deviation, UserError for a folder that
    is not empty or a library that is missing.
    """
    return _write(net, folder, "onnx", layers)


def to_openvino(net: Hubert | TaskModel, folder: str | Path, layers: Sequence[int] = ()) -> Measured:
    """Write model.xml and model.bin for OpenVINO, in fp32; the rest as `to_onnx`."""
    return _write(net, folder, "openvino", layers)


def to_torch(net: Hubert | TaskModel, folder: str | Path, layers: Sequence[int] = ()) -> Measured:
    """Write model.pt2, which torch.export.load reads without lighthubert; the rest as `to_onnx`."""
    return _write(net, folder, "torch", layers)


def _write(net: Hubert | TaskModel, folder: str | Path, to: str, layers: Sequence[int]) -> Measured:
    from lighthubert.export.folder import write  # torch.export takes a second to import

    return write(net, Path(folder), to, layers)
