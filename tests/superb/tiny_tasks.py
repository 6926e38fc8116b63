"""A few seconds of the embedded corpus in the layout of each SUPERB task, and settings of s3prl that take four steps.

Labels of keyword spotting, emotion and slot filling are made up, those of the others say what is heard; scores on so
little mean nothing.
"""

import hashlib
import itertools
import json
from collections.abc import Callable
from pathlib import Path

import torch
from tiny_corpus import CLIPS, Task, of_language, speech, table, text
from tiny_text import phones, recognition, slots

from lighthubert.config import write_yaml
from lighthubert.data import SAMPLE_RATE
from lighthubert.data.audio import write_audio

WORDS = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go")
RUNNER = {"total_steps": 4, "gradient_clipping": 1.0, "gradient_accumulate_steps": 1, "log_step": 2, "eval_step": 2,
          "save_step": 4, "max_keep": 1}  # fmt: skip
OPTIMIZER = {"name": "TorchOptim", "torch_optim_name": "Adam", "lr": 1e-3}
CLASSIFIER = {"projector_dim": 16, "select": "UtteranceLevel", "UtteranceLevel": {"pooling": "MeanPooling"}}


def speakers_of_split(split: str, count: int) -> list[str]:
    """Names that Speech Commands' rule puts into a split: the hash of the speaker says which."""

    def belongs(name: str) -> bool:
        share = int(hashlib.sha1(name.encode()).hexdigest(), 16) % 2**27 / (2**27 - 1)
        return ("dev" if share < 0.1 else "test" if share < 0.2 else "train") == split

    return list(itertools.islice(filter(belongs, (f"{i:08x}" for i in itertools.count())), count))


def keywords(root: Path) -> Task:
    number = itertools.count()
    for word in (*WORDS, "bed"):  # bed is none of the ten: unknown
        for speaker in speakers_of_split("train", 2) + speakers_of_split("dev", 1):
            write_audio(root / "train" / word / f"{speaker}_nohash_0.wav", speech(next(number), 1.0))
    noise = 0.01 * torch.randn(2 * SAMPLE_RATE, generator=torch.Generator().manual_seed(0))
    write_audio(root / "train/_background_noise_/noise.wav", noise)
    for word in (*WORDS, "_unknown_", "_silence_"):
        write_audio(root / "test" / word / "someone_nohash_0.wav", speech(next(number), 1.0))
    data = {"speech_commands_root": f"{root}/train", "speech_commands_test_root": f"{root}/test"}
    expert = {"datarc": data | {"num_workers": 0, "batch_size": 4}, "modelrc": CLASSIFIER}
    return Task("speech_commands", expert, ("test_predict.txt", 12))


def intents(root: Path) -> Task:
    """The intent: language as the action, speaker as the object."""
    header = ("", "path", "speakerId", "transcription", "action", "object", "location")
    chosen = [number for language in ("en", "fr", "it") for number in of_language(language)[:6]]
    for split, numbers in (("train", chosen), ("valid", chosen[1::3]), ("test", chosen[2::3])):
        rows = []
        for row, number in enumerate(numbers):
            write_audio(root / "wavs" / f"{split}{row}.wav", speech(number, 1.0 + 0.1 * row))
            language, speaker = CLIPS.columns["language"][number], CLIPS.columns["speaker"][number]
            rows.append((row, f"wavs/{split}{row}.wav", speaker, "text", language, speaker, "none"))
        table(root / "data" / f"{split}_data.csv", header, rows)
    data = {"file_path": str(root), "num_workers": 0, "train_batch_size": 4, "eval_batch_size": 4}
    return Task("fluent_commands", {"datarc": data, "modelrc": CLASSIFIER}, ("test_predict.csv", 6))


def voxceleb(root: Path) -> list[str]:
    """{dev,test}/wav/SPEAKER/VIDEO/N.wav; the files of dev, relative to dev/wav."""
    files = []
    for speaker, language in enumerate(("fr", "it", "ru"), 1):
        for video, number in enumerate(of_language(language)[:5], 1):
            files.append(f"id{10000 + speaker}/video{video}/{video:05}.wav")
            write_audio(root / "dev/wav" / files[-1], speech(number, 2.0 + 0.1 * video))
            if video < 3 and speaker < 3:
                test = root / "test/wav" / f"id{10270 + speaker}/video{video}/{video:05}.wav"
                write_audio(test, speech(number, 2.5))
    return files


def speakers(root: Path) -> Task:
    files = voxceleb(root)
    text(root / "split.txt", [f"{1 if i % 5 < 3 else i % 5 - 1} {file}" for i, file in enumerate(files)])
    data = {"file_path": str(root), "meta_data": f"{root}/split.txt", "num_workers": 0, "train_batch_size": 4,
            "eval_batch_size": 1, "max_timestep": 32000}  # fmt: skip
    return Task("voxceleb1", {"datarc": data, "modelrc": CLASSIFIER}, ("test_predict.txt", 3))


def verification(root: Path) -> Task:
    voxceleb(root)
    text(root / "speakers.txt", ["id10001", "id10002"])
    for name, first in (("dev", 10001), ("test", 10271)):
        one, same, other = (f"id{first}/video1/00001.wav", f"id{first}/video2/00002.wav",
                            f"id{first + 1}/video1/00001.wav")  # fmt: skip
        text(root / f"{name}_trials.txt", [f"1 {one} {same}", f"0 {one} {other}"])
    data = {"vad_config": {"min_sec": 16000}, "file_path": str(root), "train_meta_data": f"{root}/speakers.txt",
            "dev_meta_data": f"{root}/dev_trials.txt", "test_meta_data": f"{root}/test_trials.txt",
            "max_timestep": 32000, "train_batch_size": 3, "eval_batch_size": 1, "num_workers": 0}  # fmt: skip
    model = {"module": "XVector", "input_dim": 16, "agg_module": "SP", "utter_module": "UtteranceExtractor",
             "module_config": {"XVector": {"agg_dim": 24, "dropout_p": 0.0, "batch_norm": False}},
             "ObjectiveLoss": "AMSoftmaxLoss", "LossConfig": {"AMSoftmaxLoss": {"s": 30.0, "m": 0.4}}}  # fmt: skip
    return Task("sv_voxceleb1", {"datarc": data, "modelrc": model}, ("test_predict.txt", 2), validate=False)


def emotions(root: Path) -> Task:
    labels = {"neu": 0, "hap": 1, "ang": 2, "sad": 3}
    for split, session, count in (("train", 2, 12), ("test", 1, 4)):
        entries = []
        for row in range(count):
            path = f"Session{session}/{split}{row}.wav"
            write_audio(root / path, speech(row, 1.0 + 0.1 * row))
            entries.append({"path": path, "label": list(labels)[row % 4], "speaker": "F"})
        text(root / f"meta/Session1/{split}_meta_data.json", [json.dumps({"labels": labels, "meta_data": entries})])
    data = {"root": str(root), "meta_data": f"{root}/meta", "test_fold": "fold1", "pre_load": True, "num_workers": 0,
            "train_batch_size": 4, "eval_batch_size": 4, "valid_ratio": 0.2}  # fmt: skip
    return Task("emotion", {"datarc": data, "modelrc": CLASSIFIER}, ("test_fold1_predict.txt", 4))


def diarization(root: Path) -> Task:
    """Two voices of 3 s that overlap in the middle of 5 s, in Kaldi's tables."""
    for split, first in (("train", 0), ("dev", 3), ("test", 6)):
        tables: dict[str, list[str]] = {name: [] for name in ("wav.scp", "reco2dur", "segments", "utt2spk", "spk2utt")}
        for mixture in range(first, first + 3):
            name, wave = f"mixture{mixture}", torch.zeros(5 * SAMPLE_RATE)
            for start, language in ((0, "fr"), (2, "it")):
                wave[start * SAMPLE_RATE :][: 3 * SAMPLE_RATE] += 0.5 * speech(of_language(language)[mixture], 3.0)
                utterance = f"{language}-{name}"
                tables["segments"].append(f"{utterance} {name} {start} {start + 3}")
                tables["utt2spk"].append(f"{utterance} {language}{mixture}")
                tables["spk2utt"].append(f"{language}{mixture} {utterance}")
            write_audio(root / split / f"{name}.wav", wave)
            tables["wav.scp"].append(f"{name} {root / split / name}.wav")
            tables["reco2dur"].append(f"{name} 5.0")
        for table_name, lines in tables.items():
            text(root / split / table_name, lines)
    data = {"chunk_size": 100, "subsampling": 1, "label_delay": 0, "num_speakers": 2, "rate": SAMPLE_RATE}
    loader = {"num_workers": 0, "train_batchsize": 2, "eval_batchsize": 1}
    loader |= {f"{split}_dir": str(root / split) for split in ("train", "dev", "test")}
    model = {"rnn_layers": 1, "hidden_size": 16}
    expert = {"datarc": data, "loaderrc": loader, "modelrc": model, "scorerc": {"save_predictions": True}}
    return Task("diarization", expert, ("scoring/predictions/*.h5", 3))


def queries(root: Path) -> Task:
    """Spoken queries, each half a second out of one of three clips; nothing is trained."""
    data = root / "quesst14Database"
    names: dict[str, list[str]] = {"utterances": [], "dev": [], "eval": []}
    for number in range(3):
        clip = speech(number, 2.0)
        for key, folder, part in (("utterances", "Audio", clip), ("dev", "dev_queries", clip[8000:16000]),
                                  ("eval", "eval_queries", clip[16000:24000])):  # fmt: skip
            write_audio(data / folder / f"{key}{number}.wav", part)
            names[key].append(f"quesst14Database/{folder}/{key}{number}.wav nnenglish")
    for key, lines in names.items():
        text(data / "scoring" / f"language_key_{key}.lst", lines)
    dtw = {"dist_method": "cosine_exp", "minmax_norm": True, "step_pattern": "asymmetric", "subsequence": True}
    expert = {"max_workers": 1, "feature_normalization": True, "silence_frame": None, "dtwrc": dtw,
              "datarc": {"dataset_root": str(data), "num_workers": 0, "batch_size": 1}}  # fmt: skip
    return Task("quesst14_dtw", expert, ("benchmark.stdlist.xml", 1), split="dev")


TASKS: dict[str, Callable[[Path], Task]] = {
    "KS": keywords, "IC": intents, "SID": speakers, "ASV": verification, "ASR": recognition, "ER": emotions,
    "SD": diarization, "QbE": queries, "PR": phones, "SF": slots}  # fmt: skip


def write(name: str, root: Path) -> Task:
    """The data of a task, and its settings as settings.yaml."""
    task = TASKS[name](root)
    runner = RUNNER | {"eval_dataloaders": ["dev"] if task.validate else []}
    write_yaml(root / "settings.yaml", {"runner": runner, "optimizer": OPTIMIZER, "downstream_expert": task.expert})
    return task
