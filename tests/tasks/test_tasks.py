"""Task losses against sums over every alignment and torch's own cross-entropy; heads on padded batches."""

import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from lighthubert.models import HubertOutput
from lighthubert.tasks.config import TaskConfig
from lighthubert.tasks.labels import PAD
from lighthubert.tasks.losses import learnable, task_loss
from lighthubert.tasks.model import TaskHead


def ctc_of_all_alignments(scores: Tensor, label: list[int]) -> float:
    """-log of the summed probability of every path (T,) that says `label`; scores (T, V) are log-probabilities."""
    total = 0.0
    for path in itertools.product(range(scores.shape[1]), repeat=len(scores)):
        if [token for token, _ in itertools.groupby(path) if token] == label:
            total += math.exp(sum(float(scores[t, token]) for t, token in enumerate(path)))
    return -math.log(total)


def test_ctc_is_the_sum_over_alignments() -> None:
    """Whatever stands in padded frames, and clip by clip."""
    torch.manual_seed(0)
    logits = torch.randn(4, 6, 3, dtype=torch.float64)
    labels, frames = [[1], [1, 2, 1], [2, 2], [1, 1, 2]], [6, 5, 4, 6]
    table = torch.tensor([[1, PAD, PAD], [1, 2, 1], [2, 2, PAD], [1, 1, 2]])
    scores = logits.log_softmax(-1)
    expected = [ctc_of_all_alignments(scores[i, :n], labels[i]) for i, n in enumerate(frames)]
    found = task_loss(logits, torch.tensor(frames), table)
    assert found.dtype == torch.float32
    assert found.tolist() == pytest.approx(expected, rel=1e-5)


def test_text_that_frames_cannot_hold_is_left_out() -> None:
    """Two alike need a blank between them; a clip without a label has nothing to learn either."""
    logits = torch.randn(4, 3, 3, requires_grad=True)
    labels = torch.tensor([[1, 2, 1], [1, 1, 2], [1, 1, PAD], [PAD, PAD, PAD]])
    frames = torch.tensor([3, 3, 3, 3])
    assert learnable(frames, labels, "ctc").tolist() == [3, 0, 2, 0]
    losses = task_loss(logits, frames, labels)
    assert (losses != 0).tolist() == [True, False, True, False]
    losses.sum().backward()
    assert logits.grad is not None
    assert (logits.grad.abs().sum((1, 2)) > 0).tolist() == [True, False, True, False]


def test_classes() -> None:
    logits, labels = torch.randn(3, 5), torch.tensor([[4], [PAD], [0]])
    losses = task_loss(logits, torch.tensor([9, 9, 9]), labels)
    known = F.cross_entropy(logits[[0, 2]], labels[[0, 2], 0], reduction="none")
    assert torch.equal(losses, torch.stack([known[0], torch.tensor(0.0), known[1]]))
    assert learnable(torch.tensor([9, 9, 9]), labels, "classify").tolist() == [1, 0, 1]


def output_of(states: list[Tensor], lengths: list[int]) -> HubertOutput:
    return HubertOutput(tuple(states), (), torch.tensor(lengths))


@pytest.mark.parametrize("kind", ["ctc", "classify"])
def test_a_head_sees_valid_frames_of_a_sum_of_states(kind: str) -> None:
    torch.manual_seed(1)
    head = TaskHead(4, 2, 3, TaskConfig(kind=kind, layers="weighted"))
    states = [torch.randn(2, 5, 4) for _ in range(3)]
    with torch.no_grad():
        head.layer_weights.copy_(torch.tensor([2.0, 1.0, 0.5]).log())  # type: ignore[union-attr]
    mean = (2 * states[0] + states[1] + 0.5 * states[2]) / 3.5
    expected = head.proj(mean if kind == "ctc" else torch.stack([mean[0].mean(0), mean[1, :3].mean(0)]))
    noisy = [state.clone() for state in states]
    for state in noisy:
        state[1, 3:] = float("nan") if kind == "classify" else 7.0
    found = head(output_of(noisy, [5, 3]))
    if kind == "ctc":
        found, expected = found[:, :3], expected[:, :3]
    assert torch.allclose(found, expected, atol=1e-6)


def test_the_last_state() -> None:
    head = TaskHead(4, 1, 3, TaskConfig())
    states = [torch.randn(1, 5, 4), torch.randn(1, 5, 4)]
    assert torch.equal(head(output_of(states, [5])), head.proj(states[1]))
    assert head.layer_weights is None
