"""What a net costs: parameters and multiply-accumulates (MACs), exactly, from one polynomial over its widths; and the
latency of subnets on a device, measured."""

from lighthubert.cost.batch import COSTS, costs
from lighthubert.cost.clock import PRECISIONS, Conditions
from lighthubert.cost.latency import Latency
from lighthubert.cost.polynomial import PARTS, Sizes, in_part, macs, num_params, superb_macs
