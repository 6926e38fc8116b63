"""One step of distillation against losses computed by hand: clip by clip, with standalone subnets, in plain torch."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import SUBNETS, batch_of, distillation
from torch import Tensor

from lighthubert import Subnet
from lighthubert.data import Batch
from lighthubert.elastic import extract
from lighthubert.models import recompute_layers
from lighthubert.pretrain.distill import Distillation

Gradients = dict[str, Tensor]


BATCHES = (batch_of(5000, 6000, 7000, 8000, 9000), batch_of(4000, 4500, first_row=5))


def step_of(objective: Distillation, batches: tuple[Batch, ...], step: int) -> Iterator[tuple[Tensor, dict[str, Any]]]:
    """What the loop asks for: counts over all batches, then every loss."""
    totals = torch.stack([objective.counts(batch, step) for batch in batches]).sum(0)
    for batch in batches:
        yield from objective.losses(batch, step, totals)


def values_of(objective: Distillation, batch: Batch, step: int) -> list[float]:
    """The losses of a step of one batch, without the division by the number of subnets."""
    return [len(objective.recipe.subnets) * loss.item() for loss, _ in step_of(objective, (batch,), step)]


def gradients(objective: Distillation, losses: Callable[[], Any]) -> tuple[float, Gradients]:
    """The sum of the losses and its gradients, zeros where there is none."""
    objective.model.zero_grad()
    total = 0.0
    for loss in losses():
        loss.backward()
        total += float(loss.detach())
    named = objective.model.named_parameters()
    return total, {name: torch.zeros_like(p) if p.grad is None else p.grad.clone() for name, p in named}


def trained(objective: Distillation, batches: tuple[Batch, ...], step: int) -> tuple[float, Gradients]:
    return gradients(objective, lambda: (loss for loss, _ in step_of(objective, batches, step)))


def close(actual: Gradients, expected: Gradients, tolerance: float = 2e-5) -> None:
    assert actual.keys() == expected.keys()
    for name, gradient in expected.items():
        scale = max(float(gradient.abs().max()), 1e-4)
        torch.testing.assert_close(actual[name], gradient, rtol=0, atol=tolerance * scale, msg=name)


def clip_terms(objective: Distillation, batch: Batch, i: int, subnet: Subnet, target: Tensor | None = None) -> Any:
    """Of one clip without padding: weighted sum of L1 over its frames, their weight, the prediction. By hand."""
    wave = batch.waveform[i : i + 1, : batch.lengths[i]]
    if target is None:
        with torch.no_grad():
            ffn = objective.teacher(wave).ffn_outputs[-3:]
        target = sum(torch.nn.functional.layer_norm(x, (48,)) for x in ffn) / 3
    alone = replace(batch, waveform=wave, lengths=batch.lengths[i : i + 1], rows=(batch.rows[i],), starts=(0,))
    mask, _ = objective.weights(alone)
    output = objective.model(wave, None, subnet, mask).last_hidden_state
    head = objective.model.head["last"].weight[:, : output.shape[2]]
    prediction = output @ head.T
    weight = torch.where(mask, 1.0, 0.25)
    return ((prediction - target).abs().mean(-1) * weight).sum(), float(weight.sum()), prediction


def by_hand(
    objective: Distillation, batches: tuple[Batch, ...], step: int, seen: Callable[[int, int], list[int]]
) -> Any:
    """The losses of a step, one for each subnet; seen(batch, subnet) are the clips that it learns from."""
    for s, subnet in enumerate(objective.subnets(step)):
        terms = [clip_terms(objective, b, i, subnet) for k, b in enumerate(batches) for i in seen(k, s)]
        yield sum(t[0] for t in terms) / sum(t[1] for t in terms) / len(SUBNETS)


def sizes(subnets: list[Subnet]) -> list[Any]:
    """What subnets are compared by."""
    return [(subnet.layers, subnet.units) for subnet in subnets]


def test_subnets_are_a_function_of_seed_and_step(world: Path) -> None:
    names = ["parent", "largest", "smallest", "random", "random"]
    one, same = distillation(world, subnets=names), distillation(world, subnets=names)
    other = distillation(world, subnets=names, seed=2)
    steps = list(range(40))
    assert [sizes(one.subnets(s)) for s in steps] == [sizes(same.subnets(s)) for s in reversed(steps)][::-1]
    space = one.model.space
    for step in steps:
        parent, largest, smallest, *randoms = one.subnets(step)
        assert parent.config(one.model.config) == replace(one.model.config, layers=(0, 1, 2, 3))
        assert sizes([largest, smallest]) == sizes([space.subnet(space.largest()), space.subnet(space.smallest())])
        assert sizes(randoms[:1]) != sizes(randoms[1:])
        assert sizes(randoms) != sizes(other.subnets(step)[3:])
    assert len({repr(one.subnets(s)[3]) for s in steps}) > 35


def test_subnets_leave_the_global_generator_alone(world: Path) -> None:
    torch.manual_seed(3)
    before, objective = torch.get_rng_state(), distillation(world)
    torch.set_rng_state(before)
    objective.subnets(5)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("num_clips", [1, 2, 3, 4, 7, 12])
def test_shares_are_a_partition(world: Path, num_clips: int) -> None:
    """Each clip has one subnet a step; in three steps in a row each place of a batch is seen by all three."""
    objective, batch = distillation(world, share="clips"), batch_of(*[5000] * num_clips)
    seen = {place: set[int]() for place in range(num_clips)}
    for step in range(4, 7):
        shares = objective.shares(batch, step)
        assert sorted(place for share in shares for place in share) == list(range(num_clips))
        assert max(map(len, shares)) - min(map(len, shares)) <= 1
        for subnet, share in enumerate(shares):
            for place in share:
                seen[place].add(subnet)
    assert all(subnets == {0, 1, 2} for subnets in seen.values())


def test_all_clips_to_every_subnet(world: Path) -> None:
    """Two batches of a step: the mean over subnets of means over all frames of both, by weight."""
    objective = distillation(world)
    loss, actual = trained(objective, BATCHES, step=3)
    everything = [list(range(5)), [0, 1]]
    expected_loss, expected = gradients(
        objective, lambda: by_hand(objective, BATCHES, 3, lambda batch, subnet: everything[batch])
    )
    assert loss == pytest.approx(expected_loss, rel=1e-5)
    close(actual, expected)


@pytest.mark.parametrize("step", [0, 1])
def test_shared_clips(world: Path, step: int) -> None:
    """Each subnet's mean is over its own share, whatever the size; the second batch has no clip for one of them."""
    objective = distillation(world, share="clips")
    loss, actual = trained(objective, BATCHES, step)
    shares = [objective.shares(batch, step) for batch in BATCHES]
    assert min(map(len, shares[1])) == 0
    expected_loss, expected = gradients(
        objective, lambda: by_hand(objective, BATCHES, step, lambda batch, subnet: shares[batch][subnet])
    )
    assert loss == pytest.approx(expected_loss, rel=1e-5)
    close(actual, expected)


def test_subnets_take_turns(world: Path) -> None:
    """A step is that of a recipe with one subnet; its random arch is the step's own."""
    for step, name in enumerate(["largest", "smallest", "random", "largest"]):
        objective, alone = distillation(world, share="steps"), distillation(world, subnets=[name])
        assert objective.names(step) == [name]
        assert sizes(objective.subnets(step)) == sizes(alone.subnets(step))
        loss, actual = trained(objective, BATCHES, step)
        expected_loss, expected = trained(alone, BATCHES, step)
        assert loss == expected_loss
        assert actual.keys() == expected.keys()
        assert all(torch.equal(actual[key], expected[key]) for key in actual)


def test_shared_clips_cost_their_share(world: Path) -> None:
    """Frames that the supernet sees, counted by its head: with shares each clip passes once."""
    frames = []
    for share in ("nothing", "clips"):
        objective = distillation(world, share=share)
        seen: list[int] = []
        predict = objective.model.predict
        objective.model.predict = lambda x, *a, p=predict, n=seen: (n.append(len(x)), p(x, *a))[1]  # type: ignore[method-assign]
        list(step_of(objective, BATCHES[:1], 0))
        frames.append(sum(seen))
    assert frames == [15, 5]


def test_losses_are_those_of_standalone_subnets(world: Path) -> None:
    """The values again, with nets that share nothing with the supernet."""
    objective = distillation(world)
    batch, named = BATCHES[0], {}
    for loss, parts in step_of(objective, BATCHES[:1], 2):
        named |= {name: (loss.item(), value.item()) for name, value in parts.items()}
    assert list(named) == [f"loss/{name}" for name in SUBNETS]
    for name, subnet in zip(SUBNETS, objective.subnets(2), strict=True):
        net, sums = extract(objective.model.hubert, subnet), [0.0, 0.0]
        for i, length in enumerate(batch.lengths.tolist()):
            mask, _ = objective.weights(batch_of(length, first_row=i))
            wave = batch.waveform[i : i + 1, :length]
            with torch.no_grad():
                _, weight, _ = clip_terms(objective, batch, i, subnet)
                target = sum(torch.nn.functional.layer_norm(x, (48,)) for x in objective.teacher(wave).ffn_outputs[-3:])
                state = net(wave, mask=mask).last_hidden_state
                error = (state @ objective.model.head["last"].weight[:, : net.config.embed_dim].T - target / 3).abs()
                sums[0] += float((error.mean(-1) * torch.where(mask, 1.0, 0.25)).sum())
            sums[1] += weight
        assert named[f"loss/{name}"][1] == pytest.approx(sums[0] / sums[1], rel=1e-5)
        assert named[f"loss/{name}"][0] == pytest.approx(sums[0] / sums[1] / 3, rel=1e-5)


def test_names_alike_share_a_curve(world: Path) -> None:
    """Two random subnets: loss/random is their mean, as the loop adds up what has one name."""
    objective = distillation(world, subnets=["random", "largest", "random"])
    items = list(step_of(objective, BATCHES[:1], 0))
    values = [3 * loss.item() for loss, _ in items]
    assert [list(parts) for _, parts in items] == [["loss/random"], ["loss/largest"], ["loss/random"]]
    logged = sum(float(parts.get("loss/random", 0)) for _, parts in items)
    assert logged == pytest.approx((values[0] + values[2]) / 2)


def test_in_place_the_first_learns_from_the_teacher_alone(world: Path) -> None:
    """The others' targets are the first one's predictions as constants: the first gets no gradient from them."""
    objective, plain = distillation(world, in_place=True), distillation(world)
    batch, subnets = BATCHES[0], objective.subnets(1)
    first, *others = values_of(objective, batch, 1)
    assert first == pytest.approx(values_of(plain, batch, 1)[0])
    _, actual = gradients(objective, lambda: (loss for loss, _ in step_of(objective, (batch,), 1)))

    def expected() -> Iterator[Tensor]:
        clips = range(5)
        terms = [clip_terms(objective, batch, i, subnets[0]) for i in clips]
        goals = [term[2].detach() for term in terms]
        yield sum(t[0] for t in terms) / sum(t[1] for t in terms) / 3
        for subnet in subnets[1:]:
            terms = [clip_terms(objective, batch, i, subnet, goals[i]) for i in clips]
            yield sum(t[0] for t in terms) / sum(t[1] for t in terms) / 3

    loss, by_clip = gradients(objective, expected)
    assert (first + sum(others)) / 3 == pytest.approx(loss, rel=1e-5)
    close(actual, by_clip)


def test_in_place_only_the_first_is_a_target(world: Path) -> None:
    objective = distillation(world, subnets=["random", "random", "smallest"], in_place=True)
    batch, subnets = BATCHES[0], objective.subnets(1)
    losses = values_of(objective, batch, 1)
    with torch.no_grad():
        goals = [clip_terms(objective, batch, i, subnets[0])[2] for i in range(5)]
        terms = [clip_terms(objective, batch, i, subnets[2], goals[i]) for i in range(5)]
    assert losses[2] == pytest.approx(float(sum(t[0] for t in terms)) / sum(t[1] for t in terms), rel=1e-4)


@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_checkpointed_layers_have_equal_gradients(world: Path, dropout: float) -> None:
    """With dropout too: the second pass through a layer draws what the first one drew."""
    found = []
    for checkpoint in (False, True):
        objective = distillation(world, parent={"dropout": dropout, "attention_dropout": dropout})
        recompute_layers(objective.model, checkpoint)
        torch.manual_seed(0)
        found.append(trained(objective, BATCHES, step=3))
    assert found[0][0] == found[1][0]
    for name, gradient in found[0][1].items():
        assert torch.equal(gradient, found[1][1][name]), name


def test_pairs_are_means_over_the_layers_that_a_subnet_has(world: Path) -> None:
    target = {"pairs": [1, 2, 4], "tap": "layer", "normalize": "none"}
    objective = distillation(world, subnets=["largest", "smallest"], target=target, distance={"l1": 1.0, "cosine": 1.0})
    batch = BATCHES[0]
    for value, subnet in zip(values_of(objective, batch, 0), objective.subnets(0), strict=True):
        sums, weights = 0.0, 0.0
        for i, length in enumerate(batch.lengths.tolist()):
            wave = batch.waveform[i : i + 1, :length]
            mask, _ = objective.weights(batch_of(length, first_row=i))
            weight = torch.where(mask, 1.0, 0.25)
            with torch.no_grad():
                goals = objective.teacher(wave).hidden_states
                states = objective.model(wave, None, subnet, mask).hidden_states
                kept = [number for number in (1, 2, 4) if number - 1 in subnet.layers]
                for number in kept:
                    state = states[1 + subnet.layers.index(number - 1)]
                    x = state @ objective.model.head[str(number)].weight[:, : state.shape[2]].T
                    error = (x - goals[number]).abs().mean(-1) + 1 - torch.cosine_similarity(x, goals[number], dim=-1)
                    sums += float((error * weight).sum()) / len(kept)
            weights += float(weight.sum())
        assert value == pytest.approx(sums / weights, rel=1e-4)
    assert objective.subnets(0)[1].layers == (0, 3)


def test_a_subnet_without_any_of_the_pairs_is_left_out(world: Path) -> None:
    """The smallest keeps the first and the last layer; pairs of the others give it nothing to learn."""
    objective = distillation(world, subnets=["largest", "smallest"], target={"pairs": [2, 3]})
    loss, found = trained(objective, BATCHES, 0)
    assert loss > 0
    assert found["head.2.weight"].abs().sum() > 0


def test_a_step_without_clips(world: Path) -> None:
    """A batch may lose all its clips; the other batch of the step counts alone."""
    objective = distillation(world)
    empty = Batch(torch.zeros(0, 0), torch.zeros(0, dtype=torch.int64), (), (), 1)
    assert objective.counts(empty, 0).tolist() == [0.0] * 3
    assert objective.counts(empty, 0).dtype == torch.float64
    assert not list(objective.losses(BATCHES[0], 0, torch.zeros(3, dtype=torch.float64)))
