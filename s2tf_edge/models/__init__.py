"""Networks: names and construction, files, published checkpoints, cost. Everything here needs torch.

Importing an architecture's module registers its networks.
"""

from s2tf_edge.models import csn, nl_i3d, p3d, resnet3d, s3d, video_resnet, x3d
from s2tf_edge.models.blocks import Backbone, BackboneOptions, ConvNorm, PooledHead, StageShape
from s2tf_edge.models.cost import Cost, network_cost
from s2tf_edge.models.model_file import load_model, save_model
from s2tf_edge.models.registry import create_model, default_spec, list_models, register
from s2tf_edge.models.s2tf import VideoNetwork
from s2tf_edge.models.saliency import Saliency

__all__ = [
    "Backbone",
    "BackboneOptions",
    "ConvNorm",
    "Cost",
    "PooledHead",
    "Saliency",
    "StageShape",
    "VideoNetwork",
    "create_model",
    "csn",
    "default_spec",
    "list_models",
    "load_model",
    "network_cost",
    "nl_i3d",
    "p3d",
    "register",
    "resnet3d",
    "s3d",
    "save_model",
    "video_resnet",
    "x3d",
]
