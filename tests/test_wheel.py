"""A wheel in an environment that holds torch, numpy, safetensors, omegaconf and what these need, and nothing else."""

import importlib.metadata
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

LIGHT = ["torch", "numpy", "safetensors", "omegaconf"]
EXTRA = ["fairseq2", "matplotlib", "rich", "sklearn", "soundfile", "tensorboard", "torchaudio", "transformers"]
PROGRAM = """
import importlib.util, random, sys
import torch
import lighthubert as lh

extras = sys.argv[1:]
assert lh.__file__.startswith(sys.prefix), lh.__file__
assert not [name for name in extras if importlib.util.find_spec(name)]

assert lh.SearchSpace.load("small").num_archs == 951_892_141_473
torch.manual_seed(0)
supernet = lh.Supernet(lh.SearchSpace.load("mini")).eval()
arch = supernet.space.sample(random.Random(0))
subnet = supernet.sample(arch).eval()
lh.save(supernet, "supernet.safetensors")
lh.save(subnet, "subnet.safetensors")
waveform = torch.randn(2, 16000)
with torch.no_grad():
    expected = subnet(waveform).hidden_states
    again = lh.load("subnet.safetensors").eval()(waveform).hidden_states
    sampled = lh.load("supernet.safetensors").sample(arch).eval()(waveform).hidden_states
    inside = supernet(waveform, None, arch).hidden_states
assert len(expected) == len(arch.layers) + 1
for other in (again, sampled, inside):
    assert len(other) == len(expected)
    assert all(torch.equal(a, b) for a, b in zip(expected, other))
assert lh.cost.num_params(subnet.config) == sum(p.numel() for p in subnet.parameters())
print("light")
"""


def needed(names: list[str]) -> set[str]:
    """The distributions `names` and all that they require here, extras aside."""
    todo, seen = list(names), set()
    while todo:
        name = todo.pop()
        if name not in seen:
            seen.add(name)
            requirements = map(Requirement, importlib.metadata.requires(name) or [])
            todo += [r.name for r in requirements if r.marker is None or r.marker.evaluate({"extra": ""})]
    return seen


def expose(names: set[str], folder: Path) -> None:
    """Link the installed files of these distributions, and of no other, into `folder`."""
    for name in names:
        dist = importlib.metadata.distribution(name)
        for top in {file.parts[0] for file in dist.files or []} - {"..", "__pycache__"}:
            if not (folder / top).exists():
                (folder / top).symlink_to(dist.locate_file(top))


@pytest.fixture(scope="module")
def wheel(repo_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(repo_root)]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    return next(folder.glob("lighthubert-*.whl"))


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the programs of a new environment that holds the wheel and the light packages."""
    folder = tmp_path_factory.mktemp("light")
    venv.create(folder, symlinks=True)
    (site_packages,) = folder.glob("lib/python*/site-packages")
    expose(needed(LIGHT), site_packages)
    pip = [sys.executable, "-m", "pip", "--python", str(folder / "bin/python"), "install"]
    subprocess.run([*pip, "--no-deps", "--no-index", str(wheel)], check=True, capture_output=True, timeout=120)
    return folder / "bin"


def run(folder: Path, *command: str | Path) -> str:
    done = subprocess.run([*map(str, command)], cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_wheel_holds_the_package_and_its_data(wheel: Path, repo_root: Path) -> None:
    package = repo_root / "lighthubert"
    files = {path.relative_to(repo_root).as_posix() for path in package.rglob("*") if path.is_file()}
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert names == {name for name in files if "__pycache__" not in name and "/." not in name}
    assert {"lighthubert/py.typed", "lighthubert/elastic/spaces/mini.yaml"} <= names
    assert [name for name in names if name.startswith("lighthubert/data/mini/") and name.endswith(".ogg")]


def test_spaces_supernets_and_files_need_only_torch(environment: Path, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    assert run(tmp_path, environment / "python", "-I", "-W", "error", program, *EXTRA) == "light\n"

    extract = [environment / "lighthubert", "extract", "supernet.safetensors"]
    run(tmp_path, *extract, "--smallest", "-o", "smallest.safetensors")
    load = "import sys, lighthubert as lh; print(len(lh.load(sys.argv[1]).config.num_heads) > 0)"
    assert run(tmp_path, environment / "python", "-I", "-c", load, "smallest.safetensors") == "True\n"
