"""Graphs of any size; what one file holds is made less here, so that small graphs take the way of large ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper, parser

from s2tf_edge.calibration import onnx_files
from s2tf_edge.calibration.onnx_files import copy_model, open_in_onnxruntime, save_model, through_onnx, weights_file

CLIP = np.random.default_rng(0).normal(size=(1, 3, 4, 8, 8)).astype(np.float32)


def _graph(*, ir_version: int = 4, opset: int = 18) -> ir.Model:
    model = parser.parse_model(f"""
        <ir_version: {ir_version}, opset_import: ["": {opset}]> net (float[1,3,4,8,8] x) => (float[a,b] y)
        {{ c = Conv <pads = [1,1,1,1,1,1]> (x, w) m = Mul (c, w2) y = Reshape (m, shape) }}""")
    random = np.random.default_rng(1)
    for name, shape in {"w": (8, 3, 3, 3, 3), "w2": (8, 4, 8, 8)}.items():
        values = random.normal(size=shape).astype(np.float32)
        model.graph.initializer.append(numpy_helper.from_array(values, name))
    model.graph.initializer.append(numpy_helper.from_array(np.array([1, 2048]), "shape"))
    return ir.from_proto(model)


def _run(session: Any) -> NDArray[np.float32]:
    return np.asarray(session.run(None, {"x": CLIP})[0])


@pytest.mark.parametrize(("limit", "files"), [(2**20, ["model.onnx"]), (0, ["model.onnx", "model.onnx.data"])])
def test_what_one_file_cannot_hold_has_its_weights_beside_it(
    limit: int, files: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = _graph()
    expected = _run(open_in_onnxruntime(onnxruntime, model))
    monkeypatch.setattr(onnx_files, "SINGLE_FILE_BYTES", limit)
    path = tmp_path / "model.onnx"
    save_model(model, path)
    assert sorted(each.name for each in tmp_path.iterdir()) == files
    assert weights_file(path).exists() is (limit == 0)
    copied = tmp_path / "copy"
    copied.mkdir()
    assert copy_model(path, copied / "net é.onnx") == ("net é.onnx", *files[1:])
    for each in (path, copied / "net é.onnx"):
        np.testing.assert_array_equal(_run(onnxruntime.InferenceSession(each)), expected)
    # From memory, and from a graph whose weights still lie in their file.
    np.testing.assert_array_equal(_run(open_in_onnxruntime(onnxruntime, model)), expected)
    np.testing.assert_array_equal(_run(open_in_onnxruntime(onnxruntime, ir.load(path))), expected)


@pytest.mark.parametrize(("given", "opset", "written"), [(3, 18, 10), (8, 18, 10), (13, 18, 10), (8, 23, 11)])
def test_written_graphs_have_a_current_ir_version(given: int, opset: int, written: int, tmp_path: Path) -> None:
    save_model(_graph(ir_version=given, opset=opset), tmp_path / "model.onnx")
    assert onnx.load(tmp_path / "model.onnx").ir_version == written


def test_onnx_does_not_see_weights_and_they_come_back() -> None:
    seen: list[str] = []
    model = _graph()
    before = ir.to_proto(model)

    def infer(proto: onnx.ModelProto) -> onnx.ModelProto:
        seen.extend(tensor.name for tensor in proto.graph.initializer)
        assert proto.ByteSize() < 2000
        return onnx.shape_inference.infer_shapes(proto, strict_mode=True, data_prop=True)

    inferred = through_onnx(model, infer)
    assert seen == ["shape"]
    assert ir.to_proto(model) == before
    assert [value.name for value in inferred.graph.inputs] == ["x"]
    assert sorted(inferred.graph.initializers) == ["shape", "w", "w2"]
    assert inferred.graph.outputs[0].shape == ir.Shape([1, 2048])
    np.testing.assert_array_equal(
        _run(open_in_onnxruntime(onnxruntime, inferred)), _run(open_in_onnxruntime(onnxruntime, model))
    )


def test_a_graph_is_as_it_was_where_onnx_fails() -> None:
    model = _graph()
    before = ir.to_proto(model)

    def fail(_proto: onnx.ModelProto) -> onnx.ModelProto:
        msg = "no"
        raise RuntimeError(msg)

    with pytest.raises(RuntimeError, match="no"):
        through_onnx(model, fail)
    assert ir.to_proto(model) == before
