"""Character CTC: a weighted sum of frozen layers and one linear map to characters, as SUPERB's phone recognition.

The weights of the sum and the map are learnt together; layers are standardised first, so that weights can be compared.
"""

# L layers, N frames of all clips, D dimensions, K characters and the blank, B clips, T frames of the longest

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import ctc_loss, linear
from torch.nn.utils.rnn import pad_sequence

from lighthubert.probes.classify import draw
from lighthubert.probes.clips import Probe
from lighthubert.probes.features import Represent, collect
from lighthubert.probes.scores import Score
from lighthubert.tasks.decoding import error_rates, greedy, path_text
from lighthubert.tasks.vocabulary import BLANK, SPACE, Vocabulary

STEPS, BATCH_CLIPS, LR, WEIGHT_DECAY = 500, 16, 5e-2, 1e-2


@dataclass(frozen=True)
class Speech:
    """Frames of all clips one after another, (L, N, D), and of each clip its row, its first frame and its frames."""

    table: Tensor
    rows: list[int]
    starts: list[int]
    counts: list[int]

    def neighbours(self, clip: int, context: int) -> Tensor:
        """(T, context) frames side by side with each frame of a clip; the ends are repeated."""
        steps = torch.arange(self.counts[clip])[:, None] + torch.arange(context) - context // 2
        return steps.clamp(0, self.counts[clip] - 1) + self.starts[clip]


@dataclass(frozen=True)
class LinearCTC:
    """What is learnt: mix (L,), weight (K, context * D), bias (K,)."""

    mix: Tensor
    weight: Tensor
    bias: Tensor
    context: int

    def __call__(self, speech: Speech, clips: Sequence[int]) -> list[Tensor]:
        """Log-probabilities (T, K) of each clip."""
        frames = torch.cat([speech.neighbours(clip, self.context) for clip in clips])
        mixed = torch.einsum("l,lncd->ncd", self.mix.softmax(0), speech.table[:, frames])
        scores = linear(mixed.flatten(1), self.weight, self.bias).log_softmax(-1)
        return list(scores.split([speech.counts[clip] for clip in clips]))


def transcribe(probe: Probe, represent: Represent, seeds: Sequence[int], context: int,
               layers: Sequence[int] | None) -> Score:  # fmt: skip
    """The character error rate of a linear map from frames to the probe's texts, read greedily."""
    held_out = np.array([clip.held_out for clip in probe.clips])
    speech = standardise(probe, represent, layers, held_out)
    texts = [probe.clips[row].label for row in speech.rows]
    train = np.array([i for i, row in enumerate(speech.rows) if not held_out[row]])
    test = [i for i, row in enumerate(speech.rows) if held_out[row]]
    if len(train) == 0 or len(test) == 0:
        raise ValueError(f"probe {probe.name}: {len(train)} training and {len(test)} held-out clips are too few")
    vocabulary = alphabet([texts[i] for i in train])
    targets = [torch.tensor(ids) for ids in vocabulary.encode(texts, "ctc")]
    errors, mix = [], torch.zeros(len(speech.table))
    for seed in seeds:
        model = learn(speech, targets, draw(train, seed), len(vocabulary), context, seed)
        mix += model.mix.softmax(0) / len(seeds)
        paths = [greedy(scores[None], torch.tensor([len(scores)]))[0] for i in test for scores in model(speech, [i])]
        mistakes, total = error_rates([path_text(path, vocabulary) for path in paths], [texts[i] for i in test])["cer"]
        errors.append(mistakes / total)
    heaviest = int(mix.argmax())
    number = layers[heaviest] if layers else heaviest
    return Score("cer", tuple(errors), number, None, tuple(mix.tolist()), len(train), len(test))


def alphabet(texts: Sequence[str]) -> Vocabulary:
    """The blank, then all characters in order, the space where it stands in it."""
    return Vocabulary((BLANK, *"".join(sorted(set("".join(texts)))).replace(" ", SPACE)))


def standardise(probe: Probe, represent: Represent, layers: Sequence[int] | None, held_out: np.ndarray) -> Speech:
    """All frames, each dimension of a layer with mean 0 and deviation 1 over the training clips."""
    seen = collect(probe.manifest, represent, layers, lambda frames: frames)
    table = torch.stack([torch.from_numpy(layer) for layer in seen.layers])
    train = torch.from_numpy(~held_out[np.repeat(seen.rows, seen.counts)])
    for layer in table:
        layer -= layer[train].mean(0)
        layer /= layer[train].std(0, correction=0).clamp(min=1e-6)
    return Speech(table, seen.rows, np.cumsum([0, *seen.counts[:-1]]).tolist(), seen.counts)


def learn(speech: Speech, targets: Sequence[Tensor], clips: np.ndarray, num_classes: int, context: int,
          seed: int) -> LinearCTC:  # fmt: skip
    """Train from zero weights; the seed orders the clips."""
    num_layers, _, dim = speech.table.shape
    shapes = (num_layers,), (num_classes, context * dim), (num_classes,)
    mix, weight, bias = (torch.zeros(shape, requires_grad=True) for shape in shapes)
    model = LinearCTC(mix, weight, bias, context)
    optimizer = torch.optim.AdamW([mix, weight, bias], LR, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / STEPS)
    rng = np.random.default_rng([2, seed])
    epochs = -(-STEPS * BATCH_CLIPS // len(clips))
    order = np.concatenate([rng.permutation(clips) for _ in range(epochs)])
    for batch in order[: STEPS * BATCH_CLIPS].reshape(STEPS, BATCH_CLIPS).tolist():
        optimizer.zero_grad()
        scores = pad_sequence(model(speech, batch))  # (T, B, K)
        frames = torch.tensor([speech.counts[clip] for clip in batch])
        texts = [targets[clip] for clip in batch]
        lengths = torch.tensor([len(text) for text in texts])
        ctc_loss(scores, torch.cat(texts), frames, lengths, zero_infinity=True).backward()
        optimizer.step()
        schedule.step()
    return LinearCTC(mix.detach(), weight.detach(), bias.detach(), context)
