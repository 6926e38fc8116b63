"""The notebooks of docs/notebooks: committed with the outputs of a whole run, and a new run shows the same."""

import base64
import json
import math
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import nbformat
import numpy as np
import pytest
from nbformat import NotebookNode

import lighthubert as lh

NOTEBOOKS = sorted((Path(__file__).parents[1] / "docs/notebooks").glob("*.ipynb"))
NUMBER = re.compile(r"-?\d+(?:[.]\d+)?(?:e[-+]\d+)?")
PLACE = re.compile(r"(?<![\w.])/(home|Users|root|tmp|var|work|opt|mnt|usr)/|\b[A-Z]:\\")
MAX_BYTES = 600_000
SECONDS = 600  # for one cell
# Appended to the notebook that is run: what it worked out, for the test to judge.
DUMP = """
import json
print(json.dumps({"losses": losses, "gmacs": gmacs, "archs": {name: str(arch) for name, arch in archs.items()}}))
"""


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def printed(cell: NotebookNode) -> str:
    return "".join(output.text for output in cell.outputs if output.get("name") == "stdout")


def images(cell: NotebookNode) -> list[bytes]:
    """The PNG files that a cell shows."""
    return [base64.b64decode(o.data["image/png"]) for o in cell.outputs if "image/png" in o.get("data", {})]


def readable(notebook: NotebookNode) -> Iterator[str]:
    """All text of a notebook: sources and outputs, but for the pictures."""
    for cell in notebook.cells:
        yield cell.source
        for output in cell.get("outputs", []):
            yield output.get("text", "")
            yield from (str(value) for kind, value in output.get("data", {}).items() if kind != "image/png")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_is_committed_as_a_whole_clean_run(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    cells = code_cells(notebook)
    outputs = [output for cell in cells for output in cell.outputs]
    assert notebook.metadata.kernelspec.name == "python3"
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert not [output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"]
    assert not [text for text in readable(notebook) if PLACE.search(text)]
    assert not [cell.id for cell in cells if "print(" in cell.source and not printed(cell)]
    assert not [cell.id for cell in cells if "plt.show()" in cell.source and not images(cell)]
    assert path.stat().st_size < MAX_BYTES


@pytest.mark.parametrize("text", ["/home/x/y.py", "'/usr/a.wav'", "at /var/lib", "C:\\Users"])
def test_a_place_is_seen(text: str) -> None:
    assert PLACE.search(text)


def run(notebook: NotebookNode, folder: Path, home: Path) -> None:
    """Run a notebook in `folder` with this checkout's package; what IPython keeps goes to `home`."""
    from nbclient import NotebookClient

    package = str(Path(lh.__file__).parents[1])
    env = os.environ | {"PYTHONPATH": package, "IPYTHONDIR": str(home), "JUPYTER_RUNTIME_DIR": str(home)}
    env.pop("MPLBACKEND", None)
    resources = {"metadata": {"path": str(folder)}}
    NotebookClient(notebook, timeout=SECONDS, resources=resources, coalesce_streams=True).execute(env=env)


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory, repo_root: Path) -> Path:
    """Notebooks and checkpoints as they lie in the checkout, in another place."""
    folder = tmp_path_factory.mktemp("copy")
    for part in ("docs/notebooks", "checkpoints"):
        shutil.copytree(repo_root / part, folder / part)
    return folder


@pytest.fixture(scope="module")
def fresh(copy: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, NotebookNode]:
    """The cells of a new run by their id, a last one with its values among them."""
    folder = copy / "docs/notebooks"
    notebook = nbformat.read(folder / "sample_a_subnet.ipynb", as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell(DUMP, id="dump"))
    run(notebook, folder, tmp_path_factory.mktemp("home"))
    return {cell.id: cell for cell in code_cells(notebook)}


@pytest.mark.slow
def test_a_new_run_shows_what_is_committed(fresh: dict[str, NotebookNode], repo_root: Path) -> None:
    committed = nbformat.read(repo_root / "docs/notebooks/sample_a_subnet.ipynb", as_version=4)
    for cell in code_cells(committed):
        new, old = printed(fresh[cell.id]), printed(cell)
        assert NUMBER.sub("#", new).split() == NUMBER.sub("#", old).split(), cell.id
        values = [[float(n) for n in NUMBER.findall(text)] for text in (new, old)]
        assert values[0] == pytest.approx(values[1], rel=0.01, abs=0.005), cell.id
        assert len(images(fresh[cell.id])) == len(images(cell)), cell.id
        assert not [output for output in fresh[cell.id].outputs if output.output_type == "error"]


@pytest.mark.slow
def test_sizes_are_those_of_the_nets(fresh: dict[str, NotebookNode], repo_root: Path) -> None:
    supernet = lh.load(repo_root / "checkpoints/lighthubert-mini.safetensors")
    assert isinstance(supernet, lh.Supernet)
    archs = {"largest": supernet.space.largest(), "smallest": supernet.space.smallest()}
    rows = {line.split()[0]: line.split() for line in printed(fresh["sample"]).splitlines()[1:]}
    for name, arch in archs.items():
        size = sum(p.numel() for p in supernet.sample(arch).parameters())
        assert float(rows[name][1]) == pytest.approx(size / 1e6, abs=0.006)
    assert len(rows) == 4


@pytest.mark.slow
def test_subnet_supernet_and_file_agree(fresh: dict[str, NotebookNode]) -> None:
    differences = re.findall(r"largest difference, .*: (\S+)", printed(fresh["same"]))
    assert len(differences) == 2
    assert all(float(difference) < 1e-5 for difference in differences)


@pytest.mark.slow
def test_more_work_is_less_distance(fresh: dict[str, NotebookNode]) -> None:
    values = json.loads(printed(fresh["dump"]))
    losses, gmacs = ([values[key][name] for name in values["archs"]] for key in ("losses", "gmacs"))
    assert len(set(values["archs"].values())) == len(losses) == 52
    assert all(math.isfinite(loss) and loss > 0 for loss in losses)
    correlation = np.corrcoef(*(np.argsort(np.argsort(x)) for x in (gmacs, losses)))[0, 1]
    assert correlation < -0.3
    assert f"rank correlation of GMACs and distance: {correlation:.2f}" in printed(fresh["loss"])
    assert values["losses"]["largest"] < values["losses"]["smallest"]


# What the notebook that searches worked out.
SEARCH_DUMP = """
import json
print(json.dumps({"best": found.best.to_dict(), "random": found.random.score, "uniform": found.uniform.score,
                  "front": [row.score for row in found.front], "scored": len(found.scored),
                  "file": score(loaded),
                  "test": {name: test(supernet.sample(row.arch)) for name, row in rows.items()}}))
"""


@pytest.fixture(scope="module")
def searched(copy: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, NotebookNode]:
    """The cells of a new run of the search by their id. Another machine's last bits may lead it another way."""
    folder = copy / "docs/notebooks"
    notebook = nbformat.read(folder / "search_a_subnet.ipynb", as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell(SEARCH_DUMP, id="dump"))
    run(notebook, folder, tmp_path_factory.mktemp("home"))
    return {cell.id: cell for cell in code_cells(notebook)}


@pytest.mark.slow
def test_the_search_finds_and_writes_the_best(searched: dict[str, NotebookNode], repo_root: Path) -> None:
    values = json.loads(printed(searched["dump"]))
    supernet = lh.load(repo_root / "checkpoints/lighthubert-mini.safetensors")
    assert isinstance(supernet, lh.Supernet)
    arch = supernet.space.arch(values["best"]["arch"])
    assert values["best"]["costs"]["macs"] == lh.cost.macs(supernet.space.config(arch)) <= 1.3e9
    assert values["file"] == values["best"]["score"] == min(values["front"])
    assert values["best"]["score"] <= values["random"] < values["uniform"]
    assert values["test"]["searched"] < values["test"]["uniform"]
    assert values["scored"] <= 201
    for cell in ("front", "widths"):
        assert len(images(searched[cell])) == 1


@pytest.mark.slow
def test_starts_from_the_projects_folder_too(copy: Path, tmp_path: Path) -> None:
    notebook = nbformat.read(copy / "docs/notebooks/sample_a_subnet.ipynb", as_version=4)
    notebook.cells = [cell for cell in notebook.cells if cell.id in ("imports", "space")]
    run(notebook, copy, tmp_path)
    assert "archs" in printed(notebook.cells[-1])
