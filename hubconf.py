"""torch.hub.load("lighthubert", "lighthubert", ckpt="subnet.safetensors"): the upstream of lighthubert/superb."""

from lighthubert.superb.upstream import lighthubert

dependencies = ["torch", "numpy", "safetensors", "omegaconf"]
__all__ = ["lighthubert"]
