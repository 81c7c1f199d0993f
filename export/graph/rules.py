"""What one target needs its graphs to be, as far as lowering is concerned; light enough for a device without ONNX."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["ONNX_RUNTIME", "OPENVINO", "TENSORRT", "TENSORRT_RTX", "Compiler", "GraphRules"]


@dataclass(frozen=True, kw_only=True)
class Compiler:
    """What takes a target's graphs."""

    name: str
    asked: str
    """The version that the table of operators was asked of; of TensorRT, the version that NVIDIA's table is of."""


ONNX_RUNTIME: Final = Compiler(name="ONNX Runtime", asked="1.32.0")
OPENVINO: Final = Compiler(name="OpenVINO", asked="2026.4.1")
TENSORRT: Final = Compiler(name="TensorRT", asked="10.15")
TENSORRT_RTX: Final = Compiler(name="TensorRT-RTX", asked="1.7.1")


@dataclass(frozen=True, kw_only=True)
class GraphRules:
    """How graphs of one target are lowered."""

    compiler: Compiler
    """Whose rewrites and refusals hold."""
    custom_ops: str
    """What ``auto`` means: ``keep`` nodes of our own with their bodies, or ``inline`` them."""
    computes_in_graph_types: bool
    """Whether precision is that of the types in the graph; else the target chooses its own when it compiles."""
    takes_plugins: bool = False
    """Whether a plugin may stand in for a node with a body, and so is to be told where to look for one."""
    folds_strides: bool = False
    """Whether its integer kernels want a strided stem as blocks of pixels (``FoldStrides``)."""
