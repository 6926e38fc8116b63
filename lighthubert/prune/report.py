"""What a finished pruning leaves: the net as an ordinary file, its sizes, a picture, and all units in gate order."""

from __future__ import annotations

from pathlib import Path

import torch

from lighthubert import cost
from lighthubert.checkpoint import Loaded, load, save
from lighthubert.config import write_yaml
from lighthubert.data import Batch
from lighthubert.elastic import axis_sizes, extract, importance, ranking, reorder, run_subnet
from lighthubert.models import HubertConfig
from lighthubert.models.config import brief
from lighthubert.prune.constraint import Constraint
from lighthubert.prune.model import GatedHubert
from lighthubert.prune.plots import widths
from lighthubert.runtime import plots
from lighthubert.tasks.model import TaskModel


def report(model: GatedHubert, tuned: TaskModel | None, init: Loaded, run_dir: Path, batch: Batch) -> None:
    """Write pruned.safetensors, and with constraints arch.yaml, report.png and ordered.safetensors; say what they are.

    tuned: the model whose head is saved with the net, if there is one. batch: held-out clips, on which the file is
    compared with the net that it was taken from.
    """
    model.eval()
    whole, path = model.hubert.config, run_dir / "pruned.safetensors"
    subnet = model.hard_subnet(final=True)
    net = extract(model.hubert, subnet)
    save(net, path) if tuned is None else tuned.of(net).save(path)
    with torch.no_grad():
        kept = load(path)(batch.waveform, batch.lengths).last_hidden_state
        gated = run_subnet(model.hubert, subnet, batch.waveform, batch.lengths).last_hidden_state
    difference = float((kept - gated).abs().max())
    print_table(model.constraints, whole, net.config)
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB, loaded; largest difference from the gated net: {difference:g}")
    if not model.constraints:
        return
    arch = net.config.arch
    assert arch is not None  # a subnet has one
    write_yaml(run_dir / "arch.yaml", arch.to_dict())
    axes = list(model.gates.probabilities())
    sizes = [{axis: n for axis, n in axis_sizes(c).items() if axis in axes} for c in (whole, net.config)]
    plots.save(widths(*sizes), run_dir / "report.png")
    start = init.hubert.cpu()  # it may have been the teacher too, on a device
    order = ranking(start, importance(start)) | model.order()  # axes without gates too, above all embed
    save(reorder(start, order), run_dir / "ordered.safetensors")
    print(f"{run_dir / 'report.png'}: the widths, which arch.yaml says too")
    print(f"{run_dir / 'ordered.safetensors'}: {init.path}, its units in the gates' order")


def print_table(constraints: tuple[Constraint, ...], whole: HubertConfig, net: HubertConfig) -> None:
    """Costs before and after, what was asked for, and the widths."""
    for name, count in (("parameters", cost.num_params), ("MACs of 10 s", cost.macs)):
        before, after = count(whole), count(net)
        print(f"{name}: {before:,} -> {after:,} ({1 - after / before:.1%} gone)")
    for c in constraints:
        reached, asked = c.of(net), c.budget(whole)
        print(
            f"{c}: asked for {asked:,.0f} (sparsity {c.sparsity:g}), reached {reached:,} ({reached / asked - 1:+.2%})"
        )
    for key in ("conv_channels", "num_heads", "ffn_dim"):
        print(f"{key}: {brief(getattr(whole, key))} -> {brief(getattr(net, key))}")
