"""One door for every file: what it is, its content says."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import nn

from lighthubert.checkpoint.errors import CheckpointError
from lighthubert.checkpoint.foreign import from_fairseq, from_hugging_face, from_torchaudio
from lighthubert.checkpoint.keys import LAYOUTS
from lighthubert.checkpoint.native import KEY, load_native, load_native_task
from lighthubert.checkpoint.pickles import LEGACY, ZIP, read_pickle
from lighthubert.elastic import Supernet
from lighthubert.models import Hubert

BUNDLES = ("HUBERT_BASE", "HUBERT_LARGE", "HUBERT_XLARGE", "WAV2VEC2_BASE", "WAV2VEC2_LARGE", "WAV2VEC2_LARGE_LV60K")


def load(path: str | Path) -> Hubert | Supernet:
    """The net or supernet of a file or folder, in fp32, for evaluation.

    Reads our own files, the released LightHuBERT files, fairseq's HuBERT and wav2vec 2.0, Hugging Face folders of
    HuBERT, wav2vec 2.0 and data2vec-audio, and state dicts of torchaudio's HuBERT. Never runs pickled code.
    Raises CheckpointError that names the file and lists every key that does not fit.
    """
    path = Path(path)
    if path.is_dir():
        return _load_folder(path)
    if not path.exists():
        raise CheckpointError(f"{path}: no such file or folder")
    with path.open("rb") as file:
        start = file.read(32)
    if start.startswith((ZIP, LEGACY)):
        return _load_pickle(path)
    if start[8:9] == b"{":
        tensors, metadata = _read_safetensors(path)
        if KEY in metadata:
            return load_native(path, tensors, metadata[KEY])
        return _load_state(path, {"model": tensors})
    raise CheckpointError(f"{path}: neither a safetensors file nor one that torch.save wrote")


def load_task(path: str | Path) -> tuple[Hubert, dict[str, Any], dict[str, Any]] | None:
    """A fine-tuned file: the net, what its header says of the task, and the head's tensors. None for any other file.

    Raises CheckpointError as `load` does.
    """
    path = Path(path)
    if not path.is_file():
        return None
    with path.open("rb") as file:
        if file.read(9)[8:] != b"{":
            return None
    tensors, metadata = _read_safetensors(path)
    if KEY not in metadata:
        return None
    net, task, head = load_native_task(path, tensors, metadata[KEY])
    return None if task is None or not isinstance(net, Hubert) else (net, task, head)


def load_teacher(name: str | Path) -> Hubert | Supernet:
    """`load`, and by name bundles of torchaudio (HUBERT_BASE, WAV2VEC2_BASE, ...: `BUNDLES`), which it downloads."""
    if str(name) in BUNDLES and not Path(name).exists():
        return _load_bundle(str(name))
    return load(name)


def load_hubert(name: str | Path) -> Hubert:
    """`load_teacher`; of a supernet, the net that holds the weights."""
    source = load_teacher(name)
    return source.hubert if isinstance(source, Supernet) else source


def digest(net: nn.Module) -> str:
    """Hash of a net's weights."""
    sha = hashlib.sha256()
    for parameter in net.parameters():
        sha.update(parameter.detach().cpu().numpy().tobytes())
    return sha.hexdigest()[:16]


def _load_bundle(name: str) -> Hubert:
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


def _load_pickle(path: Path) -> Hubert | Supernet:
    content = read_pickle(path)
    if isinstance(content, dict) and isinstance(content.get("model"), dict):
        return _load_state(path, content)
    return _load_state(path, {"model": content})


def _load_state(path: Path, checkpoint: Mapping[str, Any]) -> Hubert | Supernet:
    """The net of a state dict (under "model", perhaps with settings beside it) in whichever layout knows its keys."""
    state = checkpoint["model"]
    if not isinstance(state, dict) or not state or not all(isinstance(key, str) for key in state):
        raise CheckpointError(f"{path}: expected a state dict, alone or under 'model', got {_brief(state)}")
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
    return from_torchaudio(path, state) if best == "torchaudio" else from_fairseq(path, checkpoint)


def _brief(content: Any) -> str:
    if not isinstance(content, dict):
        return type(content).__name__
    keys = [repr(key) for key in content]
    return ", ".join(keys[:4] + ["..."] * (len(keys) > 4)) or "an empty one"


def _load_folder(folder: Path) -> Hubert:
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
    index, whole = folder / "model.safetensors.index.json", folder / "model.safetensors"
    if whole.is_file():
        return _read_safetensors(whole)[0]
    if index.is_file():
        shards = _read_json(index).get("weight_map")
        if not isinstance(shards, dict):
            raise CheckpointError(f"{index}: weight_map: expected names of shards, got {shards!r}")
        state: dict[str, Any] = {}
        for name in sorted({Path(str(shard)).name for shard in shards.values()}):
            state |= _read_safetensors(folder / name)[0]
        return state
    if (folder / "pytorch_model.bin").is_file():
        content = read_pickle(folder / "pytorch_model.bin")
        if isinstance(content, dict):
            return content
        raise CheckpointError(f"{folder / 'pytorch_model.bin'}: expected a state dict, got {_brief(content)}")
    raise CheckpointError(f"{folder}: neither model.safetensors (or its index) nor pytorch_model.bin is there")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise CheckpointError(f"{path}: cannot be read as JSON: {error}") from None
    if not isinstance(values, dict):
        raise CheckpointError(f"{path}: expected a JSON object, got {type(values).__name__}")
    return values


def _read_safetensors(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """Tensors and metadata. Raises CheckpointError for broken files."""
    try:
        with safe_open(path, framework="pt") as file:
            names = list(file.keys())
            return {name: file.get_tensor(name) for name in names}, file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: cannot be read as safetensors: {error}") from None
