"""lighthubert: the once-for-all framework for speech representation models."""

from lighthubert.runtime import process

process.start()  # before torch, which takes seconds

# ruff: noqa: E402
from lighthubert import cost
from lighthubert.checkpoint import load, save
from lighthubert.data.audio import load_audio
from lighthubert.elastic import Arch, SearchSpace, Subnet, Supernet
from lighthubert.export import to_onnx, to_openvino, to_torch
from lighthubert.models import Hubert, HubertConfig, HubertOutput
from lighthubert.search import find

__all__ = [
    "Arch",
    "Hubert",
    "HubertConfig",
    "HubertOutput",
    "SearchSpace",
    "Subnet",
    "Supernet",
    "cost",
    "find",
    "load",
    "load_audio",
    "save",
    "to_onnx",
    "to_openvino",
    "to_torch",
]
