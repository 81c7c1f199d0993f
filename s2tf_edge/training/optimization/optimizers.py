"""What steps the weights of a network, in groups with a rate and a decay of their own, and how the rate goes."""

from __future__ import annotations

import math
from typing import Final

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from s2tf_edge.models import VideoNetwork
from s2tf_edge.training.config import TrainConfig

__all__ = ["make_optimizer", "make_schedule"]

_FROM_THE_TOP: Final = ("head", "stages.3", "stages.2", "stages.1", "stages.0", "stem")
"""The layers of a backbone, by how many stand above each."""


def make_optimizer(network: VideoNetwork, config: TrainConfig) -> Optimizer:
    """The optimizer of all weights of ``network`` that are trained; norms and biases have no decay."""
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            key = _rate_scale(name, config), config.weight_decay if parameter.ndim > 1 else 0.0
            groups.setdefault(key, []).append(parameter)
    # Those of the rate that was asked for first: theirs is what logs show.
    keys = sorted(groups, key=lambda key: (key[0] != 1, key[0], -key[1]))
    options = [{"params": groups[key], "lr": config.lr * key[0], "weight_decay": key[1]} for key in keys]
    if config.optimizer == "sgd":
        return torch.optim.SGD(options, lr=config.lr, momentum=config.momentum, nesterov=config.momentum > 0)
    return torch.optim.AdamW(options, lr=config.lr)


def make_schedule(optimizer: Optimizer, config: TrainConfig, *, steps: int) -> LambdaLR:
    """Takes the rates of all groups up a straight line and down half a cosine, in ``steps`` steps."""
    return LambdaLR(optimizer, lambda step: _share_of_peak_rate(step, steps, config.warmup))


def _rate_scale(name: str, config: TrainConfig) -> float:
    """The learning rate of the weight ``name``, as a multiple of ``lr``."""
    if name.startswith("saliency."):
        return config.saliency_lr_scale
    above = next((index for index, layer in enumerate(_FROM_THE_TOP) if name.startswith(f"backbone.{layer}.")), 0)
    return (config.backbone_lr_scale if above else 1.0) * config.layer_decay**above


def _share_of_peak_rate(step: int, steps: int, warmup: float) -> float:
    rising = max(1.0, warmup * steps)
    if step < rising:
        return (step + 1) / (rising + 1)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - rising) / max(1.0, steps - rising))))
