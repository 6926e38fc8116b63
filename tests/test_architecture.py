"""The picture in docs/architecture.md, held against the code: arrows go down, none goes in a circle, each third party
has one door, files and functions are short, and no key of a recipe is idle."""

import ast
import functools
import runpy
import sys
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

import pytest

from lighthubert.config import read_yaml
from lighthubert.keys import list_keys
from lighthubert.search.recipe import Search

JOBS = {"prepare", "pretrain", "search", "prune", "finetune", "superb", "extract", "export", "profile"}
# A room imports rooms of lower floors only. The package and its command see everything, and no room sees those.
FLOORS: list[set[str]] = [{"runtime"}, {"schema"}, {"keys"}, {"config", "models"}, {"elastic"}, {"cost"},
                          {"data", "checkpoint"}, {"train", "objectives"}, {"tasks"}, {"probes"}, JOBS,
                          {"__init__", "__main__"}]  # fmt: skip
RANKS = {room: rank for rank, rooms in enumerate(FLOORS) for room in rooms}
EVERYWHERE = {"torch", "numpy"}
DOORS = {  # where anything else is imported; what is not here is imported nowhere
    "omegaconf": {"config"},
    "yaml": {"config"},
    "filelock": {"runtime/files"},
    "rich": {"runtime/progress", "runtime/tables"},
    "matplotlib": {"runtime/plots"},
    "tensorboard": {"train/log"},
    "safetensors": {"checkpoint"},
    "fairseq2": {"data"},
    "soundfile": {"data"},
    "torchaudio": {"data", "checkpoint", "superb"},
    "jiwer": {"tasks/decoding"},
    "tokenizers": {"tasks/vocabulary"},
    "sklearn": {"objectives/units", "probes/classify", "search/predict"},
    "pymoo": {"search/evolve"},
    "plotly": {"search/report"},
    "s3prl": {"superb"},
    "onnxruntime": {"export/formats"},
    "openvino": {"export/formats"},
    "av": {"prepare/debian"},
    "hama": {"prepare/phones"},
}
FILE_LINES, FUNCTION_LINES = 250, 40
ROOT = Path(__file__).resolve().parents[1]
SCHEMAS: dict[str, type] = runpy.run_path(str(ROOT / "docs/keys.py"))["SECTIONS"]  # of recipes, spaces and archs
PACKAGE = ROOT / "lighthubert"
FILES = {path.relative_to(PACKAGE).as_posix(): path.read_text() for path in sorted(PACKAGE.rglob("*.py"))}


def imported(source: str, file: str) -> set[str]:
    """Dotted names of all that a file imports, in functions and for type checkers too; relative ones made absolute."""
    package = ["lighthubert", *file.split("/")[:-1]]
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            names |= {".".join([*base, *filter(None, [node.module]), alias.name]) for alias in node.names}
    return names


def wrong_imports(source: str, file: str) -> Iterator[str]:
    """What one file imports and must not."""
    room = file.removesuffix(".py").split("/")[0]
    for name in sorted(imported(source, file)):
        first, *rest = name.split(".")
        if first == "lighthubert":
            other = rest[0] if rest else "__init__"
            if room != other and RANKS.get(other, len(FLOORS)) >= RANKS[room]:
                yield f"{file}: {name}: not below {room}"
            continue
        third_parties = DOORS.keys() & {first, *rest} or {first} - EVERYWHERE - sys.stdlib_module_names
        for third_party in third_parties:
            if not any(file.startswith((door + "/", door + ".")) for door in DOORS.get(third_party, ())):
                yield f"{file}: {name}: not this room's door"


def too_long(source: str, file: str) -> Iterator[str]:
    """A file or functions of too many lines."""
    if (lines := len(source.splitlines())) > FILE_LINES:
        yield f"{file}: {lines} lines"
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or 0) - node.lineno + 1
            if lines > FUNCTION_LINES:
                yield f"{file}: {node.name}: {lines} lines"


def hidden_modules(source: str) -> set[str]:
    """Public functions and classes of lighthubert/__init__.py that bear the name of a module beside it, which cannot
    be imported by its name any more (`import lighthubert.search as s`)."""
    tree = ast.parse(source)
    objects = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module != "lighthubert":
            objects |= {alias.asname or alias.name for alias in node.names}
    return objects & {file.removesuffix(".py").split("/")[0] for file in FILES}


def circle(sources: Mapping[str, str]) -> list[str]:
    """Modules that import each other in a circle, wherever the imports stand; none is []."""
    modules = {".".join(["lighthubert", *file.removesuffix(".py").split("/")]): file for file in sources}
    modules = {name.removesuffix(".__init__"): file for name, file in modules.items()}

    def module(name: str) -> str:
        while name and name not in modules:
            name = name.rpartition(".")[0]
        return name

    graph = {name: {module(other) for other in imported(sources[file], file)} for name, file in modules.items()}
    try:
        TopologicalSorter({name: others - {name, ""} for name, others in graph.items()}).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def names_in(values: Any) -> Iterator[str]:
    """Every key of nested values."""
    for item in values.items() if isinstance(values, dict) else enumerate(values) if isinstance(values, list) else ():
        yield str(item[0])
        yield from names_in(item[1])


def names_in_test(source: str) -> Iterator[str]:
    """What a test sets: `key=` of a call, `"key":` of a dict, and `a.key=` or `key:` in a text."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.keyword) and node.arg:
            yield node.arg
        elif isinstance(node, ast.Dict):
            yield from (key.value for key in node.keys if isinstance(key, ast.Constant) and isinstance(key.value, str))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            words = node.value.replace("=", "= ").replace(":", ": ").split()
            yield from (word[:-1].rpartition(".")[2].strip("{") for word in words if word[-1] in "=:")


@functools.cache
def set_names() -> frozenset[str]:
    recipes = [name for path in (ROOT / "recipes").rglob("*.yaml") for name in names_in(read_yaml(path))]
    paths = (ROOT / "tests").rglob("*.py")
    return frozenset([*recipes, *(name for path in paths for name in names_in_test(path.read_text()))])


def idle_keys(schema: type, names: frozenset[str]) -> list[str]:
    """Keys of a recipe that have a default and whose last name is nowhere set."""
    keys = [key.name for key in list_keys(schema) if key.default != "required"]
    return [name for name in keys if name.rpartition(".")[2] not in names]


def test_every_arrow_goes_down_and_through_a_door() -> None:
    assert not [wrong for file, source in FILES.items() for wrong in wrong_imports(source, file)]


def test_no_arrows_go_in_a_circle() -> None:
    assert not circle(FILES)


def test_every_room_has_a_place() -> None:
    assert {file.removesuffix(".py").split("/")[0] for file in FILES} <= RANKS.keys()


def test_only_jobs_run() -> None:
    assert {file.split("/")[0] for file in FILES if file.endswith("/__main__.py")} <= JOBS


def test_files_and_functions_are_short() -> None:
    assert not [long for file, source in FILES.items() for long in too_long(source, file)]


def test_no_function_hides_a_module() -> None:
    assert not hidden_modules(FILES["__init__.py"])


@pytest.mark.parametrize("title", SCHEMAS)
def test_every_key_is_set_somewhere(title: str) -> None:
    assert not idle_keys(SCHEMAS[title], set_names())


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
        ("runtime/command.py", "from lighthubert.schema import Problems"),
        ("schema.py", "from lighthubert.keys import list_keys"),
        ("keys.py", "from lighthubert.config import read_yaml"),
        ("objectives/units.py", "from lighthubert.tasks import LabelledTask"),
        ("tasks/labelled.py", "from lighthubert.probes import score"),
        ("train/loop.py", "from torch.utils.tensorboard import SummaryWriter"),
        ("train/log.py", "import fairseq2.data"),
        ("elastic/space.py", "from omegaconf import OmegaConf"),
        ("search/report.py", "from rich.table import Table"),
        ("search/plots.py", "def f():\n    from matplotlib.figure import Figure"),
        ("superb/worker.py", "from filelock import FileLock"),
        ("probes/probe.py", "from sklearn.linear_model import LogisticRegression"),
        ("search/predict.py", "import scipy.stats"),
        ("models/hubert.py", "from transformers import HubertModel"),
        ("search/report.py", "import pandas as pd"),
    ],
)
def test_a_wrong_import_is_seen(file: str, source: str) -> None:
    assert [*wrong_imports(source, file)]


def test_a_circle_is_seen() -> None:
    a, b, package = "models/a.py", "models/b.py", "models/__init__.py"
    late = "if TYPE_CHECKING:\n    from lighthubert.models.a import y"
    assert circle({a: "from lighthubert.models.b import x", b: late})
    assert circle({a: "from lighthubert.models import b", b: "def f():\n    import lighthubert.models.a"})
    assert circle({package: "from lighthubert.models.a import x", a: "from . import x"})
    assert not circle({package: "from lighthubert.models.a import x", a: "from lighthubert.models import b", b: ""})


def test_long_files_and_functions_are_seen() -> None:
    assert [*too_long("x = 1\n" * 251, "a.py")]
    method = "class A:\n    async def f(self):\n" + "        x = 1\n"
    assert [*too_long(method + "        x = 1\n" * 39, "a.py")] == ["a.py: f: 41 lines"]
    assert not [*too_long(method + "        x = 1\n" * 38, "a.py")]


@pytest.mark.parametrize(
    "source", ["from lighthubert.search.run import search", "def profile(): ...", "class cost: ..."]
)
def test_a_hidden_module_is_seen(source: str) -> None:
    assert hidden_modules(source)
    assert not hidden_modules("from lighthubert import search")


def test_an_idle_key_is_seen() -> None:
    assert idle_keys(Search, set_names() - {"held_out_clips", "supernet"}) == ["probe.held_out_clips"]
    source = "run(seed=1)\nvalues = {'lr': 2}\nmain(['train.steps=3', 'budget={macs: 1}'])\nidle = 'idle'"
    assert {*names_in_test(source)} == {"seed", "lr", "steps", "budget", "macs"}
