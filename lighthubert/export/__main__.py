"""Write a net as a folder for onnxruntime, OpenVINO or torch.export, and prove that it computes the same."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from lighthubert.checkpoint import Loaded, read
from lighthubert.models import Hubert
from lighthubert.runtime.command import report_errors
from lighthubert.runtime.errors import UserError
from lighthubert.tasks.model import TaskModel


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 2 and one line on stderr for a file, an arch or a folder that cannot be used."""
    args = _parser().parse_args(argv)

    def work() -> None:
        from lighthubert.export.folder import write  # torch.export takes a second to import

        measured = write(_net(read(args.checkpoint), args), args.output, args.to, args.layers)
        print(f"{args.output}: {measured}")

    return report_errors(work)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="lighthubert export", description=__doc__)
    parser.add_argument("checkpoint", type=Path, help="any file or folder that lighthubert.load reads")
    parser.add_argument("-o", "--output", type=Path, required=True, help="the folder to write")
    parser.add_argument("--to", choices=("onnx", "openvino", "torch"), required=True, help="for which program")
    parser.add_argument("--arch", type=Path, metavar="YAML", help="a subnet of a supernet")
    parser.add_argument("--task", action="store_true", help="a fine-tuned net with its head: logits, not hidden states")
    parser.add_argument("--layers", type=int, nargs="+", default=(), metavar="N",
                        help="hidden states beside the last one; 0 is the front-end's")  # fmt: skip
    return parser


def _net(file: Loaded, args: argparse.Namespace) -> Hubert | TaskModel:
    if args.task:
        if args.arch:
            raise UserError("--arch: a fine-tuned net is no supernet")
        return TaskModel.load(file)
    if args.arch:
        supernet = file.supernet("there is no subnet to export (--arch)")
        return supernet.sample(supernet.space.arch(args.arch))
    if file.space is not None:
        raise UserError(f"{file.path}: holds a supernet; --arch says which subnet")
    return file.hubert


if __name__ == "__main__":
    sys.exit(main())
