"""The objective of a teacher from nothing, against cross-entropies computed by hand, clip by clip."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tiny import DATA, FRAMES, HUBERT, batch_of, random_hubert, unit_values

from lighthubert.data import Batch, DataConfig, Manifest, load_audio
from lighthubert.objectives import UnitLabels, draw_mask
from lighthubert.pretrain.recipe import Units
from lighthubert.pretrain.units import MaskedUnits, UnitModel
from lighthubert.schema import parse

UNITS = 8


def labels(path: Path, samples: list[int], without: int | None = None) -> UnitLabels:
    """Random units; a clip `without` any could not be read."""
    rng = np.random.default_rng(0)
    clips = [rng.integers(UNITS, size=(n - 400) // 320 + 1).astype(np.uint16) for n in samples]
    UnitLabels.write(path, (clip[:0] if row == without else clip for row, clip in enumerate(clips)))
    return UnitLabels(path, HUBERT)


@pytest.fixture
def objective(tmp_path: Path, world: Path) -> MaskedUnits:
    """Seven training clips, the third without labels."""
    recipe = parse(Units, unit_values(world, run_dir="unused", frames=FRAMES))
    valid = Manifest.read(recipe.valid_manifest)
    train = labels(tmp_path / "train.npz", [5000, 6000, 7000, 8000, 16000, 4000, 4500], without=2)
    torch.manual_seed(0)
    model = UnitModel(recipe.model, UNITS)
    model.hubert = random_hubert(recipe.model)
    held_out = labels(tmp_path / "valid.npz", valid.samples.tolist())
    return MaskedUnits(model.train(), recipe, {"train": train, "valid": held_out}, valid)


def clip_terms(
    objective: MaskedUnits, wave: torch.Tensor, row: int, start: int, epoch: int, split: str
) -> list[torch.Tensor]:
    """Of one clip without padding: cross-entropy, whether it is right, and the mask, frame by frame."""
    units = objective.labels[split]
    own = units.units[units.offsets[row] : units.offsets[row + 1]].astype(np.int64)[start // 320 :]
    single = Batch(wave[None], torch.tensor([len(wave)]), (row,), (start,), epoch)
    mask = draw_mask(single, objective.model.hubert.config, objective.recipe.frames, objective.recipe.seed)
    state = objective.model.hubert(wave[None], None, mask).last_hidden_state[0]
    logits = F.log_softmax(objective.model.head(state), -1)
    frames = min(len(own), len(logits))
    target = torch.from_numpy(own[:frames])
    entropy = -logits[torch.arange(frames), target]
    return [entropy, (logits[:frames].argmax(-1) == target).float(), mask[0, :frames]]


def test_the_loss_by_hand(objective: MaskedUnits) -> None:
    """Two batches of a step, one clip cropped and one without labels: a mean over the weights of all frames."""
    whole = batch_of(5000, 6000, 7000, 8000, 9000)
    batches = [
        Batch(whole.waveform, whole.lengths, whole.rows, (0, 0, 0, 0, 3200), 1),
        batch_of(4000, 4500, first_row=5),
    ]
    totals = torch.stack([objective.counts(batch, 0) for batch in batches]).sum(0)
    assert totals.dtype == torch.float64
    items = [item for batch in batches for item in objective.losses(batch, 0, totals)]
    loss = sum(loss for loss, _ in items)
    loss.backward()
    actual = {name: p.grad.clone() for name, p in objective.model.named_parameters() if p.grad is not None}
    assert sum(parts["loss/units"].item() for _, parts in items) == pytest.approx(loss.item())

    objective.model.zero_grad()
    sums, weights = torch.zeros(()), 0.0
    for batch in batches:
        for i, row in enumerate(batch.rows):
            wave = batch.waveform[i, : batch.lengths[i]]
            entropy, _, mask = clip_terms(objective, wave, row, batch.starts[i], 1, "train")
            weight = torch.where(mask, 1.0, 0.25)
            sums = sums + (entropy * weight).sum()
            weights += float(weight.sum())
    assert totals.tolist() == pytest.approx([weights])
    (sums / weights).backward()
    assert loss.item() == pytest.approx((sums / weights).item(), rel=1e-5)
    for name, parameter in objective.model.named_parameters():
        assert parameter.grad is not None
        scale = max(float(parameter.grad.abs().max()), 1e-4)
        torch.testing.assert_close(actual[name], parameter.grad, rtol=0, atol=2e-5 * scale, msg=name)


def test_held_out_values_by_hand(objective: MaskedUnits) -> None:
    objective.model.eval()
    masked: list[torch.Tensor] = []
    right: dict[bool, list[torch.Tensor]] = {True: [], False: []}
    with torch.no_grad():
        whole = objective.evaluate(0, 0, 1)
        ranks = [objective.evaluate(0, rank, 2) for rank in (0, 1)]
        for row in range(len(objective.clips)):
            wave = load_audio(objective.clips.file_path(row))[: DataConfig(**DATA).max_clip_samples]
            entropy, hit, mask = clip_terms(objective, wave, row, 0, 0, "valid")
            masked.append(entropy[mask])
            right[True].append(hit[mask])
            right[False].append(hit[~mask])
    for name, values in {
        "masked_loss/units": masked,
        "masked_accuracy/units": right[True],
        "unmasked_accuracy/units": right[False],
    }.items():
        expected = torch.cat(values)
        assert whole[name] == pytest.approx((float(expected.sum()), len(expected)), rel=1e-5)
        assert sum(rank[name][1] for rank in ranks) == len(expected)
    assert set(whole) == {"masked_loss/units", "masked_accuracy/units", "unmasked_accuracy/units"}


def test_nothing_to_learn_from(objective: MaskedUnits) -> None:
    """No clip, or none with labels."""
    empty = Batch(torch.zeros(0, 0), torch.zeros(0, dtype=torch.int64), (), (), 1)
    assert objective.counts(empty, 0).tolist() == [0.0]
    unlabelled = batch_of(7000, first_row=2)
    assert objective.counts(unlabelled, 0).tolist() == [0.0]
    assert not list(objective.losses(unlabelled, 0, torch.zeros(1, dtype=torch.float64)))


def test_what_is_told(objective: MaskedUnits) -> None:
    texts = objective.describe()
    assert "'num_units': 8" in texts["units"]
    perplexity = float(texts["units"].rpartition("perplexity ")[2])
    assert 7 < perplexity <= 8
