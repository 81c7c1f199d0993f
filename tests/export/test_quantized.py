"""Graphs that come quantized, in every form that ONNX Runtime's quantizers and hands give them, through the export."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper, parser

from s2tf_edge.errors import UnsupportedError, UsageError
from s2tf_edge.export import ExportOptions, ExportResult, export, plan_export
from s2tf_edge.export.plan import ExportPlan
from s2tf_edge.export.verify.seeded_clips import seeded_clips
from s2tf_edge.preprocess import normalize
from s2tf_edge.runtime.open import open_session
from s2tf_edge.spec import ClipSpec

_RTX = pytest.param("trt-rtx", marks=pytest.mark.needs_rtx)
_SPEC: Final = ClipSpec(frames=4, size=16, mean=(0.45,) * 3, std=(0.225,) * 3)
_FLOAT: Final = """
    <ir_version: 8, opset_import: ["": 18]>
    net (float[1, 3, 4, 16, 16] x) => (float[1, 5] y) {
      ["a/Conv"] c1 = Conv <pads = [1, 1, 1, 1, 1, 1]> (x, w1, b1) r1 = Relu (c1)
      p = MaxPool <kernel_shape = [1, 2, 2], strides = [1, 2, 2]> (r1)
      ["b/Conv"] c2 = Conv <pads = [0, 1, 1, 0, 1, 1]> (p, w2, b2) s = Add (c2, p)
      g = GlobalAveragePool (s) f = Flatten (g) ["fc/Gemm"] y = Gemm <transB = 1> (f, w3, b3)
    }"""
_SHAPES: Final = {"w1": (8, 3, 3, 3, 3), "b1": (8,), "w2": (8, 8, 1, 3, 3), "b2": (8,), "w3": (5, 8), "b3": (5,)}

Quantized = Callable[[str], Path]


@pytest.fixture(scope="module")
def quantized(tmp_path_factory: pytest.TempPathFactory) -> Quantized:
    """A network of five classes, 4×16×16, quantized in a style; its clip file lies beside it."""
    folder = tmp_path_factory.mktemp("quantized")
    _save(folder / "float.onnx", _float_model())

    def make(style: str) -> Path:
        path = folder / f"{style}.onnx"
        if not path.exists():
            _STYLES[style](folder / "float.onnx", path)
            _describe(path)
        return path

    return make


def _float_model() -> onnx.ModelProto:
    model: onnx.ModelProto = parser.parse_model(_FLOAT)
    random = np.random.default_rng(0)
    for name, shape in _SHAPES.items():
        values = random.normal(size=shape) / np.sqrt(np.prod(shape[1:]))
        model.graph.initializer.append(numpy_helper.from_array(values.astype(np.float32), name))
    return model


def _save(path: Path, model: onnx.ModelProto) -> Path:
    onnx.checker.check_model(model)
    onnx.save(model, path)
    _describe(path)
    return path


def _describe(path: Path) -> None:
    clips = {"frames": 4, "crop": 16, "mean": [0.45] * 3, "std": [0.225] * 3, "labels": list("abcde")}
    path.with_suffix(".json").write_text(json.dumps(clips))


def _static(form: str, activations: str, **options: Any) -> Callable[[Path, Path], None]:
    """ONNX Runtime's static quantizer."""

    def quantize(source: Path, path: Path) -> None:
        from onnxruntime import quantization

        class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]  # it has no types
            def __init__(self) -> None:
                # What artifacts are compared on, so that no range is exceeded there.
                clips = [normalize(frames, _SPEC)[np.newaxis] for frames in seeded_clips(_SPEC)]
                self._clips: Iterator[Any] = iter([{"x": clip} for clip in (*clips, _clip(np.random.default_rng(7)))])

            def get_next(self) -> Any:
                return next(self._clips, None)

        kinds = {"activation_type": quantization.QuantType[activations], "weight_type": quantization.QuantType.QInt8}
        quantization.quantize_static(
            source, path, Reader(), quant_format=quantization.QuantFormat[form], **kinds, **options
        )

    return quantize


def _dynamic(source: Path, path: Path) -> None:
    from onnxruntime import quantization

    quantization.quantize_dynamic(source, path)


def _by_training(source: Path, path: Path) -> None:
    """As PyTorch exports what was trained with quantization: weights are floats, and rounded in the graph."""
    _write_pairs(onnx.load(source), path, weights_as_floats=True)


def _weights_alone(source: Path, path: Path) -> None:
    _write_pairs(onnx.load(source), path, activations=False)


def _by_microsoft(source: Path, path: Path) -> None:
    _write_pairs(onnx.load(source), path, domain="com.microsoft")


def _of_opset(opset: int) -> Callable[[Path, Path], None]:
    return lambda source, path: _write_pairs(onnx.load(source), path, opset=opset)


def _halves(source: Path, path: Path) -> None:
    """Activations as 8-bit floats, which no compiler but TensorRT means to take."""
    _write_pairs(onnx.load(source), path, kind=TensorProto.FLOAT8E4M3FN)


def _write_pairs(
    model: onnx.ModelProto,
    path: Path,
    *,
    weights_as_floats: bool = False,
    activations: bool = True,
    domain: str = "",
    kind: int = TensorProto.INT8,
    opset: int = 19,
) -> None:
    """Symmetric Q/DQ before every convolution, written by hand."""
    graph, nodes = model.graph, []
    weights = {each.name: numpy_helper.to_array(each) for each in graph.initializer}
    for node in graph.node:
        if node.op_type == "Conv":
            if activations:
                nodes += _pair(graph, node.input[0], step=0.03, kind=kind, domain=domain)
                node.input[0] = f"{node.input[0]}/dq"
            nodes += _weight(
                graph,
                node.input[1],
                weights[node.input[1]],
                as_float=weights_as_floats,
                domain=domain,
                by_channel=opset > 12,
            )
            node.input[1] = f"{node.input[1]}/dq"
        nodes.append(node)
    new = helper.make_model(
        helper.make_graph(nodes, "net", graph.input, graph.output, graph.initializer),
        opset_imports=[helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)],
        ir_version=5 if opset == 10 else 9,
    )
    onnx.save(new, path)


def _pair(graph: onnx.GraphProto, name: str, *, step: float, kind: int, domain: str) -> list[onnx.NodeProto]:
    graph.initializer.append(helper.make_tensor(f"{name}/s", TensorProto.FLOAT, [], [step]))
    graph.initializer.append(helper.make_tensor(f"{name}/z", kind, [], [0]))
    scale = [f"{name}/s", f"{name}/z"]
    return [
        helper.make_node("QuantizeLinear", [name, *scale], [f"{name}/q"], f"{name}/Quantize", domain=domain),
        helper.make_node("DequantizeLinear", [f"{name}/q", *scale], [f"{name}/dq"], f"{name}/Dequant", domain=domain),
    ]


def _weight(
    graph: onnx.GraphProto, name: str, values: NDArray[np.float32], *, as_float: bool, domain: str, by_channel: bool
) -> list[onnx.NodeProto]:
    """One scale for each output, on axis 0, or one for all, as before opset 13."""
    steps = np.abs(values).max(axis=(1, 2, 3, 4)) / 127
    if not by_channel:
        steps = steps.max(keepdims=True).reshape(())
    graph.initializer.append(numpy_helper.from_array(steps, f"{name}/s"))
    graph.initializer.append(numpy_helper.from_array(np.zeros(steps.shape, np.int8), f"{name}/z"))
    scale = [f"{name}/s", f"{name}/z"]
    axis: dict[str, Any] = {"domain": domain} | ({"axis": 0} if by_channel else {})
    last = helper.make_node(
        "DequantizeLinear", [f"{name}/q", *scale], [f"{name}/dq"], f"{name}/DequantizeLinear", **axis
    )
    if as_float:
        return [helper.make_node("QuantizeLinear", [name, *scale], [f"{name}/q"], f"{name}/Quantize", **axis), last]
    integers = np.rint(values / steps.reshape(-1, 1, 1, 1, 1)).astype(np.int8)
    graph.initializer.append(numpy_helper.from_array(integers, f"{name}/q"))
    return [last]


def _clip(random: np.random.Generator) -> NDArray[np.float32]:
    return random.normal(size=(1, 3, 4, 16, 16)).astype(np.float32)


_SYMMETRIC: Final = {"extra_options": {"ActivationSymmetric": True}}
_STYLES: Final[dict[str, Callable[[Path, Path], None]]] = {
    "unsigned": _static("QDQ", "QUInt8"),
    "signed by channel": _static("QDQ", "QInt8", per_channel=True, **_SYMMETRIC),
    "operators": _static("QOperator", "QUInt8"),
    "operators by channel": _static("QOperator", "QInt8", per_channel=True),
    "16 bits": _static("QDQ", "QUInt16"),
    "dynamic": _dynamic,
    "by training": _by_training,
    "weights alone": _weights_alone,
    "by microsoft": _by_microsoft,
    "8-bit floats": _halves,
    "opset 10": _of_opset(10),
    "opset 23": _of_opset(23),
}
_KEPT: Final = (
    "unsigned",
    "signed by channel",
    "operators",
    "operators by channel",
    "by training",
    "by microsoft",
    "opset 10",
    "opset 23",
)


def _run(path: Path, clip: NDArray[np.float32]) -> NDArray[np.float32]:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (name,) = (each.name for each in session.get_inputs())
    return np.asarray(session.run(None, {name: clip})[0])


def _export(model: Path, folder: Path, target: str, **options: Any) -> ExportResult:
    return export(model, ExportOptions(target=target, out=folder / "a", meta=model.with_suffix(".json"), **options))


def _plan(model: Path, target: str, **options: Any) -> ExportPlan:
    plan = plan_export(model, ExportOptions(target=target, meta=model.with_suffix(".json"), **options))
    assert isinstance(plan, ExportPlan)
    return plan


@pytest.mark.parametrize("target", ["onnx", pytest.param("openvino", marks=pytest.mark.needs_vnni)])
@pytest.mark.parametrize("style", _KEPT)
def test_a_quantized_graph_is_kept_as_it_is(quantized: Quantized, tmp_path: Path, style: str, target: str) -> None:
    """The logits are those of the file, to a step of the last integers."""
    model, clip = quantized(style), _clip(np.random.default_rng(7))
    result = _export(model, tmp_path, target)
    assert result.meta.precision["asked"] == "int8"
    assert result.meta.build["recipe"] == "quantized as it came"
    assert result.verification is not None
    assert result.verification.relative_error < 0.02
    expected = _run(model, clip)
    with open_session(result.folder) as session:
        assert np.abs(session.infer(clip).logits - expected).max() < 0.02 * np.ptp(expected)
    audit = result.meta.precision["audit"]
    assert audit["convolutions"]["total"] == 2
    if target == "openvino":
        assert audit["convolutions"]["integer"] >= 1
    assert not (result.folder / "calib.json").exists()


@pytest.mark.needs_rtx
@pytest.mark.parametrize("style", ["signed by channel", "by training", "by microsoft"])
def test_tensorrt_keeps_symmetric_integers(quantized: Quantized, tmp_path: Path, style: str) -> None:
    """Biases of 32 bits, which it does not take, are constants again."""
    result = _export(quantized(style), tmp_path, "trt-rtx")
    assert result.meta.precision["audit"]["convolutions"]["integer"] == 2
    assert result.verification is not None
    assert result.verification.relative_error < 0.02
    nodes = onnx.load(result.folder / "model.onnx").graph
    assert not [each.name for each in nodes.initializer if each.data_type == TensorProto.INT32]


@pytest.mark.parametrize(
    ("style", "target", "reason"),
    [
        pytest.param("unsigned", "trt-rtx", "it is uint8, and TensorRT has int8 alone", marks=pytest.mark.needs_rtx),
        pytest.param("operators", "trt-rtx", "it is uint8, and TensorRT", marks=pytest.mark.needs_rtx),
        pytest.param("operators by channel", "trt-rtx", "its zero point is not zero", marks=pytest.mark.needs_rtx),
        pytest.param("16 bits", "trt-rtx", "it is uint16, and TensorRT", marks=pytest.mark.needs_rtx),
        ("16 bits", "openvino", "OpenVINO rounds activations of 16 bits to 8"),
        ("8-bit floats", "openvino", "OpenVINO computes other values of such 8-bit floats"),
        ("dynamic", "openvino", "it computes on integers; export the float network"),
    ],
)
def test_what_a_target_would_compute_otherwise_is_refused_at_once(
    quantized: Quantized, style: str, target: str, reason: str
) -> None:
    with pytest.raises(UnsupportedError, match=rf"does not keep \w+ '.*already: {reason}.*; give `requantize=True`"):
        _plan(quantized(style), target)


@pytest.mark.parametrize("target", ["onnx", "openvino", _RTX])
def test_weights_that_are_stored_as_integers_make_a_float_network(
    quantized: Quantized, target: str, tmp_path: Path
) -> None:
    result = _export(quantized("weights alone"), tmp_path, target, precision=None)
    assert result.meta.precision["asked"] != "int8"
    assert result.meta.source["changes"] == ["stripped of its quantization"]
    assert "i8" not in result.meta.precision["obtained"]["Convolution"]


@pytest.mark.parametrize("target", ["onnx", "openvino", _RTX])
@pytest.mark.parametrize("style", [*_KEPT, "weights alone", "16 bits"])
def test_a_stripped_graph_is_the_float_network(
    quantized: Quantized, tmp_path: Path, style: str, target: str, caplog: pytest.LogCaptureFixture
) -> None:
    """But for what weights lost when they were rounded."""
    result = _export(quantized(style), tmp_path, target, requantize=True, precision="fp32")
    assert result.meta.precision["asked"] == "fp32"
    assert result.layers_line() == "layers: 2 convolutions in f32, 1 matrix product in f32"
    assert "says something else" not in caplog.text
    clip = _clip(np.random.default_rng(7))
    expected = _run(quantized("by training").with_name("float.onnx"), clip)
    if target != "trt-rtx":
        with open_session(result.folder) as session:
            assert np.abs(session.infer(clip).logits - expected).max() < 0.02 * np.ptp(expected)


@pytest.mark.parametrize("target", ["onnx", "openvino", _RTX])
def test_a_stripped_graph_is_quantized_anew(quantized: Quantized, tmp_path: Path, target: str) -> None:
    result = _export(
        quantized("unsigned"), tmp_path, target, requantize=True, precision="int8", calib="synthetic?clips=8"
    )
    assert result.layers_line() == "integer: 2 of 2 convolutions, 1 of 1 matrix products"
    assert (result.folder / "calib.json").is_file()
    assert "--requantize" in (result.folder / "reproduce.sh").read_text()


def test_a_stripped_graph_that_says_something_else_is_told(
    quantized: Quantized, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Ranges that cut off most of what comes are part of the network as it came."""
    model = onnx.load(quantized("by training"))
    for each in model.graph.initializer:
        if each.name == "x/s":
            each.CopyFrom(helper.make_tensor("x/s", TensorProto.FLOAT, [], [0.001]))
    path = _save(tmp_path / "narrow.onnx", model)
    _export(path, tmp_path, "onnx", requantize=True)
    assert f"without its Q/DQ, {path} says something else than with them: largest error" in caplog.text


def test_clips_are_verified_on_and_not_calibrated_with(
    quantized: Quantized, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        result = _export(quantized("unsigned"), tmp_path, "openvino", precision="int8", calib="synthetic?clips=8")
    assert "its ranges are kept: `calib` is verified on; `requantize` measures anew" in caplog.text
    assert result.verification is not None
    assert result.verification.clips == "unseen"


def test_auto_keeps_it_too(quantized: Quantized) -> None:
    assert _plan(quantized("unsigned"), "openvino", precision="auto").precision == "int8"


def test_dynamic_quantization_is_kept_where_it_runs(quantized: Quantized, tmp_path: Path) -> None:
    result = _export(quantized("dynamic"), tmp_path, "onnx")
    assert result.meta.precision["asked"] == "int8"
    assert result.meta.precision["obtained"]["Convolution"]["i8"] >= 1


def test_a_dry_run_says_what_becomes_of_it(quantized: Quantized) -> None:
    kept, stripped = (_plan(quantized("by training"), "openvino", requantize=each) for each in (False, True))
    assert kept.folder.name == "by training_openvino_int8"
    assert "keeping its own integers: 4 activations" in kept.lines()
    assert stripped.folder.name == "by training_openvino_fp16"
    assert "without its own integers: 4 activations" in stripped.lines()


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_another_precision_is_not_had_without_stripping(
    quantized: Quantized, precision: str, caplog: pytest.LogCaptureFixture
) -> None:
    plan = _plan(quantized("unsigned"), "openvino", precision=precision)
    assert plan.precision == "int8"
    assert f"kept as it is, in int8; `requantize` strips it for {precision}" in caplog.text


@pytest.mark.parametrize("option", [{"exclude": ("fc",)}, {"calib_method": "mse"}, {"sensitivity": Path("x.html")}])
def test_options_of_quantizing_are_refused(quantized: Quantized, option: dict[str, Any]) -> None:
    (name,) = option
    with pytest.raises(UsageError, match=rf"`{name}` is for quantizing, but .* is quantized already"):
        _plan(quantized("unsigned"), "openvino", precision="int8", **option)


def test_there_must_be_something_to_strip(quantized: Quantized) -> None:
    with pytest.raises(UsageError, match=r"`requantize` strips Q/DQ, and .* has none; leave it out"):
        _plan(quantized("by training").with_name("float.onnx"), "onnx", requantize=True)


def test_what_cannot_be_stripped_is_refused(quantized: Quantized) -> None:
    with pytest.raises(UnsupportedError, match=r"^\w+ '.*' has no float form here, so this graph cannot be stripped"):
        _plan(quantized("dynamic"), "onnx", requantize=True)


def test_int8_of_a_float_graph_needs_clips_still(quantized: Quantized) -> None:
    with pytest.raises(UsageError, match="int8 needs clips to calibrate with"):
        _plan(quantized("by training").with_name("float.onnx"), "onnx", precision="int8")
