"""The released layout, its subnets and its head against the original's recorded outputs."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import oracle
import pytest
import torch

import lighthubert as lh
from lighthubert import checkpoint, cost

RECORDS = {record["name"]: record for record in oracle.records()}
QUICK = ("base-rand0", "small-min", "small-rand0", "small-rand1", "small-rand2", "small-default-ln")
VALUES, MOMENTS = 2e-4, 2e-5


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """mode, space -> the supernet of a file in the released layout, read by the package's loader; the last is kept."""
    folder, kept = tmp_path_factory.mktemp("released"), {}

    def load(mode: str, space: str) -> lh.Supernet:
        if mode not in kept:
            kept.clear()
            state = oracle.state_dict(mode)
            assert oracle.digest(state) == oracle.DIGESTS[mode], "this numpy draws other numbers"
            cfg = {"model": {"_name": "hubert_pruner", "pruner_supernet": f"{space}.yaml", "extractor_mode": mode}}
            path: Path = folder / "released.pt"
            torch.save({"cfg": cfg, "model": state}, path)
            kept[mode] = checkpoint.load(path).eval()
            path.unlink()
        supernet = kept[mode]
        supernet.space = dataclasses.replace(lh.SearchSpace.load(space), parent=supernet.config)
        return supernet

    return load


@torch.no_grad()
def check(supernet: lh.Supernet, record: dict[str, Any]) -> None:
    written = {key: value for key, value in record["arch"].items() if key != "ffn_dim"}
    arch = supernet.space.arch(written)
    assert list(arch.ffn_dim) == record["arch"]["ffn_dim"]
    net, subnet = supernet.sample(arch), supernet.space.subnet(arch)
    assert cost.num_params(net.config) + 768 - arch.embed_dim == record["num_params"]
    for key, wave in oracle.waves(record).items():
        outside = net(wave[None])
        inside = supernet(wave[None], None, arch)
        for out in (outside, inside):
            head = supernet.predict(out.last_hidden_state, subnet)[0]
            errors = oracle.compare(record, key, [s[0] for s in out.hidden_states], head)
            assert max(errors["mean"], errors["std"]) < MOMENTS, (record["name"], key, errors)
            assert max(errors["values"], errors["head"], errors.get("last", 0)) < VALUES, (record["name"], key, errors)
        assert all(torch.equal(a, b) for a, b in zip(inside.hidden_states, outside.hidden_states, strict=True))


@pytest.mark.parametrize("name", sorted(QUICK, key=lambda n: RECORDS[n]["mode"]))
def test_recorded_subnets(name: str, released: Any) -> None:
    record = RECORDS[name]
    check(released(record["mode"], record["space"]), record)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(RECORDS.keys() - set(QUICK), key=lambda n: RECORDS[n]["mode"]))
def test_more_recorded_subnets(name: str, released: Any) -> None:
    record = RECORDS[name]
    check(released(record["mode"], record["space"]), record)


def test_the_records_cover_what_matters() -> None:
    quick = [RECORDS[name] for name in QUICK]
    assert {r["space"] for r in quick} == {"base", "small"}
    assert {r["mode"] for r in quick} == {"default", "layer_norm"}
    assert {r["arch"]["num_layers"] for r in quick} == {10, 11, 12}
    assert len({r["arch"]["embed_dim"] for r in quick}) >= 3
    assert any("last_1.0s" in r["arrays"] for r in quick)
    assert sum(path.stat().st_size for path in oracle.HERE.iterdir() if path.is_file()) < 400_000


def test_a_released_file_has_its_space_and_head(released: Any, tmp_path: Path) -> None:
    supernet = released("layer_norm", "small")
    assert supernet.config.normalize_waveform
    assert list(supernet.head) == ["last"]
    assert supernet.predicts["layers"] == 8
    path = tmp_path / "subnet.safetensors"
    net = supernet.sample(supernet.space.smallest())
    checkpoint.save(net, path)
    again = checkpoint.load(path)
    wave = oracle.wave(5000)[None]
    with torch.no_grad():
        assert torch.equal(again(wave).last_hidden_state, net(wave).last_hidden_state)
