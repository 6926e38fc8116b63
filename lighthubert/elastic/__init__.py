"""The elastic model: subnets as pure functions of their parent's parameters."""

from lighthubert.elastic.alone import OneArch
from lighthubert.elastic.axes import AXES, axes, axis_sizes
from lighthubert.elastic.importance import importance, ranking, reorder
from lighthubert.elastic.space import SearchSpace
from lighthubert.elastic.subnet import Subnet, extract, select, skeleton
from lighthubert.elastic.supernet import Supernet, run
from lighthubert.models import Arch

__all__ = [
    "AXES",
    "Arch",
    "OneArch",
    "SearchSpace",
    "Subnet",
    "Supernet",
    "axes",
    "axis_sizes",
    "extract",
    "importance",
    "ranking",
    "reorder",
    "run",
    "select",
    "skeleton",
]
