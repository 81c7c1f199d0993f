"""Attributes of windows, resizes and pads, combined: each target computes what ONNX Runtime does, or it is refused.

Compilers differ in the corners of these operators: in the last windows of what is rounded up, on which side an odd
padding is larger, in how positions are counted. A corner that a new version of a compiler turns otherwise is found
here.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from s2tf_edge.errors import UnsupportedError
from s2tf_edge.export.graph.capabilities import check_supported, rewrites_for
from s2tf_edge.export.targets.registry import COMPILERS, TARGETS
from s2tf_edge.export.targets.tensorrt_engine import build_engine
from s2tf_edge.export.targets.tensorrt_graph import parse_graph
from s2tf_edge.runtime.backends.telemetry import require_without_telemetry
from s2tf_edge.runtime.backends.tensorrt_library import EngineLog, load_tensorrt

SHAPE: Final = (1, 4, 5, 8, 9)
REASONS: Final = re.compile(
    "leaves dilations out of such padding|has it for pictures only|stretches to all of|no pools with dilations|"
    "no transposed convolutions with both|"
    # An average with dilations whose last window reaches beyond the end by more than a kernel.
    r"AveragePool .*divides them by another number"
)
"""Why a case may be refused; all others are to be computed."""
PADS: Final = ([0] * 6, [1] * 6, [0, 1, 1, 0, 1, 1], [1, 0, 1, 0, 1, 0], [0, 0, 0, 1, 1, 1], [1, 1, 1, 0, 0, 0])
KERNELS: Final = (
    ([2, 3, 3], [2, 2, 2]),
    ([2, 2, 2], [3, 3, 3]),
    ([3, 3, 3], [1, 2, 3]),
    ([3, 2, 3], [2, 3, 2]),
)


class Case(NamedTuple):
    operator: str
    attributes: dict[str, Any]
    constants: dict[str, NDArray[Any] | None] = {}  # noqa: RUF012  # never changed
    """Inputs after ``x``; None for one that is left out."""
    opset: int = 22

    def __str__(self) -> str:
        given = {name: value.shape if value.size > 10 else value.tolist() for name, value in self._values()}
        return f"{self.operator}-{self.opset} {self.attributes} {given}".replace("'", "")

    def _values(self) -> Iterator[tuple[str, NDArray[Any]]]:
        yield from ((name, value) for name, value in self.constants.items() if value is not None)

    def proto(self) -> onnx.ModelProto:
        """One node between ``x`` and ``y``."""
        names = ["x", *("" if value is None else name for name, value in self.constants.items())]
        node = helper.make_node(self.operator, names, ["y"], name="stage.1/node", **self.attributes)
        x = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, SHAPE)
        y = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)
        constants = [numpy_helper.from_array(value, name) for name, value in self._values()]
        graph = helper.make_graph([node], "graph", [x], [y], constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=10)


def _pools() -> Iterator[Case]:
    rounded = itertools.product(KERNELS, PADS, [1])
    for (kernel, strides), pads, ceil in (*rounded, *itertools.product(KERNELS, PADS[1:4:2], [0])):
        own = {"kernel_shape": kernel, "strides": strides, "pads": pads, "ceil_mode": ceil}
        for opset, counts in ((18, 1), (22, 0), (22, 1)):
            yield Case("AveragePool", own | {"count_include_pad": counts}, opset=opset)
        yield Case("MaxPool", own)
        yield Case("LpPool", own | {"p": 2 - sum(pads) % 2})
        if ceil and kernel[0] == 2:
            dilated = own | {"dilations": [1, 2, 2]}
            yield from (Case(name, dilated) for name in ("AveragePool", "LpPool", "MaxPool"))
            yield Case("AveragePool", dilated | {"count_include_pad": 1})


def _automatic_pools() -> Iterator[Case]:
    padding = ("SAME_UPPER", "SAME_LOWER", "VALID")
    for (kernel, strides), auto, ceil in itertools.product(KERNELS[::2], padding, (0, 1)):
        own = {"kernel_shape": kernel, "strides": strides, "auto_pad": auto, "ceil_mode": ceil}
        for name, more in itertools.product(("AveragePool", "LpPool", "MaxPool"), ({}, {"dilations": [1, 2, 2]})):
            yield Case(name, own | more)
        yield Case("AveragePool", own | {"count_include_pad": 1})


def _weight(*shape: int) -> dict[str, NDArray[Any] | None]:
    return {"w": np.random.default_rng(0).standard_normal(shape).astype(np.float32)}


def _convolutions() -> Iterator[Case]:
    strides, dilations = ([1, 1, 1], [1, 2, 2], [2, 2, 2]), ([1, 1, 1], [1, 2, 2])
    for group, step, dilation in itertools.product((1, 4), strides, dilations):
        own = {"group": group, "strides": step, "dilations": dilation}
        weight = _weight(8, 4 // group, 3, 3, 3)
        yield from (Case("Conv", own | {"pads": pads}, weight) for pads in (PADS[1], PADS[4], PADS[5]))
        yield from (Case("Conv", own | {"auto_pad": auto}, weight) for auto in ("SAME_UPPER", "SAME_LOWER", "VALID"))


def _transposed_convolutions() -> Iterator[Case]:
    strides, dilations = ([1, 1, 1], [1, 2, 2], [2, 2, 3]), ([1, 1, 1], [1, 2, 2])
    for group, step, dilation in itertools.product((1, 2), strides, dilations):
        own: dict[str, Any] = {"group": group, "strides": step, "dilations": dilation}
        weight = _weight(4, 8 // group, 3, 3, 3)
        yield from (Case("ConvTranspose", own | {"pads": pads}, weight) for pads in (PADS[1], PADS[3]))
        if min(step[1:]) > 1:
            yield Case("ConvTranspose", own | {"pads": PADS[1], "output_padding": [0, 1, 1]}, weight)
        for auto in ("SAME_UPPER", "SAME_LOWER"):
            yield Case("ConvTranspose", own | {"auto_pad": auto}, weight)
            for more in ([0, 0, 0], [0, 1, 1], [-1, 0, -1]):
                sides = [side * s + extra for side, s, extra in zip(SHAPE[2:], step, more, strict=True)]
                yield Case("ConvTranspose", own | {"auto_pad": auto, "output_shape": sides}, weight)


_SCALES: Final[tuple[list[float], ...]] = ([1, 1, 1, 2, 2], [1, 1, 0.6, 0.5, 0.7], [1, 1, 2, 1.5, 0.5])
_ROI: Final = np.array([0, 0, 0.1, 0.1, 0.1, 1, 1, 0.9, 0.8, 0.9], np.float32)


def _resizes() -> Iterator[Case]:
    counts = ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric")
    rare = ("half_pixel_symmetric", "tf_crop_and_resize")
    rounding = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
    for how, scales in itertools.product((*counts, *rare), _SCALES):
        ways: list[dict[str, Any]] = [{"mode": "nearest", "nearest_mode": nearest} for nearest in rounding]
        for way in (*ways, {"mode": "linear"}):
            own, roi = way | {"coordinate_transformation_mode": how}, _ROI if how == rare[1] else None
            yield Case("Resize", own, {"roi": roi, "scales": np.array(scales, np.float32)})
        sizes = np.array([int(side * scale) for side, scale in zip(SHAPE, scales, strict=True)])
        yield Case("Resize", own, {"roi": roi, "none": None, "sizes": sizes})
    smooth: dict[str, Any] = {"mode": "linear", "antialias": 1}
    for scales, way in itertools.product(_SCALES, (smooth, smooth | {"exclude_outside": 1}, {"mode": "cubic"})):
        yield Case("Resize", way, {"roi": None, "scales": np.array(scales, np.float32)})


def _resizes_of_axes() -> Iterator[Case]:
    for mode, axes in itertools.product(("nearest", "linear"), ([3, 4], [2, 3, 4], [-1, -2], [-3])):
        scales = np.array([2, 0.5, 1.5][: len(axes)], np.float32)
        yield Case("Resize", {"mode": mode, "axes": axes}, {"roi": None, "scales": scales})
        if mode == "linear":
            yield Case("Resize", {"mode": mode, "axes": axes, "antialias": 1}, {"roi": None, "scales": scales})
        sizes = {"roi": None, "none": None, "sizes": np.array([7, 12, 5][: len(axes)])}
        yield from (
            Case("Resize", {"mode": mode, "axes": axes, "keep_aspect_ratio_policy": policy}, sizes)
            for policy in ("stretch", "not_larger", "not_smaller")
        )


def _pads() -> Iterator[Case]:
    widths = (
        [0, 0, 1, 1, 1, 0, 0, 1, 1, 1],
        [0, 0, 2, 0, 1, 0, 0, 0, 3, 2],
        [0, 1, 0, 1, 1, 0, 1, 1, 0, 2],
        [0, 0, -1, 1, 0, 0, 0, 0, -1, 2],
        [0, 0, -1, -1, -1, 0, 0, 0, -2, 0],
        [0] * 10,
        [0, 0, 4, 7, 8, 0, 0, 4, 7, 8],
    )
    for mode in ("constant", "reflect", "edge", "wrap"):
        own = {"mode": mode}
        yield from (Case("Pad", own, {"pads": np.array(width)}) for width in widths)
        for axes, width in (([2, 3, 4], [1, 1, 1, 0, 1, 2]), ([-1, -2], [1, 2, 0, 1]), ([3], [2, 1])):
            yield Case("Pad", own, {"pads": np.array(width), "value": None, "axes": np.array(axes)})
    for value in np.array([0.0, 1.5, -np.inf], np.float32):
        yield Case("Pad", {"mode": "constant"}, {"pads": np.array(widths[1]), "value": np.asarray(value)})


CASES: Final = [
    *(*_pools(), *_automatic_pools(), *_convolutions(), *_transposed_convolutions()),
    *(*_resizes(), *_resizes_of_axes(), *_pads()),
]
each_case = pytest.mark.parametrize("case", CASES, ids=map(str, CASES))


def _clip() -> NDArray[np.float32]:
    return np.random.default_rng(0).standard_normal(SHAPE).astype(np.float32)


def _expected(case: Case) -> NDArray[np.float32]:
    proto = case.proto().SerializeToString()
    session = onnxruntime.InferenceSession(proto, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(["y"], {"x": _clip()})[0])


def _lowered(case: Case, target: str) -> onnx.ModelProto | None:
    """As a target gets it; None where it is refused."""
    model = ir.from_proto(onnx.shape_inference.infer_shapes(case.proto(), data_prop=True))
    for rewrite in rewrites_for(COMPILERS[target]).values():
        rewrite.make()(model)
    try:
        check_supported(model, COMPILERS[target], targets=COMPILERS)
    except UnsupportedError as error:
        if REASONS.search(str(error)) is None:
            raise
        return None
    proto = ir.to_proto(model)
    onnx.checker.check_model(proto, full_check=True)
    return proto


def _compare(got: NDArray[np.float32], wanted: NDArray[np.float32]) -> None:
    finite: Mapping[str, Any] = {"rtol": 0, "atol": 1e-5 * max(1.0, float(np.ptp(wanted[np.isfinite(wanted)])))}
    np.testing.assert_allclose(got, wanted, **finite)


def test_there_are_many_and_few_are_refused() -> None:
    assert len(set(map(str, CASES))) == len(CASES) > 500
    refused = {target: sum(_lowered(case, target) is None for case in CASES) for target in ("openvino", "trt")}
    assert refused["openvino"] < len(CASES) / 8
    assert refused["trt"] < len(CASES) / 5


@each_case
def test_openvino_computes_what_onnx_runtime_does(case: Case) -> None:
    openvino: Any = require_without_telemetry("openvino", extra="export", purpose="this test")
    proto = _lowered(case, "openvino")
    if proto is None:
        return
    core = openvino.Core()
    config = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    compiled = core.compile_model(core.read_model(proto.SerializeToString()), "CPU", config)
    _compare(compiled({"x": _clip()})["y"], _expected(case))


@pytest.mark.needs_rtx
@each_case
def test_tensorrt_rtx_reads_windows_of_the_same_sizes(case: Case, tmp_path: Path) -> None:
    """It has no GPU to compute on here."""
    proto = _lowered(case, "trt-rtx")
    if proto is None:
        return
    onnx.save(proto, tmp_path / "model.onnx")
    library = load_tensorrt("trt-rtx", purpose="this test")
    log = EngineLog(library)
    flags = 1 << int(library.module.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    network = library.module.Builder(log.listener).create_network(flags)
    parser = parse_graph(library, network, tmp_path / "model.onnx", log=log)
    assert tuple(network.get_output(0).shape) == _expected(case).shape
    del parser


SLOW_BUT_SOME: Final[list[Any]] = [
    pytest.param(case, id=str(case), marks=() if index % 30 == 0 else pytest.mark.slow)
    for index, case in enumerate(CASES)
]


@pytest.mark.needs_rtx
@pytest.mark.parametrize("case", SLOW_BUT_SOME)
def test_tensorrt_rtx_builds(case: Case, tmp_path: Path) -> None:
    proto = _lowered(case, "trt-rtx")
    if proto is None:
        return
    onnx.save(proto, tmp_path / "model.onnx")
    facts = build_engine(tmp_path / "model.onnx", tmp_path / "model.engine", target=TARGETS["trt-rtx"])
    assert facts.size_bytes
