"""Write a subnet of a supernet as a standalone file."""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Sequence
from pathlib import Path

from lighthubert import cost
from lighthubert.checkpoint import read, save
from lighthubert.elastic import Arch, Space
from lighthubert.runtime.command import report_errors


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 2 and one line on stderr for a file, an arch or an output that cannot be used."""
    args = _parser().parse_args(argv)
    return report_errors(lambda: _extract(args))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="lighthubert extract", description=__doc__)
    parser.add_argument("checkpoint", type=Path, help="a supernet: any file that lighthubert.load reads as one")
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--arch", type=Path, metavar="YAML", help="the subnet's sizes, a YAML or JSON file")
    which.add_argument("--largest", action="store_true", help="the largest subnet of the supernet's space")
    which.add_argument("--smallest", action="store_true", help="the smallest subnet of the supernet's space")
    which.add_argument("--random", type=int, metavar="SEED", help="a random subnet")
    parser.add_argument("-o", "--output", type=Path, required=True, help="the safetensors file to write")
    parser.add_argument("--force", action="store_true", help="replace the output if it exists")
    return parser


def _extract(args: argparse.Namespace) -> None:
    if args.output.exists() and not args.force:
        raise ValueError(f"{args.output}: exists already; --force replaces it")
    supernet = read(args.checkpoint).supernet("there is no subnet to extract")
    arch = _arch(args, supernet.space)
    subnet = supernet.sample(arch)
    save(subnet, args.output)
    params, macs = cost.num_params(subnet.config), cost.macs(subnet.config)
    print(f"{args.output}: {args.output.stat().st_size / 1e6:.1f} MB")
    print(f"  {arch}")
    print(f"  {params:,} parameters, {macs / 1e9:.2f} G MACs for 10 s of audio")


def _arch(args: argparse.Namespace, space: Space) -> Arch:
    if args.arch:
        return space.arch(args.arch)
    if args.largest or args.smallest:
        return space.largest() if args.largest else space.smallest()
    return space.sample(random.Random(args.random))


if __name__ == "__main__":
    sys.exit(main())
