"""Use a fine-tuned net: transcribe audio files, or measure it on a manifest."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import torch

from lighthubert.checkpoint import read
from lighthubert.data import SAMPLE_RATE, DataConfig, Manifest, load_audio
from lighthubert.models import receptive_field
from lighthubert.objectives import Decode, Labels, TaskModel, evaluate_task, greedy, labelled
from lighthubert.objectives.decoding import beam_search, best_classes, path_text, path_words
from lighthubert.train import USER_ERRORS

COMMANDS = ("transcribe", "evaluate")


def apply(argv: Sequence[str]) -> int:
    """`finetune transcribe` and `finetune evaluate`; returns the exit code."""
    args = _parser().parse_args(argv)
    try:
        model = TaskModel.load(read(args.model))
        decode = _decode(model, args)
        if args.command == "evaluate":
            clips = labelled(Manifest.read(args.manifest), model.task)
            print(table(model, clips, DataConfig(), decode))
        else:
            for path in args.audio:
                print(transcribe(model, path, decode))
    except USER_ERRORS as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m lighthubert.finetune")
    commands = parser.add_subparsers(dest="command", required=True)
    decoding = argparse.ArgumentParser(add_help=False)
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
        raise ValueError(f"--lm: {args.model} tells classes, not texts")
    return beam_search(model.vocabulary, args.lm, args.lm_weight, args.word_score, args.beam)


@torch.no_grad()
def transcribe(model: TaskModel, path: Path, decode: Decode = greedy) -> str:
    """A file's text and a line "start end word" for each of its words, in seconds; or its class and how probable."""
    waveform, config = load_audio(path), model.hubert.config
    if len(waveform) < (shortest := receptive_field(config)):
        raise ValueError(f"{path}: too short: {len(waveform)} samples at 16 kHz, one frame needs {shortest}")
    logits, frames = model(waveform[None])
    if model.task.kind == "classify":
        ((name, probability),) = best_classes(logits, model.vocabulary)
        return f"{path}\t{name}\t{probability:.3f}"
    (found,) = decode(logits, frames)
    said = path_words(found, model.vocabulary, config.hop / SAMPLE_RATE)
    lines = [f"  {word.start:7.2f} {word.end:7.2f}  {word.word}" for word in said]
    return "\n".join([f"{path}\t{path_text(found, model.vocabulary)}", *lines])


def table(model: TaskModel, clips: Manifest, data: DataConfig, decode: Decode = greedy) -> str:
    """One line: error rates or accuracy in percent on labelled clips, beside what no model is needed for."""
    labels = Labels(clips, model.task, model.vocabulary)
    found = evaluate_task(model, torch.device("cpu"), clips, labels, data, decode)
    percent = {key: 100 * value / count for key, (value, count) in found.items() if not key.startswith("loss")}
    rates = ", ".join(f"{key} {value:.1f} %" for key, value in percent.items())
    if model.task.kind == "classify":
        name, count = Counter(labels.texts).most_common(1)[0]
        rates += f" ({name} for all: {100 * count / len(clips):.1f} %)"
    return f"{clips.path}, {len(clips)} clips: {rates}"
