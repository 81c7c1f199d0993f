"""One way to run a network, whatever runs it: the session, its values, and the state of networks that step."""

from s2tf_edge.runtime.session.session import Session
from s2tf_edge.runtime.session.values import (
    STEP_INPUT,
    Clips,
    LayerTime,
    ModelInfo,
    Outputs,
    SessionOptions,
    concatenate,
    frames_first,
    input_shape,
    split_steps,
    time_axis,
)

__all__ = [
    "STEP_INPUT",
    "Clips",
    "LayerTime",
    "ModelInfo",
    "Outputs",
    "Session",
    "SessionOptions",
    "concatenate",
    "frames_first",
    "input_shape",
    "split_steps",
    "time_axis",
]
