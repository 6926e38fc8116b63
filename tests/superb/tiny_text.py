"""The SUPERB tasks that write: speech recognition, phone recognition, slot filling."""

from pathlib import Path
from string import ascii_uppercase as LETTERS

from tiny_corpus import CLIPS, Task, of_language, speech, table, text

from lighthubert import load_audio
from lighthubert.data.audio import write_audio

RNNS = {"total_rate": -1, "module": "LSTM", "bidirection": True, "dim": [16], "dropout": [0.0], "layer_norm": [False],
        "proj": [False], "sample_rate": [1], "sample_style": "concat"}  # fmt: skip


def librispeech(root: Path) -> None:
    """SPLIT/SPEAKER/CHAPTER/*.flac with transcripts, tables of lengths: 6 English clips to train, then 2 and 3."""
    english = [n for n in of_language("en") if CLIPS.columns["transcript"][n].replace(" ", "").isalpha()]
    parts = (("train", english[:6]), ("dev", english[6:8]), ("test", english[8:11]))
    for chapter, (split, numbers) in enumerate(parts):
        folder, rows, transcripts = f"{split}/1/{chapter}", [], []
        for row, number in enumerate(numbers):
            wave, name = load_audio(CLIPS.file_path(number)), f"1-{chapter}-{row:04}"
            write_audio(root / folder / f"{name}.flac", wave)
            transcripts.append(f"{name} {CLIPS.columns['transcript'][number].upper()}")
            rows.append((row, f"{folder}/{name}.flac", len(wave), ""))
        text(root / folder / f"1-{chapter}.trans.txt", transcripts)
        table(root / "lengths" / f"{split}.csv", ("", "file_path", "length", "label"), rows)


def recognition(root: Path) -> Task:
    librispeech(root)
    text(root / "letters.txt", [f"{letter} 1" for letter in "|" + LETTERS])
    data = {split: [split] for split in ("train", "dev", "test")} | {
            "libri_root": str(root), "bucket_file": f"{root}/lengths", "dict_path": f"{root}/letters.txt",
            "num_workers": 0, "batch_size": 2, "train_batch_size": 2, "eval_batch_size": 1, "zero_infinity": True,
            "decoder_args": {"decoder_type": "None"}}  # fmt: skip
    model = {"project_dim": 16, "select": "RNNs", "RNNs": RNNS}
    return Task("asr", {"datarc": data, "modelrc": model}, ("test-noLM-hyp.ark", 3))


def phones(root: Path) -> Task:
    """Letters stand for phones."""
    librispeech(root)
    words = {word for row in of_language("en") for word in CLIPS.columns["transcript"][row].upper().split()}
    text(root / "lexicon.txt", [f"{word}\t{' '.join(word)}" for word in sorted(words) if word.isalpha()])
    text(root / "letters.txt", LETTERS)
    corpus = {"name": "libriphone", "path": str(root), "lexicon": [f"{root}/lexicon.txt"], "bucketing": True,
              "batch_size": 2, "num_workers": 0} | {split: [split] for split in ("train", "dev", "test")}  # fmt: skip
    expert = {"corpus": corpus, "text": {"mode": "word", "vocab_file": f"{root}/letters.txt"},
              "model": {"project_dim": 16, "zero_infinity": True, "select": "FrameLevel"},
              "save_best_on": ["dev"], "metric_higher_better": False, "metric": ["per"]}  # fmt: skip
    return Task("ctc", expert, ("test-hyp.ark", 3))


def slots(root: Path) -> Task:
    """Three words a clip, the last of which fills a slot."""
    lines = []
    for split, speaker, count in (("train", "Ivy", 6), ("valid", "Amy", 2), ("test", "Brian", 3)):
        for row in range(count):
            lines.append(f"{speaker}-{split}{row} BOS PLAY SOME JAZZ EOS\tO O O genre PlayMusic")
            write_audio(root / split / f"{speaker}-{split}{row}.wav", speech(row, 2.0))
    text(root / "all.iob.snips.txt", lines)
    text(root / "slots.txt", ["", "O", "genre"])  # s3prl passes over the first line
    text(root / "letters.txt", " " + LETTERS)
    corpus = {"name": "snips", "path": str(root), "train": ["train"], "dev": ["valid"], "test": ["test"],
              "train_speakers": ["Ivy"], "valid_speakers": ["Amy"], "test_speakers": ["Brian"], "bucketing": True,
              "batch_size": 2, "num_workers": 0}  # fmt: skip
    files = {"vocab_file": f"{root}/letters.txt", "slots_file": f"{root}/slots.txt"}
    expert = {"corpus": corpus, "text": {"mode": "character-slot", **files},
              "model": {"project_dim": 16, "zero_infinity": True, "select": "RNNs", "RNNs": RNNS},
              "save_best_on": ["dev"], "metric_higher_better": True,
              "metric": ["slot_type_f1", "slot_value_cer"]}  # fmt: skip
    return Task("ctc", expert, ("test-hyp.ark", 3))
