"""The folder of an export: the graph, config.json, the vocabulary, and a card whose example was run."""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import torch

from lighthubert import cost
from lighthubert.cost.clock import device_name
from lighthubert.export.formats import FORMATS
from lighthubert.export.graph import INPUTS, Graph
from lighthubert.export.prove import ExportError, Run, prove
from lighthubert.models import SAMPLE_RATE, Hubert, receptive_field
from lighthubert.runtime.errors import UserError
from lighthubert.runtime.files import write_text
from lighthubert.tasks.model import TaskModel

ROUNDS, SECONDS = 5, 10  # of the clip that is timed


@dataclass(frozen=True)
class Measured:
    """error: largest difference of an output from the net's, in its standard deviations. ms, torch_ms: median time for
    a clip of 10 s, of the graph and of the net in torch, each with its own number of threads. bytes: of the graph."""

    error: float
    ms: float
    torch_ms: float
    bytes: int

    def __str__(self) -> str:
        return (f"{self.bytes / 1e6:.1f} MB, at most {self.error:.1e} of an output's deviation from the net, "
                f"{self.ms:.0f} ms for a clip of {SECONDS} s (torch {self.torch_ms:.0f} ms)")  # fmt: skip


def write(net: Hubert | TaskModel, folder: Path, to: str, layers: Sequence[int]) -> Measured:
    """Make the folder, or leave nothing."""
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise UserError(f"{folder}: exists already and is not an empty folder")
    graph = Graph(net, layers).eval()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as name:
        part = Path(name) / folder.name
        part.mkdir()
        try:
            run = FORMATS[to](graph, part)
        except ImportError as error:
            raise UserError(f"{to}: {error}: pip install 'lighthubert[export]'") from None
        size = sum(path.stat().st_size for path in part.iterdir())
        measured = Measured(prove(graph, run, to), *_times(graph, run), size)
        _describe(graph, part)
        write_text(part / "README.md", _card(graph, part, to, measured))
        if folder.exists():
            folder.rmdir()
        shutil.move(part, folder)
    return measured


@torch.no_grad()
def _times(graph: Graph, run: Run) -> tuple[float, float]:
    """Median milliseconds of the graph and of the net, in turns."""
    waveform = np.random.default_rng(0).normal(0, 0.1, (1, SECONDS * SAMPLE_RATE)).astype(np.float32)
    tensor, lengths = torch.from_numpy(waveform), np.array([waveform.shape[1]])
    calls: list[Callable[[], object]] = [lambda: run(waveform, lengths), lambda: graph.model(tensor)]
    times: list[list[float]] = [[], []]
    for _ in range(ROUNDS + 1):
        for call, kept in zip(calls, times, strict=True):
            start = time.perf_counter()
            call()
            kept.append(1000 * (time.perf_counter() - start))
    ours, torchs = (statistics.median(kept[1:]) for kept in times)  # the first warms up
    return ours, torchs


def _describe(graph: Graph, folder: Path) -> None:
    """config.json, and vocab.json where the outputs are tokens or classes."""
    settings: dict[str, object] = {
        "sample_rate": SAMPLE_RATE,
        "samples_of_a_frame": receptive_field(graph.config),
        "samples_between_frames": graph.config.hop,
        "inputs": list(INPUTS),
        "outputs": graph.outputs,
        "net": graph.config.to_dict(),
    }
    if isinstance(graph.model, TaskModel):
        settings["task"] = graph.model.task.kind
        vocabulary = {name: i for i, name in enumerate(graph.model.vocabulary.names)}
        write_text(folder / "vocab.json", json.dumps(vocabulary, ensure_ascii=False, indent=1) + "\n")
    write_text(folder / "config.json", json.dumps(settings, indent=1) + "\n")


def _card(graph: Graph, folder: Path, to: str, measured: Measured) -> str:
    """README.md, with the example and what it printed in a process of its own."""
    example = EXAMPLES[to]
    done = subprocess.run([sys.executable, "-c", example], cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ExportError(f"{to}: the example of the card fails: {done.stderr.strip().splitlines()[-1]}")
    what = "fine-tuned HuBERT" if isinstance(graph.model, TaskModel) else "HuBERT"
    machine = f"{device_name('cpu')}, {torch.get_num_threads()} threads, torch {torch.__version__}"
    return f"""# A {what} for {to}

{cost.num_params(graph.config):,} parameters, {cost.macs(graph.config) / 1e9:.2f} GMACs for 10 s of audio.
{measured}.
Compared and timed on {date.today()}: {machine}.

Audio is float32 at 16 kHz, one channel, as it is: the graph normalises it where the net wants that. `input_lengths`
counts each clip's samples; what is behind them changes nothing. Without lighthubert:

```python
{example.strip()}
```

prints

```
{done.stdout.strip()}
```
"""


def _example(load: str, call: str) -> str:
    return f"""
import numpy as np
{load}
clips = np.zeros((1, 16000), np.float32)  # soundfile.read("clip.wav", dtype="float32")[0][None]
inputs = {{"input_values": clips, "input_lengths": np.array([16000])}}
for name, value in {call}:
    print(name, tuple(value.shape))
"""


EXAMPLES = {
    "onnx": _example(
        'import onnxruntime\n\nnet = onnxruntime.InferenceSession("model.onnx")',
        "zip([output.name for output in net.get_outputs()], net.run(None, inputs))",
    ),
    "openvino": _example(
        'import openvino\n\nnet = openvino.compile_model("model.xml", "CPU")',
        "[(output.any_name, value) for output, value in net(inputs).items()]",
    ),
    "torch": _example(
        'import torch\n\nnet = torch.export.load("model.pt2").module()',
        "net(*map(torch.from_numpy, inputs.values())).items()",
    ),
}
