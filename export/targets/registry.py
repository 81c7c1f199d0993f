"""The table of targets: the one place in this layer that knows them by name.

A new target is an entry here and a module with its builder, which is imported only when it is asked for.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Final

from s2tf_edge.errors import UsageError
from s2tf_edge.export.graph.rules import ONNX_RUNTIME, OPENVINO, TENSORRT, TENSORRT_RTX, Compiler, GraphRules
from s2tf_edge.export.targets.base import Build, BuildRequest, Target, TritonBackend
from s2tf_edge.export.targets.precisions import AUTO

__all__ = ["COMPILERS", "FLOAT_TARGETS", "TARGETS", "find_target", "is_engine", "runnable_target"]


def _build_onnx(request: BuildRequest) -> Build:
    from s2tf_edge.export.targets.onnx_target import build_onnx

    return build_onnx(request)


def _build_openvino(request: BuildRequest) -> Build:
    from s2tf_edge.export.targets.openvino_target import build_openvino

    return build_openvino(request)


def _build_tensorrt(request: BuildRequest) -> Build:
    from s2tf_edge.export.targets.tensorrt_target import build_tensorrt

    return build_tensorrt(request)


def _read_onnx(request: BuildRequest) -> None:
    from s2tf_edge.export.targets.onnx_target import read_onnx

    read_onnx(request)


def _read_openvino(request: BuildRequest) -> None:
    from s2tf_edge.export.targets.openvino_target import read_openvino

    read_openvino(request)


def _read_tensorrt(request: BuildRequest) -> None:
    from s2tf_edge.export.targets.tensorrt_trial import try_reading

    try_reading(request.graph, target=request.target)


def _engine(name: str, compiler: Compiler, *, builds_without_gpu: bool, triton: TritonBackend | None = None) -> Target:
    return Target(
        name=name,
        precisions=("fp16", "fp32", "int8"),
        may_keep=True,
        rules=GraphRules(compiler=compiler, custom_ops="inline", computes_in_graph_types=True, takes_plugins=True),
        build=_build_tensorrt,
        read=_read_tensorrt,
        is_engine=True,
        builds_without_gpu=builds_without_gpu,
        triton=triton,
    )


TARGETS: Final[Mapping[str, Target]] = {
    target.name: target
    for target in (
        Target(
            name="onnx",
            precisions=("fp32", "fp16", "int8"),
            may_keep=True,
            rules=GraphRules(compiler=ONNX_RUNTIME, custom_ops="keep", computes_in_graph_types=True),
            build=_build_onnx,
            read=_read_onnx,
            keeps_float_graph=True,
            triton=TritonBackend(name="onnxruntime"),
        ),
        Target(
            name="openvino",
            precisions=("fp16", "fp32", "int8"),
            may_keep=False,
            rules=GraphRules(compiler=OPENVINO, custom_ops="inline", computes_in_graph_types=False, folds_strides=True),
            build=_build_openvino,
            read=_read_openvino,
            ships_graph=False,
            # It sets the number of clips to the highest one, and fails on fewer or pads them.
            triton=TritonBackend(name="openvino", keeps_states=False, batches=False, on_cpu_alone=True),
        ),
        _engine("trt", TENSORRT, builds_without_gpu=False, triton=TritonBackend(name="tensorrt")),
        _engine("trt-rtx", TENSORRT_RTX, builds_without_gpu=True),
    )
}
"""What is exported for, by the name of each target."""
COMPILERS: Final[Mapping[str, Compiler]] = {name: target.rules.compiler for name, target in TARGETS.items()}
"""What takes the graphs of each target."""
FLOAT_TARGETS: Final = frozenset(name for name, target in TARGETS.items() if target.keeps_float_graph)
"""Targets whose fp32 artifacts can be exported again."""


def find_target(name: str, *, precision: str | None) -> tuple[Target, str]:
    """The target of that name and the precision to use, the target's default for None.

    Raises:
        UsageError: there is no such target, or it has no such precision.
    """
    target = TARGETS.get(name)
    if target is None or (precision or target.precisions[0]) not in {*target.precisions, AUTO}:
        allowed = "; ".join(f"{each.name} with {', '.join(each.precisions)} or {AUTO}" for each in TARGETS.values())
        if target is None:
            near = difflib.get_close_matches(name, TARGETS, n=1)
            asked = f"target {name[:40]!r}" + (f", perhaps {near[0]}" if near else "")
        else:
            asked = f"target {name!r} with precision {str(precision)[:40]!r}"
        msg = f"there is no {asked}; there are: {allowed}"
        raise UsageError(msg)
    return target, precision or target.precisions[0]


def runnable_target(target: Target) -> Target:
    """What computes as ``target`` does where that cannot run: ONNX Runtime runs the graphs of engines."""
    return TARGETS["onnx"] if target.is_engine else target


def is_engine(name: str) -> bool:
    """Whether artifacts of target ``name``, which an artifact from elsewhere may give, are engines."""
    return name in TARGETS and TARGETS[name].is_engine
