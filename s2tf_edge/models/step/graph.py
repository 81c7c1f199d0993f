"""A causal network as what one step of it computes: 4-D tensors, and every past frame an input of its own.

The graph emits fresh slices only; whoever runs it moves them to where the next step expects them, by turning pointers
round. So there is no index arithmetic, no copy of a state and no control flow in it, which every runtime and delegate
takes, and a temporal kernel of k taps is an ordinary 2-D convolution:

- a dense one sees its k slices side by side as channels, its weights being ``[Co, k · Ci, kh, kw]``;
- a depthwise one is k depthwise convolutions whose results are added (a grouped one of k inputs a channel would miss
  the kernels that runtimes have for depthwise layers); the bias is in the last.

X3D's head widens before it averages, and a mask is one number a pixel: ``conv(F ⊙ x) = F ⊙ conv(x)``. What is kept of a
frame is ``conv(x)`` without its bias, so that a new mask costs a product a frame and no convolution.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, cast

import torch
from torch import Tensor, nn

from s2tf_edge.errors import UsageError
from s2tf_edge.models.causal import find_past_shapes, find_pasts
from s2tf_edge.models.s2tf import VideoNetwork
from s2tf_edge.models.step.layers import FEATURES, MAPS, HeadStep, SaliencyStep, flatten
from s2tf_edge.models.step.tape import Tape, join
from s2tf_edge.models.x3d import X3DHead
from s2tf_edge.spec import MAX_FRAMES
from s2tf_edge.step_spec import StateSpec, StepSpec

__all__ = ["StepGraph", "describe_step"]

_MOTION: Final = "motion"
_COUNT: Final = "motion_count"
_NAMES: Final = {"motion_mean": _MOTION, "motion_mean.count": _COUNT, "window": FEATURES, "saliency.window": MAPS}
"""States of the network itself, by the modules that have them; others are called after their layers."""


def describe_step(network: VideoNetwork, *, hop: int = 1) -> StepSpec:
    """What a step of a causal network takes and gives.

    Raises:
        UsageError: the network is not causal, ``hop`` is not from 1 to less than a clip's frames, or the clip in
            whole steps is longer than any may be.
    """
    reach, frames = network.receptive_field, network.spec.frames
    if not 1 <= hop < max(2, frames):
        msg = f"a step takes from 1 to {frames - 1} frames, fewer than a clip has; got `hop={hop}`"
        raise UsageError(msg)
    warm_up = math.ceil(network.warm_up / hop) * hop
    if warm_up > MAX_FRAMES:
        msg = f"{frames} frames in steps of {hop} are more than {MAX_FRAMES}; give a hop that divides {frames}"
        raise UsageError(msg)
    return StepSpec(hop=hop, receptive_field=reach, warm_up=warm_up, states=_find_states(network, hop))


class StepGraph(nn.Module):
    """One step of a causal network: ``hop`` frames of each stream, and a prediction.

    Args:
        network: an X3D in its inference form, built with ``causal=true``.
        hop: frames of a step, fewer than a clip has.
        mask: whether the saliency mask is put out.

    Raises:
        UsageError: it is another network, one without a mask, or ``hop`` is out of its range.
    """

    def __init__(self, network: VideoNetwork, *, hop: int = 1, mask: bool = False) -> None:
        super().__init__()
        if not (network.is_causal and network.is_inference and isinstance(network.backbone.head, X3DHead)):
            msg = f"{network.name} has no step graph; give the inference form of an X3D with causal=true"
            raise UsageError(msg)
        if mask and network.saliency is None:
            msg = f"{network.name} has no saliency mask to put out; leave out `mask`, or give an ssf_ or s2tf_ network"
            raise UsageError(msg)
        self.hop = hop
        self.puts_out_mask = mask
        self.frames = network.spec.frames
        self.spec = describe_step(network, hop=hop)
        self.states = self.spec.states
        self.stem = flatten(network.backbone.stem, "backbone.stem")
        self.stages = nn.ModuleList(
            flatten(stage, f"backbone.stages.{index}") for index, stage in enumerate(network.backbone.stages)
        )
        self.saliency = None if network.saliency is None else SaliencyStep(network.saliency)
        self.head = HeadStep(network.backbone.head)
        self.sees_motion = network.sees_motion
        self.eval().requires_grad_(False)

    def forward(self, frames: Tensor, *past: Tensor) -> tuple[Tensor, ...]:
        """Takes a step.

        Args:
            frames: float32 [hop · N, 3, H, W], normalized as the network's ``spec`` says: the first of all streams,
                then the second.
            *past: the slices of all ``states``, in the order of their ``inputs``.

        Returns:
            Logits [N, K], the mask [N, 1, H', W'] where it is put out, and the slices of all ``states`` in the order of
            their ``outputs``.
        """
        slices = iter(past)
        tape = Tape({state.name: [next(slices) for _ in range(state.slots)] for state in self.states}, hop=self.hop)
        x = self._see_motion(frames, tape) if self.sees_motion else frames
        x = self.stem(x, tape)
        maps = []
        for stage in self.stages:
            x = stage(x, tape)
            maps.append(x)
        mask = None if self.saliency is None else self.saliency(maps[:3], tape)
        logits = self.head(x, mask, tape)
        said = (logits, mask) if self.puts_out_mask else (logits,)
        return (*said, *(each for state in self.states for each in tape.fresh(state)))

    def _see_motion(self, frames: Tensor, tape: Tape) -> Tensor:
        ones = torch.ones_like(frames[:, :1, :1, :1])
        slices, counts = tape.turn(_MOTION, frames), tape.turn(_COUNT, ones)
        windows = [slice(frame, frame + self.frames) for frame in range(self.hop)]
        return frames - join([_sum(slices[window]) / _sum(counts[window]) for window in windows])


def _sum(values: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(values)).sum(0) if len(values) > 1 else values[0]


def _find_states(network: VideoNetwork, hop: int) -> tuple[StateSpec, ...]:
    spec = network.spec
    shapes = find_past_shapes(network, (spec.frames, spec.size, spec.size))
    states = []
    for layer, past in find_pasts(network).items():
        name, slots = _NAMES.get(layer, layer), past.taps - 1
        channels, _, height, width = shapes[layer]
        if name in {FEATURES, MAPS}:
            # Only the last of all frames sees them.
            slots += 1 - hop
        if name == FEATURES:
            channels = cast("X3DHead", network.backbone.head).conv5.conv.out_channels
        states.append(
            StateSpec(
                name=name,
                slots=slots,
                shape=(channels, height, width),
                is_ordered=name != FEATURES and (name not in {_MOTION, _COUNT} or hop > 1),
                fresh=min(hop, slots),
            )
        )
    return tuple(states)
