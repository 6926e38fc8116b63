"""lighthubert search RECIPE.yaml [key=value ...]"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path

import torch

from lighthubert.checkpoint import Loaded, read
from lighthubert.config import Recipes, write_yaml
from lighthubert.cost import Conditions, Latency
from lighthubert.data import Manifest
from lighthubert.elastic import SearchSpace, Supernet
from lighthubert.runtime import ranks
from lighthubert.runtime.command import Work, run_job
from lighthubert.runtime.fingerprint import fingerprint, require_same
from lighthubert.search.budget import Budget
from lighthubert.search.recipe import ProbeConfig, Search
from lighthubert.search.report import report
from lighthubert.search.run import Found, Stopped, run_search, space_of
from lighthubert.search.score import HeldOutLoss, ProbeError, draw_clips

ABOUT = """\
Find the best subnets of a supernet under a budget, without retraining: constrained evolution over the archs of its
space, each scored by its distance from the teacher on held-out clips (or by a probe), beside random search and the
uniform arch.

  lighthubert search recipes/mini/search.yaml budget.macs=1.2e9
Under torchrun, the ranks share the scoring.
The same command on the same run_dir resumes, or shows the result again. Ctrl-C stops; nothing is lost."""
NO_SCORE = ("run_dir", "evaluations", "test_manifest", "test_seconds")  # no score depends on them


def main(argv: list[str] | None = None) -> int:
    return run_job("search", ABOUT, Recipes(Search), prepare, argv)


def prepare(recipe: Search, device: torch.device) -> Work:
    file = read(recipe.supernet)
    supernet = file.supernet("there is nothing to search").to(device)
    known = {name: limit for name, limit in recipe.budget.items() if name != "milliseconds"}  # without a measurement
    if known:
        Budget(space_of(supernet), known)
    score_on = probe_on(recipe.probe) if recipe.probe else loss_on(recipe, file, supernet)
    score = score_on(recipe.valid_manifest, False)
    if recipe.latency:
        recipe.latency.check(supernet.config)

    def run() -> None:
        best = find(recipe, supernet, {"supernet": file.digest, **score.content}, score)
        if best is not None and ranks.rank() == 0:
            write_yaml(Path(recipe.run_dir) / "config.yaml", recipe)  # more evaluations, perhaps
            test = score_on(recipe.test_manifest, True) if recipe.test_manifest else None
            report(best, Path(recipe.run_dir), score.name, supernet, test)

    budget = ", ".join(f"{name} at most {limit:g}" for name, limit in recipe.budget.items())
    return Work([f"{recipe.supernet}: {supernet.space}", f"budget: {budget}", f"score: {score.name}",
                 f"{recipe.evaluations} archs by evolution, as many at random, in {recipe.run_dir}"], run)  # fmt: skip


def find(
    recipe: Search, supernet: Supernet, content: Mapping[str, str], score: HeldOutLoss | ProbeError
) -> Found | None:
    """Search, or go on searching; None if it was asked to stop. content: a file may change under its name, and the
    scores are of these weights and clips."""
    same = {key: value for key, value in asdict(recipe).items() if key not in (*NO_SCORE, "latency")} | dict(content)
    run_dir, space, latency = Path(recipe.run_dir), space_of(supernet), None
    if ranks.rank() == 0 and not (run_dir / "scored.jsonl").exists():
        write_yaml(run_dir / "config.yaml", recipe)
    if "milliseconds" in recipe.budget or recipe.latency:
        conditions = recipe.latency or Conditions()
        latency = ranks.on_first(lambda: latency_of(run_dir, space, conditions))
        same |= {"latency": latency.digest}
    size = {"evaluations": recipe.evaluations, "population": recipe.population, "seed": recipe.seed}
    try:
        return run_search(space, recipe.budget, lambda arch: score(supernet.sample(arch)), **size,
                          path=run_dir / "scored.jsonl", recipe=same, latency=latency)  # fmt: skip
    except Stopped:
        if ranks.rank() == 0:
            print(f"{run_dir}: stopped; the same command goes on")
        return None


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
    latency = Latency.load(path, space)
    before = {key: latency.described.get(key) for key in asdict(conditions)}
    require_same(path, fingerprint(before), fingerprint(asdict(conditions)))
    return latency


if __name__ == "__main__":
    sys.exit(main())
