"""Texts of audio files from an exported CTC net, without torch: transcribe.py FOLDER AUDIO [AUDIO ...]"""

import itertools
import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import soundfile

folder = Path(sys.argv[1])
net = onnxruntime.InferenceSession(folder / "model.onnx")
names = {i: name for name, i in json.loads((folder / "vocab.json").read_text(encoding="utf-8")).items()}
for path in sys.argv[2:]:
    audio, rate = soundfile.read(path, dtype="float32", always_2d=True)
    assert rate == 16000, f"{path}: resample it to 16 kHz first"
    inputs = {"input_values": audio.mean(1)[None], "input_lengths": np.array([len(audio)])}
    best = net.run(["logits"], inputs)[0][0].argmax(-1)
    tokens = [names[int(i)] for i, _ in itertools.groupby(best) if i]  # 0 is the blank
    print(path, " ".join("".join(tokens).replace("▁", " ").split()), sep="\t")
