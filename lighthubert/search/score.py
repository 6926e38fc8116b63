"""What an arch is worth, lower is better: how far it is from its teacher on held-out clips, or what a probe says."""

# B clips, T frames, D the teacher's width

from __future__ import annotations

from typing import Any

import torch

from lighthubert.checkpoint import weights_digest
from lighthubert.data import BadDataError, DataConfig, Manifest, eval_batches, stream
from lighthubert.elastic import Supernet
from lighthubert.models import SAMPLE_RATE, Hubert, valid_mask
from lighthubert.objectives import DistanceConfig, TargetConfig, distance, predictions, targets
from lighthubert.probes import make_probe, score
from lighthubert.runtime.files import digest
from lighthubert.search.recipe import ProbeConfig
from lighthubert.search.run import space_of


class HeldOutLoss:
    """Mean L1 distance, over the frames of clean speech, of a subnet's prediction from the teacher's target.

    It is a function of a standalone net of the supernet, extracted or read from a file, whose config says which subnet
    it is: a score is that of the file that `extract` writes, bit for bit. The clips and the teacher's targets stay in
    memory, some 4 kB a frame.
    """

    name = "held-out loss"

    def __init__(self, supernet: Supernet, teacher: Hubert, clips: Manifest, data: DataConfig) -> None:
        self.supernet, self.target = supernet.eval(), target_of(supernet)
        self.target.check(teacher.config, supernet.config)
        space = space_of(supernet)
        everywhere = set.intersection(*(set(space.layers(n)) for n in space.num_layers))
        if lacking := sorted(set(self.target.pairs) - {layer + 1 for layer in everywhere}):
            raise ValueError(f"target.pairs: not all subnets have layers {lacking}: their losses cannot be compared")
        self.content = {"teacher": weights_digest(teacher), "clips": clips.digest}
        self.device = next(supernet.parameters()).device
        self.batches = []
        teacher = teacher.eval().to(self.device)
        for batch in eval_batches(clips, data, teacher.config):
            batch = batch.to(self.device)
            with torch.inference_mode():
                output = teacher(batch.waveform, batch.lengths)
                goal = targets(output, self.target)
            self.batches.append((batch, goal, valid_mask(output.lengths, output.last_hidden_state.shape[1])))

    @torch.inference_mode()
    def __call__(self, net: Hubert) -> float:
        arch = net.config.arch
        if arch is None:
            raise ValueError("the held-out loss is of subnets of the supernet, and this net does not say which it is")
        subnet, total, frames = self.supernet.subnet(arch), 0.0, 0.0
        for batch, goal, valid in self.batches:
            predicted = predictions(self.supernet, net(batch.waveform, batch.lengths), subnet, self.target)
            sums = [(distance(predicted[k], goal[k], DistanceConfig()) * valid).sum() for k in predicted]
            total += float(torch.stack(sums).mean())
            frames += float(valid.sum())
        return total / frames


class ProbeError:
    """1 - the accuracy of a linear classifier on a net's frozen hidden states, or the error rate of a linear reader of
    texts: `lighthubert.probes.score`, turned so that lower is better.

    The classifier learns clips of config.train_manifest; num_held_out clips of another manifest, or all, judge it.
    """

    name = "probe error"

    def __init__(self, config: ProbeConfig, held_out: str, num_held_out: int | None) -> None:
        probe = make_probe(config.column, config.train_manifest, held_out, column=config.column, kind=config.kind,
                           where=config.where)  # fmt: skip
        self.probe = probe.take(config.train_clips, num_held_out)
        self.content = {"clips": digest([repr(self.probe.clips).encode()])}

    def __call__(self, net: Hubert) -> float:
        return 1 - score(net, self.probe, None, None)


def target_of(supernet: Supernet) -> TargetConfig:
    """What the supernet's head predicts. Raises ValueError where its file does not say."""
    values: dict[str, Any] = dict(supernet.predicts or {})
    values.pop("teacher", None)
    try:
        if not values or not len(supernet.head):
            raise ValueError("there is none" if not len(supernet.head) else "it is not told")
        return TargetConfig(**values)
    except (ValueError, TypeError) as error:
        raise ValueError(f"what the supernet's head predicts must be known to score subnets by it: {error}") from None


def draw_clips(manifest: Manifest, seconds: float, data: DataConfig) -> Manifest:
    """Random clips, whole but for data.max_clip_seconds, until there are so many seconds or no more clips.

    The same ones whatever the seed of a search, so that searches can be compared.
    """
    samples = manifest.samples.clip(max=data.max_clip_samples)
    order = stream("clips", 1).permutation(len(manifest))
    order = order[samples[order] >= data.min_clip_samples]
    if not len(order):
        raise BadDataError(f"{manifest.path}: no clip is as long as data.min_clip_seconds, {data.min_clip_seconds:g} s")
    count = int((samples[order].cumsum() < seconds * SAMPLE_RATE).sum()) + 1
    return manifest.take(sorted(order[:count].tolist()))
