"""Networks: names and construction, files, published checkpoints. Everything here needs torch.

Importing an architecture's module registers its networks.
"""

from s2tf_edge.models import nl_i3d, resnet3d
from s2tf_edge.models.model_file import load_model, save_model
from s2tf_edge.models.registry import create_model, default_spec, list_models
from s2tf_edge.models.s2tf import VideoNetwork
from s2tf_edge.models.saliency import Saliency

__all__ = [
    "Saliency",
    "VideoNetwork",
    "create_model",
    "default_spec",
    "list_models",
    "load_model",
    "nl_i3d",
    "resnet3d",
    "save_model",
]
