"""What a net learns without labels: a teacher's hidden states, or masked units."""

from lighthubert.objectives.frames import FrameConfig, draw_mask, frame_weights
from lighthubert.objectives.losses import DistanceConfig, distance
from lighthubert.objectives.targets import TargetConfig, predictions, targets
from lighthubert.objectives.units import UnitHead, UnitLabels
