"""lighthubert superb -m train -k CHECKPOINT -d TASK ...: s3prl's runner, our nets among its upstreams."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import torch

from lighthubert.runtime.command import report_errors
from lighthubert.runtime.errors import UserError
from lighthubert.superb import submit, sweep
from lighthubert.superb.package import CHECKOUT, LaunchError, absolute, call, find_s3prl, opened, options
from lighthubert.superb.upstream import UpstreamError, lighthubert

ABOUT = """\
Train and evaluate a SUPERB task on a frozen net, with s3prl's own runner and tasks.

  lighthubert superb -m train -k subnet.safetensors -d speech_commands -c ks.yaml -p runs/ks
  lighthubert superb -m evaluate -e runs/ks/dev-best.ckpt
  lighthubert superb sweep RECIPE.yaml [key=value ...]     many nets, many tasks (sweep --help)
  lighthubert superb submit RUN_DIR                        pack a sweep's predictions (submit --help)

-k is any file that lighthubert.load reads; of a supernet, --arch says which subnet. All other arguments are those of
s3prl's run_downstream (-m, -d, -p, -o, -t, -s, -l, -f, ...). s3prl is the installed package, or the git checkout that
the environment variable S3PRL_ROOT names: the published package lacks the configs of the tasks and parts of phone
recognition and slot filling. Without a GPU, --device is cpu."""


def main(argv: list[str] | None = None) -> int:
    """Exit status 2 and one line on stderr for what cannot be started; else s3prl's."""
    words = sys.argv[1:] if argv is None else argv
    if words[:1] == ["sweep"]:
        return sweep.main(words[1:])
    if words[:1] == ["submit"]:
        return submit.main(words[1:])
    args, rest = _parser().parse_known_args(words)
    return report_errors(lambda: start(args, rest), (UserError,))


def start(args: argparse.Namespace, rest: list[str]) -> None:
    """Hand over to s3prl's runner."""
    words = [*rest, *command(args, find_s3prl(os.environ.get("S3PRL_ROOT")))]
    try:
        with opened() as s3prl:
            call(s3prl, words)
    except UpstreamError as error:
        if not args.past_exp:
            raise
        named = "so says the task's checkpoint; -o \"args.upstream_ckpt='FILE'\" names another"
        raise UpstreamError(f"{error} ({named})") from error


def _parser() -> argparse.ArgumentParser:
    """The arguments that we look at. Their names are s3prl's, but for --arch, which is its -g."""
    parser = argparse.ArgumentParser(
        prog="lighthubert superb",
        description=ABOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("-u", "--upstream", default="lighthubert", help="default lighthubert; s3prl's own names too")
    parser.add_argument("-k", "--upstream_ckpt", metavar="CHECKPOINT", help="the net")
    arch = parser.add_mutually_exclusive_group()
    arch.add_argument("--arch", metavar="ARCH.yaml|largest|smallest", help="the subnet, if CHECKPOINT is a supernet")
    arch.add_argument("-g", "--upstream_model_config", metavar="FILE", help="the config of another upstream")
    parser.add_argument("-d", "--downstream", metavar="TASK", help="a folder of s3prl/downstream")
    parser.add_argument("-c", "--config", metavar="YAML", help="the task's settings; default: those of the checkout")
    parser.add_argument("-e", "--past_exp", metavar="CKPT", help="a checkpoint of a task, which names all of the above")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    return parser


def command(args: argparse.Namespace, package: Path) -> list[str]:
    """What s3prl is told of the arguments that we looked at. Raises LaunchError and UpstreamError."""
    config, arch = args.config, args.arch or args.upstream_model_config
    if args.past_exp is None:
        if args.upstream == "lighthubert":
            if args.upstream_ckpt is None:
                raise LaunchError("-k: is missing; it names the net to evaluate")
            lighthubert(args.upstream_ckpt, arch)  # wrong files are told before s3prl's many seconds of imports
        elif args.arch is not None:
            raise LaunchError(f"--arch: chooses a subnet of our own checkpoints, not of -u {args.upstream}")
        if config is None and args.downstream is not None:
            config = package / "downstream" / args.downstream / "config.yaml"
            if not config.is_file():
                raise LaunchError(f"{config}: no such file; give the settings of the task with -c, or {CHECKOUT}")
    elif not Path(args.past_exp).exists():
        raise LaunchError(f"-e {args.past_exp}: no such file or folder")
    if config is not None and not Path(config).is_file():
        raise LaunchError(f"-c {config}: no such file")
    return options({"-u": args.upstream, "-k": absolute(args.upstream_ckpt), "-g": absolute(arch),
                    "-d": args.downstream, "-c": config, "-e": args.past_exp, "--device": args.device})  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
