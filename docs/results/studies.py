"""Runs the studies of docs/results.md: python docs/results/studies.py --seeds 1,2,3 [ARM ...]

From the project's folder. Every arm is one or more calls of `python -m lighthubert.pretrain` on the embedded corpus,
in runs/studies/SEED/; what is done is not done again. The teacher is the shipped one after its first iteration, which
the history still has: git show 5d7ee83:checkpoints/hubert-mini.safetensors > runs/studies/teacher.safetensors
For the arm `gates` its units are put in the order of gates once: python -m lighthubert.prune
recipes/mini/prune_dphubert.yaml init=runs/studies/teacher.safetensors distill.teacher=runs/studies/teacher.safetensors
run_dir=runs/studies/pruned

The arms are equal in CPU time, not in steps: a step of stage 1 was measured at 0.48 s, of shares at 0.63, of all clips
at 0.85, of one random subnet at 0.38, of the smallest net alone at 0.20 and of the middle one at 0.37 (one thread,
bf16). What a run really took is kept beside its losses, in docs/results/raw/studies.jsonl.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
from pathlib import Path

from raw import held_out, write

import lighthubert as lh

ROOT = Path("runs/studies")
STAGE1, STAGE2, PAPER = (f"recipes/mini/{name}.yaml" for name in ("stage1", "stage2", "stage2_paper"))
SMALLEST, MIDDLE = (f"space=docs/results/spaces/{name}.yaml" for name in ("smallest", "middle"))
ONE = "runs/studies/{seed}/stage1/supernet.safetensors"
TEACHER, ORDER, PLAIN = "init=teacher", "order_by_importance=true", "order_by_importance=false"
SANDWICH, SHARES = "subnets=[largest,smallest,random]", "share=clips"
Run = tuple[str, str, int, list[str]]  # folder, recipe, steps, what differs from the recipe


def after_stage1(name: str, steps: int, *changes: str, recipe: str = STAGE2) -> list[Run]:
    """Stage 2 from the seed's own stage 1."""
    return [("stage1", STAGE1, 80, []), (name, recipe, steps, [f"init={ONE}", *changes])]


def variant(name: str, *changes: str, init: str = "teacher") -> list[Run]:
    """Both stages of `shares` with other settings."""
    first = f"runs/studies/{{seed}}/{name}_stage1/supernet.safetensors"
    return [
        (f"{name}_stage1", STAGE1, 80, [f"init={init}", *changes]),
        (name, STAGE2, 120, [f"init={first}", SANDWICH, SHARES, PLAIN, *changes]),
    ]


ARMS: dict[str, list[Run]] = {
    "shares": after_stage1("shares", 120, SANDWICH, SHARES, PLAIN),
    "one_stage": [("one_stage", STAGE2, 184, [TEACHER, SANDWICH, SHARES, PLAIN])],
    "all_clips": after_stage1("all_clips", 90, SANDWICH, "share=nothing", PLAIN),
    "random_only": after_stage1("random_only", 200, PLAIN, recipe=PAPER),
    "ordered": after_stage1("ordered", 120, SANDWICH, SHARES, ORDER),
    "ordered_one_stage": [("ordered_one_stage", STAGE2, 184, [TEACHER, SANDWICH, SHARES, ORDER])],
    "ordered_random_only": after_stage1("ordered_random_only", 200, ORDER, recipe=PAPER),
    "ordered_turns": after_stage1("ordered_turns", 200, ORDER),
    "smallest_alone_clips": [("smallest_alone_clips", STAGE1, 280, [TEACHER, ORDER, SMALLEST])],
    "smallest_alone_time": [("smallest_alone_time", STAGE1, 580, [TEACHER, ORDER, SMALLEST])],
    "middle_alone_clips": [("middle_alone_clips", STAGE1, 280, [TEACHER, ORDER, MIDDLE])],
    "middle_alone_time": [("middle_alone_time", STAGE1, 313, [TEACHER, ORDER, MIDDLE])],
    "one_stage_turns": [("one_stage_turns", STAGE2, 250, [TEACHER, PLAIN])],
    "ordered_one_stage_turns": [("ordered_one_stage_turns", STAGE2, 250, [TEACHER, ORDER])],
    "gates": [("gates", STAGE2, 250, ["init=runs/studies/pruned/ordered.safetensors", PLAIN])],
    "masked_frames": variant("masked_frames", "frames.unmasked_weight=0"),
    "random_init": variant("random_init", init="random"),
    "last_layer": variant("last_layer", "target.layers=1"),
    "layer_outputs": variant("layer_outputs", "target.tap=layer"),
    "not_normalised": variant("not_normalised", "target.normalize=none"),
    "instance_norm": variant("instance_norm", "target.normalize=instance"),
}


def train(run: Run, seed: int) -> Path:
    """Run one call of pretrain, unless it is done; its CPU seconds are left in the run's folder."""
    name, recipe, steps, changes = run
    folder = ROOT / str(seed) / name
    if (folder / "cpu_seconds").exists():
        return folder
    settings = {
        "run_dir": folder,
        "teacher": ROOT / "teacher.safetensors",
        "seed": seed,
        "train.steps": steps,
        "train.eval_every": steps,
        "train.save_every": 1000,
        "eval_archs": 0,
    }
    given = [f"{key}={value}" for key, value in settings.items()] + [c.format(seed=seed) for c in changes]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with open(ROOT / f"{seed}_{name}.log", "w") as log:
        command = [sys.executable, "-m", "lighthubert.pretrain", recipe, *given]
        subprocess.run(command, check=True, stdout=log, stderr=log, env=os.environ | {"OMP_NUM_THREADS": "1"})
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime
    (folder / "cpu_seconds").write_text(f"{seconds:.1f}\n")
    return folder


def measure(arm: str, seed: int) -> None:
    """Held-out losses and the cost of an arm, into raw/studies.jsonl."""
    runs = ARMS[arm]
    folders = [ROOT / str(seed) / run[0] for run in runs]
    supernet = lh.load(folders[-1] / "supernet.safetensors")
    write("studies", ("arm", "seed"), {
        "arm": arm,
        "seed": seed,
        "steps": [run[2] for run in runs],
        "cpu_seconds": [float((folder / "cpu_seconds").read_text()) for folder in folders],
        "losses": held_out(supernet, folders[-1] / "config.yaml"),
    })  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("arms", nargs="*", metavar="ARM", help=f"of {', '.join(ARMS)}; all without any")
    parser.add_argument("--seeds", default="1,2,3")
    args = parser.parse_args()
    ROOT.mkdir(parents=True, exist_ok=True)
    for seed in map(int, args.seeds.split(",")):
        for arm in args.arms or ARMS:
            for run in ARMS[arm]:
                train(run, seed)
            measure(arm, seed)
            print(f"seed {seed}: {arm} is done", flush=True)


if __name__ == "__main__":
    main()
