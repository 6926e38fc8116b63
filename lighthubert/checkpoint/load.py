"""One door for every file: what it is, its content says."""

from __future__ import annotations

import os
from collections.abc import Mapping
from fnmatch import fnmatch
from itertools import islice
from pathlib import Path
from typing import Any

from torch import Tensor

from lighthubert.checkpoint.dphubert import from_dphubert
from lighthubert.checkpoint.errors import CheckpointError
from lighthubert.checkpoint.foreign import from_fairseq, from_hugging_face, from_torchaudio
from lighthubert.checkpoint.keys import LAYOUTS
from lighthubert.checkpoint.loaded import Loaded
from lighthubert.checkpoint.native import KEY, parse_native
from lighthubert.checkpoint.pickles import LEGACY, ZIP, read_pickle
from lighthubert.checkpoint.tensors import MOST_JSON, read_safetensors
from lighthubert.elastic import Supernet
from lighthubert.models import Hubert
from lighthubert.runtime.files import open_regular, read_text
from lighthubert.schema import from_json

# Files of weights in a Hugging Face folder, {} a variant's name, the wanted first.
WEIGHTS = ("model{}.safetensors", "model.safetensors.index{}.json",
           "pytorch_model{}.bin", "pytorch_model.bin.index{}.json")  # fmt: skip
BUNDLES = ("HUBERT_BASE", "HUBERT_LARGE", "HUBERT_XLARGE", "WAV2VEC2_BASE", "WAV2VEC2_LARGE", "WAV2VEC2_LARGE_LV60K")


def read(name: str | Path, told: Mapping[str, Any] | None = None) -> Loaded:
    """What a file or folder holds, its net in fp32, for evaluation; each file is read once.

    Reads our own files, the released LightHuBERT files, fairseq's HuBERT and wav2vec 2.0, also fine-tuned or converted
    by s3prl, Hugging Face folders of HuBERT, wav2vec 2.0 and data2vec-audio, state dicts of torchaudio's HuBERT,
    DPHuBERT's files, and these inside of what Lightning, DDP and torch.compile write. Never runs pickled code.
    Where there is no file of this name, also bundles of torchaudio (HUBERT_BASE, WAV2VEC2_BASE, ...: `BUNDLES`), which
    it downloads. told: what a state dict of torchaudio in unpublished sizes does not say (`from_torchaudio`);
    other files have no use for it. Raises CheckpointError that names the file and lists every key that does not fit.
    """
    try:
        if os.path.isdir(name):
            _refuse(name, told)
            return Loaded(str(name), _read_folder(Path(name)))
        if not os.path.exists(name):
            if str(name) in BUNDLES:
                _refuse(name, told)
                return Loaded(str(name), _read_bundle(str(name)))
            raise CheckpointError(f"{name}: no such file or folder")
        return Loaded(str(name), *_read_file(Path(name), told))
    except CheckpointError:
        raise
    except Exception as error:  # a stranger's file fails in any way; whatever it is, say whose fault
        raise CheckpointError(f"{name}: cannot be read: {type(error).__name__}: {error}") from error


def _read_file(
    path: Path, told: Mapping[str, Any] | None
) -> tuple[Hubert | Supernet, dict[str, Any] | None, dict[str, Tensor]]:
    """The net, what it was fine-tuned for, and the tensors of the head that does it."""
    with open_regular(path, CheckpointError) as file:
        start = file.read(32)
        file.seek(0)
        if start.startswith((ZIP, LEGACY)):
            content = read_pickle(file)
        elif start[8:9] == b"{":
            content, metadata = read_safetensors(file)
            if KEY in metadata:
                _refuse(path, told)
                return parse_native(path, content, metadata[KEY])
        else:
            raise CheckpointError(f"{path}: neither a safetensors file nor one that torch.save wrote")
    return _net_of_state(path, _unwrap(content), told), None, {}


def _unwrap(content: Any) -> Mapping[str, Any]:
    """A file's content with its tensors under "model", wherever it has them, and settings where fairseq has them."""
    if isinstance(content, dict):
        for key in ("model", "state_dict"):  # fairseq and the released files; Lightning, DPHuBERT
            if isinstance(content.get(key), dict):
                return {**content, "model": content[key]}
        if isinstance(content.get("model_weight"), dict):  # s3prl, converted from fairseq
            settings = {"model": content.get("model_cfg"), "task": content.get("task_cfg")}
            return {"model": content["model_weight"], "cfg": settings}
    return {"model": content}


def load(name: str | Path, told: Mapping[str, Any] | None = None) -> Hubert | Supernet:
    """The net or supernet of a file or folder, or of a bundle of torchaudio: that of `read`, with its errors."""
    return read(name, told).net


def _read_bundle(name: str) -> Hubert:
    try:
        from torchaudio import pipelines
    except ImportError as error:
        raise CheckpointError(f"{name}: needs torchaudio: pip install 'lighthubert[train]' ({error})") from None
    try:
        module = getattr(pipelines, name).get_model(dl_kwargs={"weights_only": True, "map_location": "cpu"})
    except OSError as error:  # urllib's errors too
        raise CheckpointError(
            f"{name}: cannot be downloaded ({error}); without a network give a file or folder instead of the name"
        ) from None
    return from_torchaudio(name, module.state_dict())


def _net_of_state(path: Path, checkpoint: Mapping[str, Any], told: Mapping[str, Any] | None) -> Hubert | Supernet:
    """The net of a state dict (under "model", perhaps with settings beside it) in whichever layout knows its keys."""
    state = _state_dict(path, checkpoint["model"], ", alone or under 'model'")
    known = {
        key: sum(LAYOUTS[key].rename(name) is not None for name in state)
        for key in ("released", "hugging_face", "torchaudio", "native")
    }
    best = max(known, key=lambda key: known[key])
    if 2 * known[best] <= len(state):
        tried = ", ".join(f"{LAYOUTS[key].name} {n}" for key, n in known.items())
        raise CheckpointError(f"{path}: no known layout; of its {len(state)} keys ({_brief(state)}) know: {tried}")
    if best == "hugging_face":
        raise CheckpointError(f"{path}: Hugging Face weights: give the folder that also holds their config.json")
    if best == "native":
        raise CheckpointError(f"{path}: metadata {KEY!r}: is missing; lighthubert.save writes it")
    config = checkpoint.get("config", {})
    of_dphubert = isinstance(config, dict) and "encoder_use_attention" in config
    if best == "torchaudio" and not of_dphubert:
        return from_torchaudio(path, state, told)
    _refuse(path, told)
    return from_dphubert(path, state, config) if best == "torchaudio" else from_fairseq(path, checkpoint)


def _refuse(name: str | Path, told: Mapping[str, Any] | None) -> None:
    if told is not None:
        raise CheckpointError(f"{name}: told: is of state dicts of torchaudio alone, and this file is another")


def _state_dict(path: Path, content: Any, where: str = "") -> dict[str, Any]:
    if isinstance(content, dict) and content and all(isinstance(key, str) for key in content):
        return content
    raise CheckpointError(f"{path}: expected a state dict{where}, got {_brief(content)}")


def _brief(content: Any) -> str:
    if not isinstance(content, dict):
        return type(content).__name__
    keys = [repr(key) for key in islice(content, 5)]
    return ", ".join(keys[:4] + ["..."] * (len(keys) > 4)) or "an empty one"


def _read_folder(folder: Path) -> Hubert:
    """A Hugging Face model folder: config.json and weights, preprocessor_config.json if there is one."""
    if not (folder / "config.json").is_file():
        raise CheckpointError(f"{folder}: a folder without config.json; expected a Hugging Face model folder")
    config = _read_json(folder / "config.json")
    preprocessor = folder / "preprocessor_config.json"
    do_normalize = _read_json(preprocessor).get("do_normalize") if preprocessor.is_file() else None
    if do_normalize not in (True, False, None):
        raise CheckpointError(f"{preprocessor}: do_normalize: expected true or false, got {do_normalize!r}")
    return from_hugging_face(folder, _read_weights(folder), config, do_normalize)


def _read_weights(folder: Path) -> dict[str, Any]:
    """Of the first of WEIGHTS that is there, else of the one variant (fp16) that is there."""
    names = [path.name for path in folder.iterdir() if path.is_file() and "-of-" not in path.name]
    for variant in ("", ".?*"):
        for form in WEIGHTS:
            found = [name for name in sorted(names) if fnmatch(name, form.format(variant))]
            if len(found) > 1:
                raise CheckpointError(f"{folder}: {', '.join(found)}: variants of one net; leave one of them there")
            if found:
                return _read_shards(folder / found[0])
    raise CheckpointError(f"{folder}: neither model.safetensors nor pytorch_model.bin, nor an index of one, is there")


def _read_shards(path: Path) -> dict[str, Any]:
    """A file of weights, or those that an index names."""
    if path.suffix != ".json":
        return _read_shard(path)
    shards = _read_json(path).get("weight_map")
    if not isinstance(shards, dict):
        raise CheckpointError(f"{path}: weight_map: expected names of shards, got {shards!r}")
    state: dict[str, Any] = {}
    for name in sorted({Path(str(shard)).name for shard in shards.values()}):
        state |= _read_shard(path.with_name(name))
    return state


def _read_json(path: Path) -> dict[str, Any]:
    text = read_text(path, CheckpointError, MOST_JSON)
    try:
        values = from_json(text)
    except ValueError as error:
        raise CheckpointError(f"{path}: cannot be read as JSON: {error}") from None
    if not isinstance(values, dict):
        raise CheckpointError(f"{path}: expected a JSON object, got {type(values).__name__}")
    return values


def _read_shard(path: Path) -> dict[str, Any]:
    with open_regular(path, CheckpointError) as file:
        if path.suffix == ".bin":
            return _state_dict(path, _unwrap(read_pickle(file))["model"])
        return read_safetensors(file)[0]
