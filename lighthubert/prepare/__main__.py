"""Make manifests of audio, and the project's own corpora."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from lighthubert.data import ManifestError
from lighthubert.prepare import debian, folder, librispeech, mini, phones, slurp
from lighthubert.prepare.debian import SOURCES
from lighthubert.prepare.report import PrepareError
from lighthubert.runtime.command import report_errors


def sources(value: str) -> list[str]:
    names = value.split(",")
    if unknown := [name for name in names if name not in SOURCES]:
        raise argparse.ArgumentTypeError(f"no source is called {', '.join(unknown)}; there are {', '.join(SOURCES)}")
    return names


def count(value: str) -> int:
    number = int(value)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be 1 or more, not {number}")
    return number


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lighthubert prepare",
        description="Make manifests: tables of audio files with their lengths at 16 kHz. The audio stays where it is. "
        "Every file that cannot be used is named with the reason.",
        epilog="Exit codes: 0 a manifest was written, 2 none was (the message says why).",
    )
    jobs = argparse.ArgumentParser(add_help=False)
    jobs.add_argument("--jobs", type=count, default=os.cpu_count() or 1, help="threads (default: one a core)")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    command = commands.add_parser("folder", parents=[jobs], help="any folder of audio")
    command.add_argument("folder", type=Path, metavar="DIR", help="searched with all folders below it")
    command.add_argument("--out", type=Path, required=True, metavar="MANIFEST.tsv")
    command.set_defaults(run=lambda a: folder.prepare_folder(a.folder, a.out, a.jobs))

    command = commands.add_parser("librispeech", parents=[jobs], help="LibriSpeech, one manifest a subset")
    command.add_argument(
        "root", type=Path, metavar="ROOT", help="the unpacked LibriSpeech folder, or the one around it"
    )
    command.add_argument("--out", type=Path, required=True, metavar="DIR")
    command.set_defaults(run=lambda a: librispeech.prepare_librispeech(a.root, a.out, a.jobs))

    command = commands.add_parser("slurp", parents=[jobs], help="SLURP, with intents, one manifest a subset")
    command.add_argument("root", type=Path, metavar="ROOT", help="its repository, with audio/ unpacked in it")
    command.add_argument("--out", type=Path, required=True, metavar="DIR")
    command.set_defaults(run=lambda a: slurp.prepare_slurp(a.root, a.out, a.jobs))

    add_own_corpora(commands, jobs)
    return parser


def add_own_corpora(commands: Any, jobs: argparse.ArgumentParser) -> None:
    """The commands that make this project's own corpora."""
    command = commands.add_parser(
        "debian", parents=[jobs], help="11 hours of speech from Debian packages", description=debian.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    command.add_argument("--root", type=Path, required=True, metavar="DIR", help="where the packages are unpacked")
    command.add_argument("--out", type=Path, required=True, metavar="DIR", help="the corpus")
    command.add_argument("--download", action="store_true", help="fetch and unpack the packages into ROOT first")
    command.add_argument("--only", type=sources, default=list(SOURCES), metavar="SOURCE,...",
                         help=f"of {', '.join(SOURCES)} (default: all)")  # fmt: skip
    command.set_defaults(run=lambda a: debian.prepare_debian(a.root, a.out, a.only, a.download, a.jobs))

    command = commands.add_parser("mini", parents=[jobs], help="the embedded mini corpus", description=mini.__doc__)
    command.add_argument("--corpus", type=Path, required=True, metavar="DIR", help="what `prepare debian` made")
    command.add_argument("--out", type=Path, required=True, metavar="DIR")
    command.set_defaults(run=lambda a: mini.prepare_mini(a.corpus, a.out, a.jobs))

    command = commands.add_parser("phones", help="phones of English clips, for probes", description=phones.__doc__)
    command.add_argument("--corpus", type=Path, required=True, metavar="DIR", help="what `prepare debian` made")
    command.add_argument("--out", type=Path, required=True, metavar="MANIFEST.tsv")
    command.add_argument("--only", type=sources, default=["asterisk", "queen"], metavar="SOURCE,...")
    command.add_argument("--max-clips", type=count, default=400, metavar="N", help="of each source and split")
    command.set_defaults(run=lambda a: phones.prepare_phones(a.corpus, a.out, a.only, a.max_clips))


def main(argv: list[str] | None = None) -> int:
    """Run a command; returns the exit code."""
    arguments = build_parser().parse_args(argv)
    return report_errors(lambda: arguments.run(arguments), (PrepareError, ManifestError))


if __name__ == "__main__":
    sys.exit(main())
