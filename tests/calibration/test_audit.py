from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from s2tf_edge.calibration.audit import Audit, FloatLayer, Tally, audit_graph, audit_onnxruntime, audit_openvino
from s2tf_edge.calibration.qdq.ptq import measure_graph
from s2tf_edge.errors import InputFileError
from s2tf_edge.runtime.backends.telemetry import require_without_telemetry

NAME = "r3d_10?width=0.125&frames=8&size=32&shortcut=A"
NONE = Tally(integer=0, total=0, rest=())


@pytest.fixture(scope="module")
def compile_graph() -> Callable[[Path], Any]:
    openvino: Any = require_without_telemetry("openvino", extra="export", purpose="these tests")
    core = openvino.Core()
    return lambda path: core.compile_model(core.read_model(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})


def _quantized(
    float_graph: Callable[[str], Path], noise: Any, out: Path, *, style: str, excluded: Sequence[str] = ()
) -> Path:
    measured = measure_graph(float_graph(NAME), clips=noise((1, 3, 8, 32, 32), 2), style=style)
    measured.write(out, excluded=excluded)
    return out


def test_a_float_graph_has_no_integer_layers(
    float_graph: Callable[[str], Path], compile_graph: Callable[[Path], Any]
) -> None:
    graph = float_graph(NAME)
    names = {node.name for node in onnx.load(graph).graph.node if node.op_type == "Conv"}
    for audit in (audit_graph(graph), audit_onnxruntime(graph), audit_openvino(compile_graph(graph))):
        assert audit.line() == f"integer: 0 of {len(names)} convolutions, 0 of 1 matrix products"
        assert {layer.name for layer in audit.convolutions.rest} == names
        assert {layer.type for layer in audit.convolutions.rest} == {"f32"}


@pytest.mark.parametrize("place", [1, 2])
def test_layers_left_out_are_named_with_a_reason(
    float_graph: Callable[[str], Path], compile_graph: Callable[[Path], Any], noise: Any, tmp_path: Path, place: int
) -> None:
    """Of a residual branch the first, which stands between integer layers, or the last."""
    names = [node.name for node in onnx.load(float_graph(NAME)).graph.node if node.op_type == "Conv"]
    name = names[place]
    graph = _quantized(float_graph, noise, tmp_path / "q.onnx", style="openvino", excluded=[name])
    audits = {"graph": audit_graph(graph), "openvino": audit_openvino(compile_graph(graph))}
    graph = _quantized(float_graph, noise, tmp_path / "ort.onnx", style="onnxruntime", excluded=[name])
    audits["onnxruntime"] = audit_onnxruntime(graph)
    for audit in audits.values():
        assert audit.convolutions.integer == len(names) - 1
        assert [layer.name for layer in audit.convolutions.rest] == [name]
    assert audits["graph"].convolutions.rest[0].reason == "its input and weight are not quantized"
    assert audits["openvino"].convolutions.rest[0].reason == "OpenVINO chose a floating-point kernel"
    assert audits["onnxruntime"].convolutions.rest[0].type == "f32"


def test_what_is_quantized_but_not_fused_counts_as_float(
    float_graph: Callable[[str], Path], noise: Any, tmp_path: Path
) -> None:
    """ONNX Runtime has no kernel for 3D convolutions with int8 activations."""
    graph = _quantized(float_graph, noise, tmp_path / "q.onnx", style="tensorrt")
    asked, run = audit_graph(graph), audit_onnxruntime(graph)
    assert asked.convolutions.integer == asked.convolutions.total
    assert run.convolutions.integer < 0.5 * run.convolutions.total
    assert {layer.reason for layer in run.convolutions.rest} == {"ONNX Runtime found no integer kernel for it"}


def test_a_matrix_product_of_one_integer_operand_is_not_integer(tmp_path: Path) -> None:
    scale = numpy_helper.from_array(np.array(0.1, np.float32), "s")
    nodes = [
        helper.make_node("QuantizeLinear", ["clip", "s"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s"], ["dq"]),
        helper.make_node("MatMul", ["dq", "clip"], ["logits"], name="attention/MatMul"),
    ]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [4, 4]) for name in ("clip", "logits")]
    model = helper.make_model(helper.make_graph(nodes, "g", values[:1], values[1:], [scale]))
    rest = (FloatLayer(name="attention/MatMul", type="f32", reason="its operands are not quantized"),)
    assert audit_graph(model) == Audit(convolutions=NONE, matrix_products=Tally(integer=0, total=1, rest=rest))


def test_an_audit_reads_well_and_is_plain_json() -> None:
    rest = (FloatLayer(name="fc/Gemm", type="bf16", reason="because"),)
    audit = Audit(convolutions=Tally(integer=2, total=2, rest=()), matrix_products=Tally(integer=0, total=1, rest=rest))
    assert audit.line() == "integer: 2 of 2 convolutions, 0 of 1 matrix products"
    assert Audit(convolutions=NONE, matrix_products=NONE).line() == "integer: no layers"
    assert json.loads(json.dumps(audit.to_dict())) == {
        "line": audit.line(),
        "convolutions": {"integer": 2, "total": 2, "rest": []},
        "matrix_products": {
            "integer": 0,
            "total": 1,
            "rest": [{"layer": "fc/Gemm", "type": "bf16", "reason": "because"}],
        },
    }


def test_a_file_that_is_no_graph_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "é.onnx"
    path.write_bytes(b"no graph")
    with pytest.raises(InputFileError, match=r"ONNX Runtime cannot read .*é\.onnx"):
        audit_onnxruntime(path)


def test_reasons_are_counted() -> None:
    layers = [FloatLayer(name=str(index), type="f32", reason="no kernel") for index in range(3)]
    other = FloatLayer(name="x", type="f32", reason="its input is float")
    convolutions = Tally(integer=1, total=5, rest=(*layers, other))
    product = Tally(integer=0, total=1, rest=(layers[0],))
    audit = Audit(convolutions=convolutions, matrix_products=product)
    assert audit.integer == 1
    assert audit.explain() == (
        "3 of 5 convolutions: no kernel; 1 of 5 convolutions: its input is float; the only matrix product: no kernel"
    )
    assert Audit(convolutions=Tally(integer=0, total=3, rest=tuple(layers)), matrix_products=NONE).explain() == (
        "all 3 convolutions: no kernel"
    )
    assert Audit(convolutions=NONE, matrix_products=NONE).explain() == "there is no convolution and no matrix product"
