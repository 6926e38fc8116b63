"""The ten tasks of SUPERB as s3prl 0.4.18 has them: names, settings, metrics, and what the leaderboard takes."""

from __future__ import annotations

from typing import NamedTuple

FOLDS = ("fold1", "fold2", "fold3", "fold4", "fold5")  # of emotion recognition


class Metric(NamedTuple):
    """name: as s3prl logs it; label: in tables; scale: what makes of s3prl's number the leaderboard's (mostly %)."""

    name: str
    label: str
    scale: float
    higher_is_better: bool


class Benchmark(NamedTuple):
    """One task.

    downstream, settings: a folder of s3prl/downstream, and its YAML file. corpus: settings below downstream_expert that
    name files which must exist. prediction: what evaluation leaves behind; packed: its place in a submission, FOLD for
    the fold. split: what is evaluated. checkpoint: what is evaluated of a training; of several that fit the pattern,
    all, and the best one counts (s3prl's rule for speaker verification).
    """

    downstream: str
    metrics: tuple[Metric, ...]
    corpus: tuple[str, ...]
    prediction: str
    packed: str
    settings: str = "config.yaml"
    split: str = "test"
    checkpoint: str = "dev-best.ckpt"


ACCURACY = (Metric("acc", "acc", 100, True),)
BENCHMARK = {
    "PR": Benchmark(
        "ctc", (Metric("per", "PER", 100, False),), ("corpus.path", "text.vocab_file"),
        "test-hyp.ark", "pr_public/predict.ark", settings="libriphone.yaml",
    ),
    "ASR": Benchmark(
        "asr", (Metric("wer", "WER", 1, False),), ("datarc.libri_root", "datarc.bucket_file", "datarc.dict_path"),
        "test-clean-noLM-hyp.ark", "asr_public/predict.ark", split="test-clean", checkpoint="dev-clean-best.ckpt",
    ),
    "KS": Benchmark(
        "speech_commands", ACCURACY, ("datarc.speech_commands_root", "datarc.speech_commands_test_root"),
        "test_predict.txt", "ks_public/predict.txt",
    ),
    "QbE": Benchmark(  # its metric comes from NIST's program
        "quesst14_dtw", (), ("datarc.dataset_root",),
        "benchmark.stdlist.xml", "qbe_public/benchmark.stdlist.xml",
    ),
    "SID": Benchmark(
        "voxceleb1", ACCURACY, ("datarc.file_path", "datarc.meta_data"),
        "test_predict.txt", "sid_public/predict.txt",
    ),
    "ASV": Benchmark(
        "sv_voxceleb1", (Metric("EER", "EER", 100, False),),
        ("datarc.file_path", "datarc.train_meta_data", "datarc.dev_meta_data", "datarc.test_meta_data"),
        "test_predict.txt", "sv_public/predict.txt", checkpoint="states-*.ckpt",
    ),
    "SD": Benchmark(  # of frames; the leaderboard's comes from another program, dscore
        "diarization", (Metric("der", "DER", 100, False),),
        ("loaderrc.train_dir", "loaderrc.dev_dir", "loaderrc.test_dir"),
        "scoring/predictions", "sd_public/scoring/predictions", checkpoint="best-states-dev.ckpt",
    ),
    "IC": Benchmark(
        "fluent_commands", ACCURACY, ("datarc.file_path",),
        "test_predict.csv", "ic_public/predict.csv",
    ),
    "SF": Benchmark(
        "ctc", (Metric("slot_type_f1", "F1", 100, True), Metric("slot_value_cer", "CER", 100, False)),
        ("corpus.path", "text.vocab_file", "text.slots_file"),
        "test-hyp.ark", "sf_public/predict.ark", settings="snips.yaml",
    ),
    "ER": Benchmark(
        "emotion", ACCURACY, ("datarc.root", "datarc.meta_data"),
        "test_FOLD_predict.txt", "er_FOLD_public/predict.txt",
    ),
}  # fmt: skip
