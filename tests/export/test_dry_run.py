"""What a dry run accepts, the run does not refuse for a reason that could be known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
import pytest
from onnx import numpy_helper, parser

from s2tf_edge.errors import S2TFError, UnsupportedError, UsageError
from s2tf_edge.export import ExportOptions, check_plan, plan_export, run_plan
from s2tf_edge.export.pipeline import ExportResult
from s2tf_edge.runtime.artifact import sha256

_RTX: Final = pytest.param("trt-rtx", marks=pytest.mark.needs_rtx)
_ANY: Final = pytest.mark.parametrize("target", ["onnx", "openvino", _RTX])


def _network(plain: Path, folder: Path, nodes: str, **constants: Any) -> Path:
    """Such as ``plain``, with ``nodes`` from ``r`` [n, 8, 4, 8, 8] to ``h``; its clip file beside it."""
    model = parser.parse_model(f"""
        <ir_version: 8, opset_import: ["": 18, "com.example": 1]>
        net (float[n,3,4,16,16] x) => (float[n,5] y) {{
          ["stem/Conv"] c = Conv <pads = [0, 1, 1, 0, 1, 1], strides = [1, 2, 2]> (x, w)
          r = Relu (c) {nodes} p = GlobalAveragePool (h) f = Flatten (p) ["head/Gemm"] y = Gemm (f, fc)
        }}""")
    model.graph.initializer.extend(onnx.load(plain).graph.initializer)
    model.graph.initializer.extend(numpy_helper.from_array(np.asarray(each), name) for name, each in constants.items())
    onnx.save(model, folder / "net.onnx")
    (folder / "net.json").write_bytes(plain.with_suffix(".json").read_bytes())
    return folder / "net.onnx"


def _options(path: Path, target: str, **options: Any) -> ExportOptions:
    return ExportOptions(target=target, meta=path.with_suffix(".json"), **options)


def _refuse_both(path: Path, options: ExportOptions, kind: type[S2TFError], match: str) -> None:
    """Dry and in earnest, in the same words; nothing is written."""
    before = {each.name: sha256(each) for each in path.parent.iterdir()}
    with pytest.raises(kind, match=match) as dry:
        check_plan(plan_export(path, options))
    with pytest.raises(kind) as earnest:
        run_plan(plan_export(path, options))
    assert str(dry.value) == str(earnest.value)
    assert {each.name: sha256(each) for each in path.parent.iterdir()} == before


@_ANY
def test_a_graph_of_a_fixed_batch(target: str, plain: Path, tmp_path: Path) -> None:
    path = _network(plain, tmp_path, "h = Reshape (r, shape)", shape=[1, 8, 4, 8, 8])
    for options in ({"dynamic_batch": True}, {"batch": 2}):
        message = r"is fixed to its own number of clips at once and cannot take (any number|2) "
        _refuse_both(path, _options(path, target, **options), UsageError, message)
    check_plan(plan_export(path, _options(path, target)))


@_ANY
def test_an_operator_that_nobody_has(target: str, plain: Path, tmp_path: Path) -> None:
    path = _network(plain, tmp_path, '["gate/Strange"] h = com.example.Strange (r)')
    options = _options(path, target, verify=False)
    _refuse_both(path, options, UnsupportedError, r"gate/Strange.* of module gate")


@pytest.mark.needs_rtx
@pytest.mark.parametrize("options", [{}, {"defer_build": True}])
def test_an_operator_that_the_table_refuses(options: dict[str, Any], plain: Path, tmp_path: Path) -> None:
    path = _network(plain, tmp_path, "h = MaxPool <kernel_shape = [1, 2, 2], dilations = [1, 2, 2]> (r)")
    _refuse_both(path, _options(path, "trt-rtx", **options), UnsupportedError, "it has no pools with dilations")
    check_plan(plan_export(path, _options(path, "openvino")))


@pytest.mark.needs_rtx
@pytest.mark.parametrize("target", ["trt", "trt-rtx"])
def test_an_operator_that_the_parser_refuses(target: str, plain: Path, tmp_path: Path) -> None:
    path = _network(plain, tmp_path, '["gate/Unique"] u = Unique (r) s = ReduceSum <keepdims = 0> (u) h = Add (r, s)')
    message = r"TensorRT-RTX .* node gate/Unique .*no such operator"
    _refuse_both(path, _options(path, target, defer_build=True), UnsupportedError, message)


def test_an_opset_that_cannot_be_reached(plain: Path, tmp_path: Path) -> None:
    path = _network(plain, tmp_path, "h = com.example.Twice (r)")
    model = onnx.load(path)
    body = '<domain: "com.example", opset_import: ["": 18]> Twice (a) => (b) { b = Add (a, a) }'
    model.functions.append(parser.parse_function(body))
    onnx.save(model, path)
    options = _options(path, "onnx", custom_ops="keep", opset=20)
    _refuse_both(path, options, UsageError, r"`custom_ops='keep'` ships bodies of opset 18, got `opset=20`")


@pytest.mark.parametrize(
    ("exclude", "message"),
    [
        ("neck", r"`exclude` 'neck' matches none of the 2 layers, such as stem/Conv, head/Gemm"),
        ("e", r"`exclude` matches all 2 layers that could become integer"),
    ],
)
def test_layers_to_exclude_that_are_not_there_or_all_there_are(
    exclude: str, message: str, plain: Path, tmp_path: Path
) -> None:
    path = _network(plain, tmp_path, "h = Neg (r)")
    options = _options(path, "openvino", precision="int8", calib="synthetic?clips=2", calib_clips=2, exclude=(exclude,))
    _refuse_both(path, options, UsageError, message)


def test_a_network_of_which_nothing_can_become_integer(plain: Path, tmp_path: Path) -> None:
    model = parser.parse_model("""
        <ir_version: 8, opset_import: ["": 18]>
        net (float[n,3,4,16,16] x) => (float[n,5] y) <int64[5] five = {0, 1, 2, 0, 1}> {
          p = GlobalAveragePool (x) f = Flatten (p) y = Gather <axis = 1> (f, five)
        }""")
    onnx.save(model, tmp_path / "net.onnx")
    (tmp_path / "net.json").write_bytes(plain.with_suffix(".json").read_bytes())
    path = tmp_path / "net.onnx"
    options = _options(path, "openvino", precision="int8", calib="synthetic?clips=2", calib_clips=2)
    _refuse_both(path, options, UnsupportedError, "the graph has no convolution or matrix product to quantize; export")


def test_a_mask_that_is_not_there(plain: Path) -> None:
    options = _options(plain, "onnx", mask=True)
    with pytest.raises(UsageError, match="has no saliency mask to put out"):
        check_plan(plan_export(plain, options))


def test_a_network_that_its_own_runtime_does_not_open(plain: Path, tmp_path: Path) -> None:
    """There is nothing to compare an artifact with then."""
    nodes = '["up/Resize"] h = Resize <mode = "cubic"> (r, , scales)'
    path = _network(plain, tmp_path, nodes, scales=np.array([1, 1, 1, 2, 2], np.float32))
    with pytest.raises(S2TFError, match=r"[cC]ubic"):
        check_plan(plan_export(path, _options(path, "openvino")))


def test_one_precision_that_would_do_is_enough_for_auto(plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def lower(plan: Any, path: Path) -> None:
        asked.append(plan.precision)
        if plan.precision == "fp16":
            msg = "no half precision"
            raise UnsupportedError(msg)
        path.write_bytes(plain.read_bytes())

    monkeypatch.setattr("s2tf_edge.export.pipeline._lower", lower)
    check_plan(plan_export(plain, _options(plain, "openvino", precision="auto")))
    assert asked == ["fp16", "fp32"]
    with pytest.raises(UnsupportedError, match="no half precision"):
        check_plan(plan_export(plain, _options(plain, "openvino", precision="fp16")))


@pytest.mark.parametrize("target", ["onnx", "openvino", "trt", _RTX])
def test_what_is_accepted_writes_nothing(target: str, plain: Path, tmp_path: Path) -> None:
    before = {each.name: sha256(each) for each in plain.parent.iterdir()}
    check_plan(plan_export(plain, _options(plain, target, out=tmp_path / "a", defer_build=target == "trt")))
    assert not list(tmp_path.iterdir())
    assert {each.name: sha256(each) for each in plain.parent.iterdir()} == before


def test_an_engine_to_be_built_from_its_graph_is_planned_only(
    export_plain: Callable[..., ExportResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = export_plain("trt-rtx", defer_build=True).folder
    monkeypatch.setattr("s2tf_edge.export.rebuild.find_builder", lambda target: target)
    check_plan(plan_export(folder, ExportOptions(target="trt-rtx")))
    assert (folder / "build.sh").is_file()
