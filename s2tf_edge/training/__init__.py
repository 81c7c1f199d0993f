"""Training of networks on labeled videos (needs the extra ``train``)."""

from s2tf_edge.training.config import TrainConfig
from s2tf_edge.training.fit import TrainResult, train

__all__ = ["TrainConfig", "TrainResult", "train"]
