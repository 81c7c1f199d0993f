"""What steps the weights of a network, in groups with a rate and a decay of their own, and how the rate goes."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from s2tf_edge.models import VideoNetwork
from s2tf_edge.training.settings.optimization import OptimizationSettings

__all__ = ["make_optimizer", "make_schedule"]


def make_optimizer(network: VideoNetwork, settings: OptimizationSettings) -> Optimizer:
    """The optimizer of all weights of ``network`` that are trained; norms and biases have no decay."""
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            key = _rate_scale(name, settings), settings.weight_decay if parameter.ndim > 1 else 0.0
            groups.setdefault(key, []).append(parameter)
    # Those of the rate that was asked for first: theirs is what logs show.
    keys = sorted(groups, key=lambda key: (key[0] != 1, key[0], -key[1]))
    options = [{"params": groups[key], "lr": settings.lr * key[0], "weight_decay": key[1]} for key in keys]
    if settings.optimizer == "sgd":
        return torch.optim.SGD(options, lr=settings.lr, momentum=settings.momentum, nesterov=settings.momentum > 0)
    return torch.optim.AdamW(options, lr=settings.lr)


def make_schedule(optimizer: Optimizer, settings: OptimizationSettings, *, steps: int) -> LambdaLR:
    """Takes the rates of all groups up a straight line and down half a cosine, in ``steps`` steps."""
    return LambdaLR(optimizer, lambda step: _share_of_peak_rate(step, steps, settings.warmup))


def _rate_scale(name: str, settings: OptimizationSettings) -> float:
    """The learning rate of the weight ``name``, as a multiple of ``lr``."""
    return settings.saliency_lr_scale if name.startswith("saliency.") else 1.0


def _share_of_peak_rate(step: int, steps: int, warmup: float) -> float:
    rising = max(1.0, warmup * steps)
    if step < rising:
        return (step + 1) / (rising + 1)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - rising) / max(1.0, steps - rising))))
