"""Variations of training clips: of one at a time while they are read, and of the clips of a batch with each other."""

from s2tf_edge.training.augmentation.mixing import mix_batch
from s2tf_edge.training.augmentation.varying import Augmentation

__all__ = ["Augmentation", "mix_batch"]
