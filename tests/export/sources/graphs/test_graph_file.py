from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import helper, numpy_helper, parser

from s2tf_edge.calibration import onnx_files
from s2tf_edge.errors import InputFileError
from s2tf_edge.export import ExportOptions, export
from s2tf_edge.export.sources.graphs import graph_file
from s2tf_edge.export.sources.graphs.graph_file import files_of_graph, read_graph_file

_RTX = pytest.param("trt-rtx", marks=pytest.mark.needs_rtx)


def _model() -> onnx.ModelProto:
    model = parser.parse_model("""
        <ir_version: 8, opset_import: ["": 18]> net (float[1,3,4,8,8] x) => (float[1,12,4,8,8] y)
        { c = Conv <pads = [0,1,1,0,1,1]> (x, w) k = Constant <value_float = 2.0> () y = Mul (c, k) }""")
    weights = np.random.default_rng(0).normal(size=(12, 3, 1, 3, 3)).astype(np.float32)
    model.graph.initializer.append(numpy_helper.from_array(weights, "w"))
    return model


def _save_apart(path: Path) -> onnx.ModelProto:
    onnx.save(_model(), path, save_as_external_data=True, location="w.bin", size_threshold=0)
    return onnx.load(path, load_external_data=False)


def test_weights_are_no_inputs_and_no_nodes(tmp_path: Path) -> None:
    model = _model()
    model.graph.input.append(helper.make_tensor_value_info("w", 1, [12, 3, 1, 3, 3]))
    onnx.save(model, tmp_path / "net.onnx")
    file = read_graph_file(tmp_path / "net.onnx")
    assert [value.name for value in file.model.graph.inputs] == ["x"]
    assert sorted(file.model.graph.initializers) == ["k", "w"]
    assert [node.op_type for node in file.model.graph] == ["Conv", "Mul"]
    assert file.runs_as_it_is


def test_the_files_of_a_graph(tmp_path: Path) -> None:
    _save_apart(tmp_path / "net.onnx")
    assert files_of_graph(tmp_path / "net.onnx") == [tmp_path / "net.onnx", tmp_path / "w.bin"]
    onnx.save(_model(), tmp_path / "whole.onnx")
    assert files_of_graph(tmp_path / "whole.onnx") == [tmp_path / "whole.onnx"]
    (tmp_path / "broken.onnx").write_bytes(b"no graph")
    assert files_of_graph(tmp_path / "broken.onnx") == [tmp_path / "broken.onnx"]


def test_nodes_of_one_name_get_names_of_their_own(tmp_path: Path) -> None:
    """ONNX Runtime refuses the file as it came."""
    model = _model()
    for node in model.graph.node:
        node.name = "node"
    onnx.save(model, tmp_path / "net.onnx")
    file = read_graph_file(tmp_path / "net.onnx")
    assert [node.name for node in file.model.graph] == ["node", "node_1"]
    assert not file.runs_as_it_is


@pytest.mark.parametrize(
    "break_rule",
    [
        pytest.param(lambda model: setattr(model, "ir_version", 3), id="ir-3"),
        pytest.param(lambda model: model.graph.output[0].type.tensor_type.ClearField("shape"), id="no-shape"),
    ],
)
def test_rules_that_nothing_hangs_on_are_kept_for_the_file(
    break_rule: Callable[[onnx.ModelProto], None], tmp_path: Path
) -> None:
    model = _model()
    break_rule(model)
    onnx.save(model, tmp_path / "net.onnx")
    with pytest.raises(onnx.checker.ValidationError, match=r"initializer|shape"):
        onnx.checker.check_model(tmp_path / "net.onnx")
    file = read_graph_file(tmp_path / "net.onnx")
    assert not file.runs_as_it_is
    assert file.model.graph.outputs[0].shape == ir.Shape([1, 12, 4, 8, 8])


def test_a_file_that_no_message_holds_is_told(tmp_path: Path) -> None:
    """Sparse, and so of no weight on the disk."""
    path = tmp_path / "huge.onnx"
    path.touch()
    os.truncate(path, 2**31)
    with pytest.raises(InputFileError, match=r"huge\.onnx is one file of 2147483648 bytes, .* \(external data\)"):
        read_graph_file(path)


def test_sparse_weights_are_refused(tmp_path: Path) -> None:
    model = _model()
    values = numpy_helper.from_array(np.ones(1, np.float32), "s")
    indices = numpy_helper.from_array(np.zeros(1, np.int64), "i")
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [4]))
    onnx.save(model, tmp_path / "net.onnx")
    with pytest.raises(InputFileError, match="its weights are sparse tensors, which are not read here"):
        read_graph_file(tmp_path / "net.onnx")


@pytest.mark.parametrize(("limit", "kind"), [(2**20, ir.Tensor), (0, ir.ExternalTensor)])
def test_weights_beside_the_file_stay_there_where_they_are_too_large(
    limit: int, kind: type[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _save_apart(tmp_path / "net.onnx")
    monkeypatch.setattr(graph_file, "SINGLE_FILE_BYTES", limit)
    # A path without a folder too.
    monkeypatch.chdir(tmp_path)
    weight = read_graph_file(Path("net.onnx")).model.graph.initializers["w"].const_value
    assert isinstance(weight, kind)
    assert weight is not None
    np.testing.assert_array_equal(weight.numpy(), numpy_helper.to_array(_model().graph.initializer[0]))


@pytest.mark.parametrize(
    ("key", "value"), [("length", "400"), ("length", "900000"), ("offset", "16"), ("offset", str(2**40))]
)
def test_weights_that_their_file_does_not_hold_are_told(key: str, value: str, tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    model = _save_apart(path)
    for entry in model.graph.initializer[0].external_data:
        if entry.key == key:
            entry.value = value
    onnx.save(model, path)
    with pytest.raises(InputFileError, match=r"weight w of 1296 bytes is said to lie at bytes \d+ to \d+ of w\.bin"):
        read_graph_file(path)


@pytest.mark.parametrize("target", ["onnx", "openvino", _RTX])
def test_a_large_graph_takes_the_way_of_large_graphs(
    target: str, tmp_path: Path, plain: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that asks for a graph's size is told that one file holds nothing."""
    path = tmp_path / "large.onnx"
    onnx.save(onnx.load(plain), path, save_as_external_data=True, location="large.bin", size_threshold=0)
    for module in (onnx_files, graph_file):
        monkeypatch.setattr(module, "SINGLE_FILE_BYTES", 0)
    options = ExportOptions(target=target, meta=plain.with_suffix(".json"), out=tmp_path / "out")
    result = export(path, options)
    assert result.verification is not None
    assert result.verification.passed
    assert ("model.onnx.data" in result.meta.files) is (target != "openvino")


@pytest.mark.slow
def test_a_graph_of_more_than_two_gib(tmp_path: Path, plain: Path) -> None:
    model = onnx.load(plain)
    (output,) = model.graph.output
    last = model.graph.node[-1]
    last.output[0] = "small"
    big = model.graph.initializer.add(name="big", data_type=1, dims=[588_800, 1024], data_location=1)
    for key, value in {"location": "big.bin", "offset": "0", "length": str(588_800 * 4096)}.items():
        big.external_data.add(key=key, value=value)
    model.graph.node.append(helper.make_node("ReduceMax", ["big"], ["top"], keepdims=0))
    model.graph.node.append(helper.make_node("Add", ["small", "top"], [output.name]))
    onnx.save(model, tmp_path / "big.onnx")
    (tmp_path / "big.bin").touch()
    os.truncate(tmp_path / "big.bin", 588_800 * 4096)
    options = ExportOptions(target="onnx", meta=plain.with_suffix(".json"), out=tmp_path / "out")
    result = export(tmp_path / "big.onnx", options)
    assert result.verification is not None
    assert result.verification.passed
    assert (tmp_path / "out" / "model.onnx.data").stat().st_size > 2**31
