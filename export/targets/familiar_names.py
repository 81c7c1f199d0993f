"""Targets and precisions as people type them: what each is for, and other names; apart from the table of targets.

That table's imports take their time, which a command's help and its completion do not have.
"""

from typing import Final

from s2tf_edge.export.targets.precisions import AUTO
from s2tf_edge.option_fields import Choices

__all__ = ["PRECISION_NAMES", "TARGET_NAMES"]

TARGET_NAMES: Final = Choices(
    purposes={
        "openvino": "CPUs, and GPUs and NPUs of Intel",
        "onnx": "ONNX Runtime, on any machine",
        "trt": "TensorRT, on the NVIDIA GPU that builds it",
        "trt-rtx": "TensorRT-RTX, GeForce RTX GPUs",
    },
    other_names={
        "ov": "openvino",
        "ort": "onnx",
        "onnxruntime": "onnx",
        "tensorrt": "trt",
        "tensorrt-rtx": "trt-rtx",
        "tensorrt_rtx": "trt-rtx",
        "trt_rtx": "trt-rtx",
    },
)
"""Of the table of targets."""
PRECISION_NAMES: Final = Choices(
    purposes={
        "fp32": "float32, as trained",
        "fp16": "half the size",
        "int8": "a quarter of the size; needs clips to calibrate with",
        AUTO: "the fastest here",
    },
    other_names={"float32": "fp32", "float16": "fp16", "half": "fp16"},
    switches={"half": "fp16", "int8": "int8"},
)
"""Of all targets."""
