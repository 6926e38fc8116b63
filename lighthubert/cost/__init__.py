"""What a net costs: parameters and multiply-accumulates (MACs), exactly, from one polynomial over its widths."""

from lighthubert.cost.batch import COSTS, costs
from lighthubert.cost.polynomial import Sizes, macs, num_params, superb_macs

__all__ = ["COSTS", "Sizes", "costs", "macs", "num_params", "superb_macs"]
