"""`lighthubert VERB ...` is `python -m lighthubert.VERB ...`; `lighthubert` alone lists the verbs."""

import runpy
import sys

VERBS = {
    "prepare": "make a manifest of a folder of audio, of LibriSpeech, SLURP or the Debian speech corpus",
    "pretrain": "train a HuBERT teacher, or distil a supernet from one (stage 1, stage 2)",
    "finetune": "learn transcripts or classes of clips from any net; transcribe with it",
    "prune": "prune channels, heads and FFN units of a net while it learns a task or from a teacher",
    "search": "find the best subnet of a supernet for a budget of parameters, MACs or milliseconds",
    "superb": "train and evaluate SUPERB tasks on nets, through s3prl: one, or a sweep",
    "extract": "write a subnet of a supernet as a standalone file",
    "export": "write a net for onnxruntime, OpenVINO or torch.export, and prove it",
    "profile": "parameters, MACs and latency of a net on this machine",
}
USAGE = "usage: lighthubert VERB [ARGUMENT ...]     (lighthubert VERB --help explains a verb)\n\n" + "\n".join(
    f"  {verb:<10}{line}" for verb, line in VERBS.items()
)


def main() -> None:
    """Run the verb named on the command line. Exit status 2 for an unknown one, else the verb's own."""
    verb = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if verb in ("-h", "--help"):
        print(USAGE)
    elif verb not in VERBS:
        print(f"lighthubert: no verb {verb!r}\n\n{USAGE}", file=sys.stderr)
        sys.exit(2)
    else:
        del sys.argv[1]
        # alter_sys: worker processes find the verb's module as __main__, as they do under `python -m`
        runpy.run_module(f"lighthubert.{verb}", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
