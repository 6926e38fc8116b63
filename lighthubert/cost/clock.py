"""Time that nets take on a device: of the whole net, or split where some of its modules are called."""

from __future__ import annotations

import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch

from lighthubert.models import SAMPLE_RATE, Hubert, HubertConfig, receptive_field
from lighthubert.runtime.errors import UserError
from lighthubert.schema import Checked, Count, Rule

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}
SECONDS = Rule("must be positive and finite", lambda x: 0 < x < float("inf"))
WARM = 2  # rounds that are not counted
FASTEST = 0.25  # share of the runs that count: other work only ever makes a run longer


@dataclass(frozen=True)
class Conditions(Checked):
    """How a net is run when its latency is measured: one clip, on a device of this machine."""

    device: Annotated[str, Rule("must be cpu or cuda", lambda x: x.split(":")[0] in ("cpu", "cuda"))] = "cpu"
    """cpu, cuda, cuda:1."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Of weights and audio."""
    threads: Count = 1
    """Of the CPU."""
    seconds: Annotated[float, SECONDS] = 10.0
    """Length of the clip."""

    def describe(self) -> dict[str, Any]:
        """What the time depends on beside the net. Raises ValueError for a device that this machine lacks."""
        return {"model": device_name(self.device), "torch": torch.__version__, **asdict(self)}

    def check(self, net: HubertConfig) -> None:
        """Raises ValueError for a clip that is shorter than a frame of the net."""
        if self.seconds * SAMPLE_RATE < (shortest := receptive_field(net)):
            raise UserError(f"seconds: one frame of the net needs {shortest / SAMPLE_RATE:g}, got {self.seconds:g}")


def device_name(device: str) -> str:
    """The model of a processor. Raises ValueError if torch sees no such device."""
    if device == "cpu":
        lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
        models = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
        model = models[0] if models else platform.processor() or platform.machine()
        return f"{model}, {torch.backends.cpu.get_cpu_capability()}"
    try:
        return torch.cuda.get_device_name(torch.device(device))
    except (RuntimeError, AssertionError) as error:  # torch without CUDA asserts
        raise UserError(f"device: {device}: torch cannot use it here ({str(error).splitlines()[0]})") from None


@torch.inference_mode()
def time_nets(nets: Sequence[Hubert], conditions: Conditions, rounds: int, seconds: float = float("inf"),
              splits: Sequence[Sequence[str]] = ()) -> list[np.ndarray]:  # fmt: skip
    """Milliseconds of every net: (rounds, 1), or (rounds, modules) with `splits`, modules of each net.

    A module's time lasts from its call to the call of the next, the first one's from the call of the net. All nets run
    once in each round, so that whatever slows the machine down for a while hits all alike. Rounds end early after
    `seconds`, but not before the fifth. The nets are converted in place.
    """
    conditions.describe()
    for net in nets:
        conditions.check(net.config)
    device, dtype = torch.device(conditions.device), PRECISIONS[conditions.precision]
    nets = [net.eval().to(device, dtype) for net in nets]
    # Noise, always the same. What a net computes does not matter, unless it were numbers so small that they are slow.
    samples = round(conditions.seconds * SAMPLE_RATE)
    waveform = 0.1 * torch.randn(1, samples, generator=torch.Generator().manual_seed(0))
    waveform = waveform.to(device, dtype)
    table: list[list[list[float]]] = [[] for _ in nets]
    with _threads(conditions.threads):
        start = time.perf_counter()
        for number in range(WARM + rounds):
            if number >= WARM + 5 and time.perf_counter() - start > seconds:
                break
            for i, net in enumerate(nets):
                times = _lap(net, waveform, splits[i] if splits else ())
                if number >= WARM:
                    table[i].append(times)
    return [np.array(rows) for rows in table]


@contextmanager
def _threads(number: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _lap(net: Hubert, waveform: torch.Tensor, modules: Sequence[str]) -> list[float]:
    """Milliseconds of one run: of the whole, or of each module in the order given."""
    # A net on one thread is not slower for being interrupted: its own time counts, not what it waited for others.
    own = time.thread_time if torch.get_num_threads() == 1 else time.perf_counter
    stamp = _stamp_cuda if waveform.is_cuda else own
    marks: list[tuple[str, Any]] = []

    def mark(module: str) -> Any:
        return lambda *_: marks.append((module, stamp()))

    hooks = [net.get_submodule(module).register_forward_pre_hook(mark(module)) for module in modules]
    try:
        if waveform.is_cuda:
            torch.cuda.synchronize(waveform.device)
        begin = stamp()
        net(waveform)
        end = stamp()
    finally:
        for hook in hooks:
            hook.remove()
    if waveform.is_cuda:
        torch.cuda.synchronize(waveform.device)
    names = [module for module, _ in marks] or ["net"]
    stamps = [begin, *(at for _, at in marks[1:]), end]
    times: Mapping[str, float] = {
        name: a.elapsed_time(b) if waveform.is_cuda else 1000 * (b - a)
        for name, a, b in zip(names, stamps[:-1], stamps[1:], strict=True)
    }
    return [times[module] for module in modules or names]


def _stamp_cuda() -> Any:
    event = torch.cuda.Event(enable_timing=True)
    event.record()
    return event


def typical(times: np.ndarray) -> np.ndarray:
    """(rounds, modules) -> (modules,), the mean of the fastest runs: whole runs, so that the parts of a net sum up to
    what the net takes. Sums of each module's own fastest runs are up to a tenth too small."""
    runs = np.argsort(times.sum(1))[: max(1, round(FASTEST * len(times)))]
    mean: np.ndarray = times[runs].mean(0)
    return mean
