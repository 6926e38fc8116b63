"""A graph as files of onnxruntime, OpenVINO and torch, each proven before it is there."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from lighthubert.export.graph import INPUTS, Graph, program
from lighthubert.export.prove import Run


def write_onnx(graph: Graph, folder: Path) -> Run:
    """model.onnx, and how onnxruntime runs it."""
    import onnxruntime

    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it warns that torchvision is not here
    path, outputs = folder / "model.onnx", graph.outputs
    made = torch.onnx.export(program(graph), dynamo=True, input_names=list(INPUTS), output_names=outputs, verbose=False)
    assert made is not None
    made.save(path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def run(*inputs: np.ndarray) -> dict[str, np.ndarray]:
        return dict(zip(outputs, session.run(outputs, dict(zip(INPUTS, inputs, strict=True))), strict=True))

    return run


def write_openvino(graph: Graph, folder: Path) -> Run:
    """model.xml and model.bin, and how OpenVINO runs them in fp32."""
    import openvino

    model = openvino.convert_model(program(graph))
    for port, name in zip((*model.inputs, *model.outputs), (*INPUTS, *graph.outputs), strict=True):
        port.get_tensor().set_names({name})
    openvino.save_model(model, folder / "model.xml", compress_to_fp16=False)
    compiled = openvino.compile_model(folder / "model.xml", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

    def run(*inputs: np.ndarray) -> dict[str, np.ndarray]:
        found = compiled(dict(zip(INPUTS, inputs, strict=True)))
        return {name: found[name] for name in graph.outputs}

    return run


def write_torch(graph: Graph, folder: Path) -> Run:
    """model.pt2, a program of torch.export."""
    torch.export.save(program(graph), folder / "model.pt2")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given buffer is not writable")  # torch's own way to read its file
        module = torch.export.load(folder / "model.pt2").module()

    def run(*inputs: np.ndarray) -> dict[str, np.ndarray]:
        return {name: value.numpy() for name, value in module(*map(torch.from_numpy, inputs)).items()}

    return run


Write = Callable[[Graph, Path], Run]
FORMATS: dict[str, Write] = {"onnx": write_onnx, "openvino": write_openvino, "torch": write_torch}
