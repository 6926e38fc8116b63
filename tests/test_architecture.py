"""The picture in docs/architecture.md, held against the imports: arrows go down, each third party has one door."""

import ast
from pathlib import Path

import pytest

JOBS = {"prepare", "pretrain", "search", "prune", "finetune", "superb", "extract", "profile"}
# A room imports rooms of a lower rank only. The package and its command see everything, and no room sees those.
RANKS = {"schema": 0, "config": 1, "models": 1, "elastic": 2, "cost": 3, "data": 4, "checkpoint": 4}
RANKS |= {"train": 5, "objectives": 5, "tasks": 5.3, "probes": 5.5}
RANKS |= dict.fromkeys(JOBS, 6) | {"__init__": 7, "__main__": 7}
DOORS = {
    "omegaconf": {"config"},
    "yaml": {"config"},
    "tensorboard": {"train/log"},
    "fairseq2": {"data"},
    "soundfile": {"data"},
    "torchaudio": {"data", "checkpoint", "superb", "tasks/decoding"},
    "jiwer": {"tasks/decoding"},
    "tokenizers": {"tasks/vocabulary"},
    "s3prl": {"superb"},
    "pymoo": {"search/evolve"},
    "plotly": {"search/report"},
    "transformers": set(),
}
PACKAGE = Path(__file__).resolve().parents[1] / "lighthubert"
FILES = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))


def imported(source: str, file: str) -> set[str]:
    """Dotted names of all that a file imports, in functions too; relative imports made absolute."""
    package = ["lighthubert", *file.split("/")[:-1]]
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            names |= {".".join([*base, *filter(None, [node.module]), alias.name]) for alias in node.names}
    return names


def violations(source: str, file: str) -> list[str]:
    """What one file imports and must not."""
    room = file.removesuffix(".py").split("/")[0]
    wrong = []
    for name in sorted(imported(source, file)):
        parts = name.split(".")
        for third_party in DOORS.keys() & set(parts if parts[0] != "lighthubert" else ()):
            if not any(file.startswith((door + "/", door + ".")) for door in DOORS[third_party]):
                wrong.append(f"{file}: {name}: not this room's door")
        other = parts[1] if len(parts) > 1 else "__init__"
        if parts[0] == "lighthubert" and room != other and RANKS.get(other, 9) >= RANKS[room]:
            wrong.append(f"{file}: {name}: not below {room}")
    return wrong


def test_every_arrow_goes_down() -> None:
    assert not [wrong for file in FILES for wrong in violations((PACKAGE / file).read_text(), file)]


def test_every_room_has_a_place() -> None:
    assert {file.removesuffix(".py").split("/")[0] for file in FILES} <= RANKS.keys()


def test_only_jobs_run() -> None:
    assert {file.split("/")[0] for file in FILES if file.endswith("/__main__.py")} <= JOBS


def test_files_are_short() -> None:
    lines = {file: len((PACKAGE / file).read_text().splitlines()) for file in FILES}
    assert not {file: n for file, n in lines.items() if n > 280}


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("models/hubert.py", "from lighthubert.elastic import Arch"),
        ("models/hubert.py", "from lighthubert import elastic"),
        ("models/hubert.py", "from ..elastic.space import SearchSpace"),
        ("models/config.py", "from lighthubert.config import read_yaml"),
        ("elastic/space.py", "def f():\n    import lighthubert.cost"),
        ("checkpoint/native.py", "from lighthubert.data import load_audio"),
        ("pretrain/step.py", "from lighthubert.prepare import main"),
        ("train/loop.py", "from lighthubert import load"),
        ("data/audio.py", "import lighthubert as lh"),
        ("train/loop.py", "from torch.utils.tensorboard import SummaryWriter"),
        ("train/log.py", "import fairseq2.data"),
        ("elastic/space.py", "from omegaconf import OmegaConf"),
    ],
)
def test_a_wrong_import_is_seen(file: str, source: str) -> None:
    assert violations(source, file)
