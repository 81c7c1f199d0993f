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

__all__ = ["make_optimizer", "make_schedule", "take_settings"]

_FROM_THE_TOP: Final = ("head", "stages.3", "stages.2", "stages.1", "stages.0", "stem")
"""The layers of a backbone, by how many stand above each."""
_SALIENCY: Final = len(_FROM_THE_TOP)
"""What counts as one more layer, though its rate goes by a scale of its own."""


def make_optimizer(network: VideoNetwork, config: TrainConfig) -> Optimizer:
    """The optimizer of all weights of ``network`` that are trained; norms and biases have no decay.

    Which groups there are depends on the network and on what is frozen alone, so that a run may go on at other rates.
    """
    groups: dict[tuple[int, bool], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            groups.setdefault((_layer(name), parameter.ndim > 1), []).append(parameter)
    # The classifier's first: its rate is the one that was asked for, and what logs show.
    options = [
        {
            "params": groups[layer, decays],
            "lr": config.lr * _rate_scale(layer, config),
            "weight_decay": config.weight_decay if decays else 0.0,
        }
        for layer, decays in sorted(groups)
    ]
    if config.optimizer == "sgd":
        return torch.optim.SGD(options, lr=config.lr, momentum=config.momentum, nesterov=config.momentum > 0)
    return torch.optim.AdamW(options, lr=config.lr)


def take_settings(optimizer: Optimizer, schedule: LambdaLR, wanted: Optimizer) -> None:
    """Gives an optimizer the rates and decays of ``wanted``, where a checkpoint has brought those of its own run.

    Args:
        optimizer: what a checkpoint was loaded into.
        schedule: its own.
        wanted: as ``make_optimizer`` makes it for the same network.
    """
    schedule.base_lrs = [group["lr"] for group in wanted.param_groups]
    peaks = zip(optimizer.param_groups, wanted.param_groups, schedule.lr_lambdas, strict=True)
    for group, new, share_of_peak in peaks:
        values = {key: value for key, value in new.items() if key != "params"}
        group.update(values, initial_lr=new["lr"], lr=new["lr"] * share_of_peak(schedule.last_epoch))


def make_schedule(optimizer: Optimizer, config: TrainConfig, *, steps: int) -> LambdaLR:
    """Takes the rates of all groups up a straight line and down half a cosine, in ``steps`` steps."""
    return LambdaLR(optimizer, lambda step: _share_of_peak_rate(step, steps, config.warmup))


def _layer(name: str) -> int:
    """By how many layers the weight ``name`` is below the top; what is no backbone's counts as the top."""
    if name.startswith("saliency."):
        return _SALIENCY
    return next((index for index, layer in enumerate(_FROM_THE_TOP) if name.startswith(f"backbone.{layer}.")), 0)


def _rate_scale(layer: int, config: TrainConfig) -> float:
    """The learning rate of a layer, as a multiple of ``lr``."""
    if layer == _SALIENCY:
        return config.saliency_lr_scale
    return (config.backbone_lr_scale if layer else 1.0) * config.layer_decay**layer


def _share_of_peak_rate(step: int, steps: int, warmup: float) -> float:
    rising = max(1.0, warmup * steps)
    if step < rising:
        return (step + 1) / (rising + 1)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - rising) / max(1.0, steps - rising))))
