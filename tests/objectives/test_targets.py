"""Targets against transformers' HuBERT and plain torch; predictions against slices cut by hand."""

from typing import Any

import pytest
import torch
import transformers
from tiny import FEW, jittered, random_supernet
from torch import Tensor

from lighthubert import Hubert, HubertConfig, SearchSpace, Subnet, Supernet
from lighthubert.checkpoint import load
from lighthubert.objectives import TargetConfig, predictions, targets

BASE: dict[str, Any] = {"feat_extract_norm": "group"}
LARGE: dict[str, Any] = {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}
LENGTHS = (9000, 6000, 5137, 2000)  # samples of the clips of a padded batch
Independent = list[tuple[list[Tensor], list[Tensor]]]  # of each clip: FFN outputs, layer outputs; (T, D) each


def hubert_of_transformers(**settings: Any) -> Any:
    """Random weights; norms and biases random too, so that none is trivially 1 or 0."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 48, "num_attention_heads": 4, "num_hidden_layers": 5, "intermediate_size": 80,
             "conv_dim": (16,) * 7, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4}  # fmt: skip
    return jittered(transformers.HubertModel(transformers.HubertConfig(**sizes, **settings)), amount=0.1)


@torch.no_grad()
def layers_by_hooks(model: Any, clip: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """What transformers computes for a clip (S,) alone: each feed_forward's output, and each layer's."""
    outputs: list[Tensor] = []
    hooks = [
        layer.feed_forward.register_forward_hook(lambda module, given, output: outputs.append(output[0]))
        for layer in model.encoder.layers
    ]
    out = model(clip[None], output_hidden_states=True)
    for hook in hooks:
        hook.remove()
    # The last of transformers 5's states comes before the final norm of a pre-norm net, that of 4 behind it.
    return outputs, [state[0] for state in (*out.hidden_states[1:-1], out.last_hidden_state)]


@pytest.fixture(scope="module", params=[BASE, LARGE], ids=["base", "large"])
def teacher(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Hubert, Any]:
    """Our net and transformers', of the same weights."""
    folder = tmp_path_factory.mktemp("teacher")
    model = hubert_of_transformers(**request.param)
    model.save_pretrained(folder)
    net = load(folder)
    assert isinstance(net, Hubert)
    return net.eval(), model


@pytest.fixture(scope="module")
def clips() -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(n, generator=generator) * (0.3 + i) for i, n in enumerate(LENGTHS)]


@pytest.fixture(scope="module")
def independent(teacher: tuple[Hubert, Any], clips: list[Tensor]) -> Independent:
    net, model = teacher
    if net.config.normalize_waveform:  # transformers leaves this to its feature extractor
        clips = [(clip - clip.mean()) / torch.sqrt(clip.var(unbiased=False) + 1e-5) for clip in clips]
    return [layers_by_hooks(model, clip) for clip in clips]


def normalized(state: Tensor, how: str) -> Tensor:
    """(T, D), by plain formulas."""
    if how == "none":
        return state
    dim = 1 if how == "layer" else 0
    return (state - state.mean(dim, True)) / torch.sqrt(state.var(dim, unbiased=False, keepdim=True) + 1e-5)


def padded(clips: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Garbage in the padding: no target may see it."""
    lengths = torch.tensor([len(clip) for clip in clips])
    waveform = torch.randn(len(clips), int(lengths.max()), generator=torch.Generator().manual_seed(2))
    for row, clip in zip(waveform, clips, strict=True):
        row[: len(clip)] = clip
    return waveform * (torch.arange(waveform.shape[1]) < lengths[:, None]), lengths


def close(actual: Tensor, expected: Tensor) -> None:
    """To 2e-5 of the scale."""
    torch.testing.assert_close(actual, expected, rtol=0, atol=2e-5 * float(expected.abs().max()))


@pytest.mark.parametrize("normalize", ["none", "layer", "instance"])
@pytest.mark.parametrize(("tap", "layers"), [("ffn", 1), ("ffn", 3), ("layer", 2), ("layer", 5)])
def test_a_padded_batch_has_the_targets_of_its_clips_alone(
    teacher: tuple[Hubert, Any], clips: list[Tensor], independent: Independent, tap: str, layers: int, normalize: str
) -> None:
    config = TargetConfig(layers=layers, tap=tap, normalize=normalize)
    waveform, lengths = padded(clips)
    output = teacher[0](waveform, lengths)
    (target,) = targets(output, config).values()
    assert target.shape == (len(clips), output.lengths.max(), 48)
    assert target.dtype == torch.float32
    for row, frames, (ffn, states) in zip(target, output.lengths.tolist(), independent, strict=True):
        chosen = (ffn if tap == "ffn" else states)[-layers:]
        assert len(chosen[0]) == frames
        close(row[:frames], sum(normalized(state, normalize) for state in chosen) / layers)


@pytest.mark.parametrize("tap", ["ffn", "layer"])
def test_pairs_are_layers_counted_from_one(
    teacher: tuple[Hubert, Any], clips: list[Tensor], independent: Independent, tap: str
) -> None:
    config = TargetConfig(pairs=[1, 5, 4], tap=tap, normalize="instance", layers=99)
    target = targets(teacher[0](clips[0][None]), config)
    assert list(target) == ["1", "5", "4"] == config.keys
    ffn, states = independent[0]
    for number, actual in target.items():
        close(actual[0], normalized((ffn if tap == "ffn" else states)[int(number) - 1], "instance"))


def test_a_target_has_no_gradient(teacher: tuple[Hubert, Any], clips: list[Tensor]) -> None:
    output = teacher[0](clips[3][None])
    assert output.last_hidden_state.requires_grad
    assert not targets(output, TargetConfig(layers=2))["last"].requires_grad


def test_half_precision_is_averaged_in_float32(teacher: tuple[Hubert, Any], clips: list[Tensor]) -> None:
    with torch.autocast("cpu", torch.bfloat16):
        output = teacher[0](clips[0][None])
        target = targets(output, TargetConfig(layers=3, normalize="none"))["last"]
    assert output.ffn_outputs[-1].dtype == torch.bfloat16
    assert torch.equal(target, torch.stack([state.float() for state in output.ffn_outputs[-3:]]).mean(0))


def test_what_cannot_be_a_target_is_said() -> None:
    deep, shallow = HubertConfig(num_heads=(4,) * 6, ffn_dim=(8,) * 6), HubertConfig(num_heads=(4,), ffn_dim=(8,))
    with pytest.raises(ValueError, match=r"target.layers: the teacher has 1 layers, got 2"):
        TargetConfig(layers=2).check(shallow, deep)
    TargetConfig(layers=2).check(deep, shallow)  # the mean is of the teacher alone
    for nets in ((deep, shallow), (shallow, deep)):
        with pytest.raises(ValueError, match=r"target.pairs: the teacher has . layers, the student ., got \[1, 2\]"):
            TargetConfig(pairs=[1, 2]).check(*nets)
    with pytest.raises(ValueError, match=r"layers: .* 0; tap: .*'ffm'; normalize: .*'batch'; pairs: .*0"):
        TargetConfig(tap="ffm", normalize="batch", layers=0, pairs=[0, 1])


@pytest.fixture(scope="module")
def supernet() -> Supernet:
    """Six layers, of which subnets keep three or six; heads for the mean and for four layers."""
    parent = {**FEW.parent.to_dict(), "num_heads": [4] * 6, "ffn_dim": [64] * 6}
    space = SearchSpace.from_dict({**FEW.to_dict(), "parent": parent, "num_layers": [3, 6]})
    return random_supernet(space, heads=("last", "1", "2", "4", "6"))


@pytest.mark.parametrize("size", ["largest", "smallest", "parent"])
def test_predictions_are_slices_of_the_heads(supernet: Supernet, clips: list[Tensor], size: str) -> None:
    space, waveform = supernet.space, clips[0][None]
    arch = space.smallest() if size == "smallest" else space.largest()
    subnet = Subnet.full(supernet.config) if size == "parent" else space.subnet(arch)
    with torch.no_grad():
        output = supernet(waveform, None, subnet)
        states = supernet.sample(arch)(waveform).hidden_states  # the standalone net
        last = predictions(supernet, output, subnet, TargetConfig())
        pairs = predictions(supernet, output, subnet, TargetConfig(pairs=[1, 2, 4, 6]))
    heads = {key: head.weight.detach()[:, : arch.embed_dim].T for key, head in supernet.head.items()}
    assert list(last) == ["last"]
    close(last["last"], states[-1] @ heads["last"])
    kept = [number for number in (1, 2, 4, 6) if number - 1 in arch.layers]
    assert list(pairs) == [str(number) for number in kept]
    for number in kept:
        close(pairs[str(number)], states[1 + arch.layers.index(number - 1)] @ heads[str(number)])


def test_a_dropped_layer_predicts_nothing(supernet: Supernet, clips: list[Tensor]) -> None:
    subnet = supernet.space.subnet(supernet.space.smallest())
    assert subnet.layers == (0, 2, 5)
    output = supernet(clips[3][None], None, subnet)
    assert set(predictions(supernet, output, subnet, TargetConfig(pairs=[1, 2, 4, 6]))) == {"1", "6"}
    assert predictions(supernet, output, subnet, TargetConfig(pairs=[2, 4])) == {}
