"""Parameters, MACs and latency of a net, on this machine."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from lighthubert import cost
from lighthubert.checkpoint import read
from lighthubert.cost.clock import time_nets, typical
from lighthubert.cost.latency import blocks
from lighthubert.models import SAMPLE_RATE, Hubert
from lighthubert.runtime.command import report_errors
from lighthubert.runtime.tables import print_table

ROUNDS, SECONDS = 30, 60.0  # whichever ends first, but five rounds


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 2 and one line on stderr for a file, an arch or a device that cannot be used."""
    args = _parser().parse_args(argv)

    def profile() -> None:
        conditions = cost.Conditions(args.device, args.precision, args.threads, args.seconds)
        print_profile(_nets(args.checkpoint, args.arch), conditions)

    return report_errors(profile)


def _parser() -> argparse.ArgumentParser:
    usual = cost.Conditions()
    parser = argparse.ArgumentParser(prog="lighthubert profile", description=__doc__)
    parser.add_argument("checkpoint", type=Path, help="any file or folder that lighthubert.load reads")
    parser.add_argument("--arch", type=Path, metavar="YAML",
                        help="a subnet of a supernet; without it, the largest and the smallest")  # fmt: skip
    parser.add_argument("--precision", default=usual.precision, help=f"{', '.join(cost.PRECISIONS)} (fp32)")
    parser.add_argument("--device", default=usual.device, help="cpu or cuda (cpu)")
    parser.add_argument("--threads", type=int, default=usual.threads, help="of the CPU (1)")
    parser.add_argument("--seconds", type=float, default=usual.seconds, help="length of the clip (10)")
    return parser


def _nets(checkpoint: Path, arch: Path | None) -> dict[str, Hubert]:
    """The nets of a file, by what they are called in the table."""
    file = read(checkpoint)
    if file.space is None and not arch:
        return {checkpoint.stem: file.hubert}
    supernet = file.supernet("there is no subnet to choose (--arch)")
    archs = {arch.stem: supernet.space.arch(arch)} if arch else {
        "largest": supernet.space.largest(), "smallest": supernet.space.smallest()}  # fmt: skip
    return {name: supernet.sample(values) for name, values in archs.items()}


def print_profile(nets: dict[str, Hubert], conditions: cost.Conditions) -> None:
    """A table of the nets, whole and in parts."""
    described = conditions.describe()
    splits = [[block.module for block in blocks(net.config)] for net in nets.values()]
    times = time_nets(list(nets.values()), conditions, ROUNDS, SECONDS, splits)
    samples = round(conditions.seconds * SAMPLE_RATE)
    rows = []
    for (name, net), modules, table in zip(nets.items(), splits, times, strict=True):
        spent = dict(zip(modules, typical(table), strict=True))
        for part in cost.PARTS:
            ms = sum(time for module, time in spent.items() if cost.in_part(f"{module}.", part))
            rows.append((
                name if part == "all" else f"  {part}",
                f"{cost.num_params(net.config, part=part) / 1e6:.3f}",
                f"{cost.macs(net.config, samples, part=part) / 1e9:.3f}",
                f"{ms:.2f}",
                f"{1000 * conditions.seconds / ms:.0f}" if part == "all" else "",
            ))  # fmt: skip
    title = (f"{described['model']}, torch {described['torch']}: a clip of {conditions.seconds:g} s, "
             f"{conditions.precision}, {conditions.threads} thread{'s' * (conditions.threads > 1)}")  # fmt: skip
    print_table(title, ("", "M parameters", "GMACs", "ms", "x real time"), rows)


if __name__ == "__main__":
    sys.exit(main())
