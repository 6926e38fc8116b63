"""The elastic model: subnets as pure functions of their parent's parameters."""

from lighthubert.elastic.alone import OneArch
from lighthubert.elastic.axes import AXES, EMBED, Axis, axes, axis_sizes, conv, ffn, heads, shapes
from lighthubert.elastic.importance import importance, ranking, reorder
from lighthubert.elastic.space import SearchSpace, Space
from lighthubert.elastic.subnet import Subnet, extract, select, skeleton
from lighthubert.elastic.supernet import Supernet, run_subnet
from lighthubert.models import Arch
