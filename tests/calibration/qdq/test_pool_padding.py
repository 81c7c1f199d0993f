from __future__ import annotations

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import onnxruntime
import pytest
from numpy.typing import NDArray

from s2tf_edge.calibration.qdq.pool_padding import MergePads


def _model(
    *, value: str = "-inf", pads: str = "0, 0, 0, 1, 1, 0, 0, 1, 1, 1", pool: str = "", mode: str = "constant"
) -> ir.Model:
    proto = onnx.parser.parse_model(f"""
      <ir_version: 10, opset_import: ["": 18]>
      padded (float[1, 2, 4, 9, 9] clip) => (float[n, c, t, h, w] pooled)
      <int64[10] pads = {{{pads}}}, float value = {{0}}> {{
        wide = Pad <mode = "{mode}"> (clip, pads, value)
        pooled = MaxPool <kernel_shape = [2, 3, 3], strides = [1, 2, 2] {pool}> (wide)
      }}""")
    proto.graph.initializer[1].CopyFrom(onnx.numpy_helper.from_array(np.array(float(value), np.float32), "value"))
    return ir.from_proto(proto)


def _run(model: ir.Model) -> NDArray[np.float32]:
    clip = np.random.default_rng(0).standard_normal((1, 2, 4, 9, 9)).astype(np.float32) - 3
    result = onnxruntime.InferenceSession(ir.to_proto(model).SerializeToString()).run(None, {"clip": clip})[0]
    return np.asarray(result)


@pytest.mark.parametrize("value", ["-inf", "-3.4028235e38", "-1e30", "-65504"])
@pytest.mark.parametrize("pool", ["", ", pads = [0, 1, 0, 0, 1, 1]"])
def test_a_pool_pads_by_itself(pool: str, value: str) -> None:
    model = _model(pool=pool, value=value)
    expected = _run(model)
    assert MergePads()(model).modified
    assert [node.op_type for node in model.graph] == ["MaxPool"]
    assert not model.graph.initializers
    np.testing.assert_array_equal(_run(model), expected)


@pytest.mark.parametrize(
    "differs",
    [
        {"value": "0"},
        {"value": "-1000"},
        {"mode": "edge"},
        {"pads": "0, 0, 0, 3, 0, 0, 0, 0, 0, 0"},
        {"pads": "0, 0, 0, -1, 0, 0, 0, 0, 0, 0"},
        {"pads": "0, 1, 0, 0, 0, 0, 0, 0, 0, 0"},
        {"pool": ", ceil_mode = 1"},
        {"pool": ', auto_pad = "SAME_UPPER"'},
    ],
    ids=str,
)
def test_what_a_pool_cannot_do_stays(differs: dict[str, str]) -> None:
    model = _model(**differs)
    assert not MergePads()(model).modified
    assert [node.op_type for node in model.graph] == ["Pad", "MaxPool"]
