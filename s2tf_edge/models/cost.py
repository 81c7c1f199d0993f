"""What a network costs for one clip: weights, and multiply-accumulates of convolutions and matrix products.

Three forms are told apart. The published one runs TSFP's edge branches over every frame, interleaved ones included,
as the authors' release does; the training form, as built here, runs them on the frames that they keep (see
``saliency``); the inference form also leaves out the taps that only meet padding (see ``inference``).
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from itertools import takewhile

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from s2tf_edge.models.s2tf import VideoNetwork

__all__ = ["Cost", "network_cost"]


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Weights, and multiply-accumulates (MACs) of one clip."""

    parameters: int
    inference_parameters: int
    published_macs: int
    training_macs: int
    inference_macs: int

    @property
    def saved(self) -> float:
        """Share of the published form's MACs that the inference form does without, in [0, 1)."""
        return 1 - self.inference_macs / self.published_macs


def network_cost(model: VideoNetwork) -> Cost:
    """The cost of ``model`` for one clip of ``model.spec``; nothing is computed and ``model`` stays as it is."""
    shadow = copy.deepcopy(model).to("meta").eval()
    inference = shadow.to_inference()
    training_macs = _macs(shadow)
    return Cost(
        parameters=_parameters(shadow),
        inference_parameters=_parameters(inference),
        published_macs=training_macs + _spared_macs(shadow),
        training_macs=training_macs,
        inference_macs=_macs(inference),
    )


def _parameters(model: nn.Module) -> int:
    return sum(value.numel() for value in model.parameters())


def _macs(model: VideoNetwork) -> int:
    dtype = next(model.parameters()).dtype
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(torch.empty(model.spec.input_shape(), device="meta", dtype=dtype))
    return int(counter.get_total_flops()) // 2


def _spared_macs(model: VideoNetwork) -> int:
    """MACs of the frames that the published edge branches convolve before their stride drops them.

    The first branch sees the frames of F1, the second twice those of F2, for they are interleaved with P1's.
    """
    path = model.saliency
    if path is None:
        return 0
    spared = 0
    for index, preserver in enumerate(path.preservers):
        frames, size = model.backbone.shapes[index].frames, model.backbone.shapes[index].size
        convs = [conv for conv in preserver.modules() if isinstance(conv, nn.Conv3d)]
        before_stride = takewhile(lambda conv: conv.stride == (1, 1, 1), convs)
        dropped = frames * (index + 1) - math.ceil(frames / path.strides[index])
        spared += dropped * size**2 * sum(conv.weight.numel() for conv in before_stride)
    return spared
