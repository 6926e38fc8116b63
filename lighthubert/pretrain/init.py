"""Where a supernet's weights start."""

from __future__ import annotations

import logging
from dataclasses import fields

import torch
from torch import Tensor, nn

from lighthubert.checkpoint import Loaded, read
from lighthubert.elastic import EMBED, Axis, OneArch, SearchSpace, Space, Subnet, Supernet, conv, ffn, heads, select
from lighthubert.elastic.importance import importance, ranking, reorder
from lighthubert.elastic.rules import kept_layers
from lighthubert.models import Hubert, HubertConfig
from lighthubert.models.config import brief
from lighthubert.objectives import TargetConfig
from lighthubert.pretrain.recipe import Distill
from lighthubert.runtime import ranks

NO_WEIGHTS = ("layers", "dropout", "attention_dropout", "ffn_dropout")  # no weight depends on them

logger = logging.getLogger("lighthubert")


def start(recipe: Distill) -> tuple[Loaded, Supernet, HubertConfig | None]:
    """The teacher's file; the supernet with the weights that it starts from; where its space is that of a single net,
    this net's config, which says which layers of which parent it has. Each file is read once."""
    names = [recipe.teacher, *(name for name in (recipe.init, recipe.head) if name not in ("random", "teacher", None))]
    files = {name: read(name) for name in dict.fromkeys(names)}
    teacher, init = files[recipe.teacher], files.get(recipe.init, recipe.init)
    space = space_of(recipe.space, init)
    recipe.target.check(teacher.hubert.config, space.parent)
    supernet = build_supernet(space, teacher.hubert, init, recipe.target, recipe.seed, recipe.order_by_importance)
    if not isinstance(init, Loaded):
        return teacher, supernet, None
    if recipe.head:
        take_subnets_heads(supernet, recipe.target, init, files[recipe.head])
    return teacher, supernet, init.hubert.config if isinstance(space, OneArch) else None


def build_supernet(
    space: Space, teacher: Hubert, init: str | Loaded, target: TargetConfig, seed: int,
    order_by_importance: bool = False,
) -> Supernet:  # fmt: skip
    """A supernet with heads for the target, initialised at "random", from slices of the "teacher", or from a file.

    A head of a file is taken if it has the same width and predicts the same; a warning says why one starts anew.
    order_by_importance: units of teacher or file are sorted first, so that the leading ones, which small subnets are
    made of, are those that matter most. Raises ValueError if the sizes of file or teacher do not allow it, or the
    space's subnets do not take leading units.
    """
    torch.manual_seed(seed)
    supernet = Supernet(space)
    width = teacher.config.embed_dim
    supernet.head = nn.ModuleDict({key: nn.Linear(space.parent.embed_dim, width, bias=False) for key in target.keys})
    if init == "random":
        return supernet
    name, hubert = (init.path, init.hubert) if isinstance(init, Loaded) else (init, teacher)
    order: dict[Axis, tuple[int, ...]] = {}
    if order_by_importance:
        if isinstance(space, SearchSpace) and space.ffn_rule != "prefix":
            raise ValueError(f"order_by_importance: needs a space with ffn_rule prefix, this one has {space.ffn_rule}")
        order = ranking(hubert, importance(hubert))
        hubert = reorder(hubert, order)
    try:
        supernet.hubert.load_state_dict(slices(hubert, space.parent))
    except ValueError as error:
        raise ValueError(f"init {name!r}: {error}") from None
    if isinstance(init, Loaded) and isinstance(init.net, Supernet):
        anew = take_heads(init.net, supernet, target, order.get(EMBED))
        if anew and ranks.rank() == 0:
            messages = [f"head {key!r} starts anew: {', '.join(rows)}" for key, rows in anew.items()]
            logger.warning("init %r: %s", name, "; ".join(messages))
    return supernet


def space_of(name: str, init: str | Loaded) -> Space:
    """A recipe's space; "init" is that of the file `init`, which for a single net is this net alone."""
    if name != "init":
        return SearchSpace.load(name)
    assert isinstance(init, Loaded)  # the recipe's rule
    return OneArch.of(init.hubert.config) if init.space is None else init.space


@torch.no_grad()
def take_subnets_heads(supernet: Supernet, target: TargetConfig, init: Loaded, head: Loaded) -> None:
    """Give a single net, `init`, extracted from the supernet `head`, that one's heads.

    Raises ValueError if it is not of this supernet, or a head predicts something else.
    """
    source, arch = head.net, init.hubert.config.arch
    if not isinstance(source, Supernet) or arch is None or arch not in source.space:
        raise ValueError(f"head {head.path!r}: init {init.path!r} is not a subnet of it")
    subnet = source.space.subnet(arch)
    for key in target.keys:
        if rows := [row for row in head_differs(key, source, supernet, target) if not row.startswith("shape")]:
            raise ValueError(f"head {head.path!r}: {key!r}: {', '.join(rows)}")
        weight = source.head[key].state_dict()["weight"][:, list(subnet.units[EMBED])]
        supernet.head[key].load_state_dict({"weight": weight})


@torch.no_grad()
def take_heads(
    source: Supernet, supernet: Supernet, target: TargetConfig, embed: tuple[int, ...] | None
) -> dict[str, list[str]]:
    """Copy the heads that fit, their inputs in the order of `embed`; why the others do not fit, by key."""
    anew = {key: rows for key in target.keys if (rows := head_differs(key, source, supernet, target))}
    for key in [key for key in target.keys if key not in anew]:
        weight = source.head[key].state_dict()["weight"]
        supernet.head[key].load_state_dict({"weight": weight if embed is None else weight[:, list(embed)]})
    return anew


def head_differs(key: str, source: Supernet, supernet: Supernet, target: TargetConfig) -> list[str]:
    """Why a file's head cannot be taken over, nothing if it can. A pair's head is named after its layer."""
    if key not in source.head:
        return ["the file has none"]
    if source.predicts is None:
        return ["the file does not say what it predicts"]
    wanted, predicts = target.describe(), source.predicts
    keys = ("layers", "tap", "normalize") if key == "last" else ("tap", "normalize")
    rows = [f"{k}: {predicts.get(k)} instead of {wanted[k]}" for k in keys if predicts.get(k) != wanted[k]]
    theirs, shape = ([*net.head[key].state_dict()["weight"].shape] for net in (source, supernet))
    return rows if theirs == shape else [*rows, f"shape: {theirs} instead of {shape}"]


def slices(source: Hubert, config: HubertConfig) -> dict[str, Tensor]:
    """The leading units and evenly spread layers of a net that fill one of these sizes.

    Raises ValueError that names every size that does not fit.
    """
    own = source.config
    if config.num_layers > own.num_layers:
        raise ValueError(f"it has {own.num_layers} layers, the supernet's parent {config.num_layers}")
    layers = kept_layers("spread", config.num_layers, own.num_layers)
    if rows := narrower(Subnet(layers).config(own), config):
        raise ValueError("; ".join(rows))
    units = {EMBED: range(config.embed_dim)} | {conv(i): range(n) for i, n in enumerate(config.conv_channels)}
    for i, layer in enumerate(layers):
        units |= {heads(layer): range(config.num_heads[i]), ffn(layer): range(config.ffn_dim[i])}
    subnet = Subnet(layers, units)
    sliced = subnet.config(own)
    if rows := differing(sliced, config):
        raise ValueError("its slices are not the supernet's parent: " + "; ".join(rows))
    with torch.no_grad():
        return {k: v.clone() for k, v in select(dict(source.named_parameters()), subnet, own).items()}


def narrower(actual: HubertConfig, wanted: HubertConfig) -> list[str]:
    """A row for each width of which there is less than wanted."""
    rows = []
    for key in ("embed_dim", "conv_channels", "num_heads", "ffn_dim"):
        has, wants = ((n,) if isinstance(n, int) else n for n in (getattr(actual, key), getattr(wanted, key)))
        if len(has) < len(wants) or any(a < b for a, b in zip(has, wants, strict=False)):
            rows.append(f"{key}: it has {brief(has)}, the supernet's parent {brief(wants)}")
    return rows


def differing(actual: HubertConfig, wanted: HubertConfig) -> list[str]:
    """A row for each size that is not the wanted one."""
    undone = () if wanted.conv_norm == "layer" else ("normalize_waveform",)  # group norm undoes loudness anyway
    keys = [f.name for f in fields(wanted) if f.name not in (*NO_WEIGHTS, *undone)]
    pairs = ((key, getattr(actual, key), getattr(wanted, key)) for key in keys)
    return [f"{key}: {a} instead of {b}" for key, a, b in pairs if a != b]


def require_sizes(name: str, actual: HubertConfig, wanted: HubertConfig) -> None:
    """Raise ValueError that names every key in which a file differs from the recipe's model."""
    if rows := differing(actual, wanted):
        raise ValueError(f"init {name!r}: not the sizes of model: " + "; ".join(rows))
