"""States of a network that steps as OpenVINO's kernels have them: channels last, and in the type that they compute in.

Handed in as the file declares them, float32 and channels first, each slice would be reordered on its way in and out.
Nobody looks into a state, so it may stay as the kernels left it.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from s2tf_edge.runtime.session import STEP_INPUT
from s2tf_edge.runtime.session.step_state import HostBuffer
from s2tf_edge.step_spec import StateSpec, StepSpec

__all__ = ["make_buffer", "state_type", "with_own_states"]

_CAPABILITIES: Final = "OPTIMIZATION_CAPABILITIES"
_HALVES: Final = {"BF16": "bf16", "FP16": "f16"}
"""Types of half precision, by what a device calls its ability to compute in them; the first that it has."""


def state_type(core: Any, device: str, *, inference_precision: str) -> str:
    """The element type of states: that in which the device computes.

    Args:
        core: ``openvino.Core``.
        device: as OpenVINO calls it.
        inference_precision: what the network is told to compute in; ``default`` is what the device prefers.
    """
    if inference_precision != "default":
        return inference_precision
    abilities = core.get_property(device, _CAPABILITIES)
    return next((name for ability, name in _HALVES.items() if ability in abilities), "f32")


def with_own_states(openvino: Any, network: Any, step: StepSpec, *, element_type: str) -> Any:
    """The network with states of that type, channels last.

    Args:
        openvino: the module.
        network: an ``openvino.Model``, which is changed.
        step: what its states are.
        element_type: such as ``f32``.

    Raises:
        ValueError: the network has other inputs than the frames and those of the states, or there is no such type.
        RuntimeError: it lacks one of them, or has it in another shape.
    """
    given = {STEP_INPUT, *(name for state in step.states for name in state.inputs)}
    if others := [sorted(port.names) for port in network.inputs if not port.names & given]:
        msg = f"it has inputs {others[:3]} that are not described"
        raise ValueError(msg)
    if not hasattr(openvino.Type, element_type):
        msg = f"OpenVINO has no type {element_type!r}"
        raise ValueError(msg)
    preprocessing: Any = openvino.preprocess.PrePostProcessor(network)
    layouts = openvino.Layout("NHWC"), openvino.Layout("NCHW")
    kind = getattr(openvino.Type, element_type)
    for state in step.states:
        ends = [*map(preprocessing.input, state.inputs), *map(preprocessing.output, state.outputs)]
        for end in ends:
            end.tensor().set_element_type(kind).set_layout(layouts[0])
            end.model().set_layout(layouts[1])
    return preprocessing.build()


def make_buffer(openvino: Any, state: StateSpec, *, batch: int, element_type: str) -> HostBuffer:
    """Memory for a slice of a state of such a network."""
    kind = getattr(openvino.Type, element_type)
    channels, height, width = state.shape
    # bfloat16 has no numpy type: what matters is its size.
    array = np.zeros((batch, height, width, channels), f"u{kind.size}")
    return HostBuffer(array, openvino.Tensor(array, openvino.Shape(array.shape), kind))
