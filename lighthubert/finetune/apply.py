"""Use a fine-tuned net: transcribe audio files, or measure it on a manifest."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from lighthubert.checkpoint import read
from lighthubert.data import SAMPLE_RATE, AudioError, DataConfig, Manifest, load_audio
from lighthubert.models import receptive_field
from lighthubert.runtime.command import report_errors
from lighthubert.runtime.errors import UserError
from lighthubert.tasks.beam import beam_search
from lighthubert.tasks.decoding import Decode, best_classes, greedy, path_text, path_words
from lighthubert.tasks.labelled import evaluate_task
from lighthubert.tasks.labels import Labels, labelled
from lighthubert.tasks.model import TaskModel

COMMANDS = ("transcribe", "evaluate")


def apply(argv: Sequence[str]) -> int:
    """`finetune transcribe` and `finetune evaluate`; returns the exit code."""
    args = _parser().parse_args(argv)

    def work() -> None:
        model = TaskModel.load(read(args.model))
        try:
            model.to(args.device)
        except (RuntimeError, AssertionError) as error:  # torch without CUDA asserts
            raise UserError(f"--device: {args.device}: torch cannot use it here: {error}") from None
        decode = _decode(model, args)
        if args.command == "evaluate":
            labels = Labels(labelled(Manifest.read(args.manifest), model.task), model.task, model.vocabulary)
            print(describe_rates(labels, evaluate_task(model, labels, DataConfig(max_bad_share=1), decode).means()))
        else:
            _transcribe_all(model, args.audio, decode)

    return report_errors(work)


def _transcribe_all(model: TaskModel, files: Sequence[Path], decode: Decode) -> None:
    """Print what is said in all files. Those that cannot be used are named and counted; UserError if none can be."""
    skipped = 0
    for path in files:
        try:
            print(transcribe(model, path, decode), flush=True)
        except AudioError as error:
            if len(files) == 1:
                raise
            skipped += 1
            print(f"skipped {error}", file=sys.stderr)
    if skipped == len(files):
        raise UserError(f"none of the {skipped} clips can be used")
    if skipped:
        print(f"{skipped} of {len(files)} clips skipped", file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="lighthubert finetune")
    commands = parser.add_subparsers(dest="command", required=True)
    decoding = argparse.ArgumentParser(add_help=False)
    decoding.add_argument("--device", default="cpu", help="where the net runs, such as cuda or cuda:1 (default: cpu)")
    decoding.add_argument("--lm", type=Path, metavar="LM.arpa", help="beam search for the words of an n-gram model")
    decoding.add_argument("--lm-weight", type=float, default=2.0, metavar="X", help="of the model (default: 2)")
    decoding.add_argument("--word-score", type=float, default=0.0, metavar="X", help="added for each word (default: 0)")
    decoding.add_argument("--beam", type=int, default=50, metavar="N", help="paths that are kept (default: 50)")
    command = commands.add_parser("transcribe", parents=[decoding], help="texts with times of words, or classes")
    command.add_argument("model", type=Path, metavar="FILE.safetensors", help="what fine-tuning wrote")
    command.add_argument("audio", type=Path, nargs="+", metavar="AUDIO", help="any file that soundfile reads")
    command = commands.add_parser("evaluate", parents=[decoding], help="error rates on a manifest with labels")
    command.add_argument("model", type=Path, metavar="FILE.safetensors")
    command.add_argument("manifest", type=Path, metavar="MANIFEST.tsv")
    return parser


def _decode(model: TaskModel, args: argparse.Namespace) -> Decode:
    if args.lm is None:
        return greedy
    if model.task.kind != "ctc":
        raise UserError(f"--lm: {args.model} tells classes, not texts")
    return beam_search(model.vocabulary, args.lm, args.lm_weight, args.word_score, args.beam)


@torch.no_grad()
def transcribe(model: TaskModel, path: Path, decode: Decode = greedy) -> str:
    """A file's text and a line "start end word" for each of its words, in seconds; or its class and how probable."""
    waveform, config = load_audio(path), model.hubert.config
    if len(waveform) < (shortest := receptive_field(config)):
        raise AudioError(path, f"too short: {len(waveform)} samples at 16 kHz, one frame needs {shortest}")
    logits, frames = model(waveform[None].to(model.device))
    if model.task.kind == "classify":
        ((name, probability),) = best_classes(logits, model.vocabulary)
        return f"{path}\t{name}\t{probability:.3f}"
    (tokens,) = decode(logits, frames)
    words = path_words(tokens, model.vocabulary, config.hop / SAMPLE_RATE)
    lines = [f"  {word.start:7.2f} {word.end:7.2f}  {word.word}" for word in words]
    return "\n".join([f"{path}\t{path_text(tokens, model.vocabulary)}", *lines])


def describe_rates(labels: Labels, means: Mapping[str, float | None]) -> str:
    """One line: error rates or accuracy in percent on labelled clips, beside what no model is needed for."""
    rates = {key: mean for key, mean in means.items() if mean is not None and not key.startswith("loss")}
    text = ", ".join(f"{key} {100 * mean:.1f} %" for key, mean in rates.items())
    if labels.kind == "classify":
        name, count = Counter(labels.texts).most_common(1)[0]
        text += f" ({name} for all: {100 * count / len(labels.texts):.1f} %)"
    return f"{labels.clips.path}, {len(labels.texts)} clips: {text}"
