"""python -m lighthubert.search RECIPE.yaml [key=value ...]"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import torch

from lighthubert.checkpoint import Loaded, read
from lighthubert.config import make_recipe, write_yaml
from lighthubert.cost import Conditions, Latency
from lighthubert.data import Manifest
from lighthubert.elastic import SearchSpace, Supernet
from lighthubert.models import Arch
from lighthubert.search.recipe import ProbeConfig, Search
from lighthubert.search.report import report
from lighthubert.search.run import Stopped, search
from lighthubert.search.score import HeldOutLoss, ProbeError, draw_clips
from lighthubert.train import distributed, run_job

ABOUT = """\
Find the best subnets of a supernet under a budget, without retraining: constrained evolution over the archs of its
space, each scored by its distance from the teacher on held-out clips (or by a probe), beside random search and the
uniform arch.

  python -m lighthubert.search recipes/mini/search.yaml budget.macs=1.2e9
What a recipe may say stands in lighthubert/search/recipe.py. Under torchrun, the ranks share the scoring.
The same command on the same run_dir resumes, or shows the result again. Ctrl-C stops; nothing is lost."""
FREE = ("run_dir", "evaluations", "test_manifest", "test_seconds")  # no score depends on them


def main(argv: list[str] | None = None) -> int:
    return run_job("search", ABOUT, lambda path, values: make_recipe(path, values, Search), run, argv)


def run(recipe: Search, device: torch.device) -> None:
    file = read(recipe.supernet)
    supernet = file.supernet("there is nothing to search").to(device)
    score_on = probe_on(recipe.probe) if recipe.probe else loss_on(recipe, file, supernet)
    score = score_on(recipe.valid_manifest, False)

    def score_of(arch: Arch) -> float:
        return score(supernet.sample(arch))

    # A file may change under its name: the scores are of these weights and clips.
    content = {"supernet": file.digest, **score.content}
    same = {key: value for key, value in asdict(recipe).items() if key not in (*FREE, "latency")} | content
    run_dir, latency = Path(recipe.run_dir), None
    if "milliseconds" in recipe.budget or recipe.latency:
        conditions = recipe.latency or Conditions()
        latency = distributed.on_first(lambda: latency_of(run_dir, supernet.space, conditions))
        same |= {"latency": latency.digest}
    size = {"evaluations": recipe.evaluations, "population": recipe.population, "seed": recipe.seed}
    try:
        found = search(supernet.space, recipe.budget, score_of, **size, path=run_dir / "scored.jsonl", recipe=same,
                       latency=latency)  # fmt: skip
    except Stopped:
        if distributed.rank() == 0:
            print(f"{run_dir}: stopped; the same command goes on")
        return
    if distributed.rank() == 0:
        write_yaml(run_dir / "config.yaml", asdict(recipe))
        test = score_on(recipe.test_manifest, True) if recipe.test_manifest else None
        report(found, run_dir, score.name, supernet, test)


ScoreOn = Callable[[str, bool], HeldOutLoss | ProbeError]  # a manifest, and whether it is for the report alone


def loss_on(recipe: Search, file: Loaded, supernet: Supernet) -> ScoreOn:
    name = recipe.teacher or str((file.predicts or {}).get("teacher", ""))
    if not name:
        raise ValueError(f"{file.path}: does not say what its teacher is; give teacher=FILE")
    teacher = (file if name == file.path else read(name)).hubert

    def score_on(manifest: str, report: bool) -> HeldOutLoss:
        seconds = recipe.test_seconds if report else recipe.seconds
        return HeldOutLoss(supernet, teacher, draw_clips(Manifest.read(manifest), seconds, recipe.data), recipe.data)

    return score_on


def probe_on(config: ProbeConfig) -> ScoreOn:
    return lambda manifest, report: ProbeError(config, manifest, None if report else config.held_out_clips)


def latency_of(run_dir: Path, space: SearchSpace, conditions: Conditions) -> Latency:
    """What the run has used so far, wherever it goes on; of this machine for a new one. Raises ValueError for a run
    under other conditions."""
    path = run_dir / "latency.json"
    if not path.exists():
        Latency.here(space, conditions).save(path)
    found = Latency.load(path, space)
    if changed := [(k, v) for k, v in asdict(conditions).items() if found.described.get(k) != v]:
        told = "; ".join(f"{key}: {found.described.get(key)!r} there, now {value!r}" for key, value in changed)
        raise ValueError(f"{path}: latency under other conditions ({told}); give another run_dir")
    return found


if __name__ == "__main__":
    sys.exit(main())
