"""What a net costs: parameters and multiply-accumulates (MACs), exactly, from one polynomial over its widths."""

from lighthubert.cost.batch import COSTS, costs
from lighthubert.cost.polynomial import PARTS, Sizes, in_part, macs, num_params, superb_macs

__all__ = ["COSTS", "PARTS", "Sizes", "costs", "in_part", "macs", "num_params", "superb_macs"]
