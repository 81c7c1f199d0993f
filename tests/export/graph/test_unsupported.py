"""What a user reads when a target refuses an operator: the compilers' own refusals, got by exporting."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper, parser

from s2tf_edge.errors import UnsupportedError
from s2tf_edge.export import ExportOptions, export
from s2tf_edge.export.graph.unsupported import unsupported_operators

STRANGE = '["layer1.0/Strange"] h = com.example.Strange (r)'
ATANH = "u = Cast <to = 11> (r) {name} v = Atanh (u) h = Cast <to = 1> (v)"
"""ONNX Runtime's CPU knows Atanh of float32, and not of float64."""
DET = """axes = Constant <value_ints = [3, 4]> () ["gate.1/Det"] d = Det (r) e = Unsqueeze (d, axes) h = Add (r, e)"""
DILATED = '["gate.1/Pool"] h = MaxPool <kernel_shape = [1, 2, 2], dilations = [1, 2, 2]> (r)'


@pytest.fixture
def meta(tmp_path: Path) -> Path:
    path = tmp_path / "clips.json"
    values = {"frames": 4, "crop": 16, "mean": [0.5] * 3, "std": [0.5] * 3, "labels": list("abcde")}
    path.write_text(json.dumps(values), encoding="utf-8")
    return path


def _network(folder: Path, nodes: str, *, functions: str = "") -> Path:
    """Writes a small 3D ConvNet with ``nodes``, from ``r`` [1, 4, 4, 8, 8] to ``h``, before its pooling."""
    model = parser.parse_model(f"""
        <ir_version: 10, opset_import: ["": 20, "com.example": 1]>
        net (float[1,3,4,16,16] x) => (float[1,5] y) {{
          ["stem/Conv"] c = Conv <pads = [0, 1, 1, 0, 1, 1], strides = [1, 2, 2]> (x, w)
          ["stem/Relu"] r = Relu (c)
          {nodes}
          p = GlobalAveragePool (h)
          f = Flatten (p)
          y = Gemm (f, fc)
        }}
        {functions}""")
    random = np.random.default_rng(0)
    for name, shape in (("w", (4, 3, 1, 3, 3)), ("fc", (4, 5))):
        model.graph.initializer.append(numpy_helper.from_array(random.normal(size=shape).astype(np.float32), name))
    path = folder / "net é.onnx"
    onnx.save(model, path)
    return path


def _refuses(path: Path, meta: Path, *, target: str, match: str, verify: bool = True) -> None:
    before = set(path.parent.iterdir())
    with pytest.raises(UnsupportedError, match=match) as caught:
        export(path, ExportOptions(target=target, precision="fp32", meta=meta, verify=verify))
    assert caught.value.exit_code == 3
    assert "\n" not in str(caught.value)
    assert set(path.parent.iterdir()) == before


@pytest.mark.parametrize("verify", [True, False])
@pytest.mark.parametrize(
    ("target", "compiler"),
    [
        ("onnx", "ONNX Runtime"),
        ("openvino", "OpenVINO"),
        pytest.param("trt-rtx", "TensorRT-RTX", marks=pytest.mark.needs_rtx),
    ],
)
def test_an_operator_of_an_unknown_domain(target: str, compiler: str, verify: bool, tmp_path: Path, meta: Path) -> None:
    match = rf"^{compiler} .*layer1\.0/Strange.* of module layer1\.0,? .*float32 \[1, 4, 4, 8, 8\].*; "
    _refuses(_network(tmp_path, STRANGE), meta, target=target, match=match, verify=verify)


@pytest.mark.parametrize(
    ("target", "nodes", "match"),
    [
        pytest.param("onnx", ATANH.format(name='["gate.1/Atanh"]'), r"Runtime .*gate\.1/Atanh.*float64", id="onnx"),
        pytest.param("openvino", DET, r"OpenVINO .*gate\.1/Det.*float32", id="openvino"),
        pytest.param(
            "trt-rtx", DILATED, r"TensorRT-RTX .*gate\.1/Pool.*float32", id="trt-rtx", marks=pytest.mark.needs_rtx
        ),
    ],
)
def test_a_standard_operator_that_the_target_refuses(
    target: str, nodes: str, match: str, tmp_path: Path, meta: Path
) -> None:
    match = match.replace(".*float", r".* of module gate\.1,? .*float")
    _refuses(_network(tmp_path, nodes), meta, target=target, match=rf"{match} \[1, 4, 4, 8, 8\].*; ")


@pytest.mark.parametrize(("count", "more"), [(1, ", which"), (2, " and 1 more node;"), (3, " and 2 more nodes;")])
def test_the_first_is_named_and_the_others_counted(count: int, more: str, tmp_path: Path, meta: Path) -> None:
    names = ["r", *(f"s{index}" for index in range(1, count)), "h"]
    nodes = "".join(
        f'["layer{index}/Strange"] {names[index + 1]} = com.example.Strange ({names[index]})' for index in range(count)
    )
    match = rf"has no operator for com\.example::Strange 'layer0/Strange' of module layer0.*{more}"
    for target in ("onnx", "openvino"):
        _refuses(_network(tmp_path, nodes), meta, target=target, match=match)


def test_a_node_without_a_name_has_a_number_and_no_module(tmp_path: Path, meta: Path) -> None:
    match = r"for com\.example::Strange 'Strange_1', which takes float32 \[1, 4, 4, 8, 8\];"
    for target in ("onnx", "openvino"):
        _refuses(_network(tmp_path, "h = com.example.Strange (r)"), meta, target=target, match=match)


def test_a_node_in_a_branch_is_found(tmp_path: Path, meta: Path) -> None:
    branches = """yes = Constant <value = bool {1}> ()
        ["either/If"] h = If (yes) <
          then_branch = one () => (float[1,4,4,8,8] a) { ["either.one/Strange"] a = com.example.Strange (r) },
          else_branch = other () => (float[1,4,4,8,8] b) { b = Neg (r) }>"""
    for target in ("onnx", "openvino"):
        match = r"'either\.one/Strange' of module either\.one, which takes float32 \[1, 4, 4, 8, 8\]; replace"
        _refuses(_network(tmp_path, branches), meta, target=target, match=match)


def test_a_body_that_the_target_cannot_run_is_found_by_its_call(tmp_path: Path, meta: Path) -> None:
    body = ATANH.format(name='["inner/Atanh"]')
    functions = f"""<domain: "com.example", opset_import: ["": 20]> Strange (r) => (h) {{ {body} }}"""
    match = (
        r"not take com\.example::Strange 'layer1\.0/Strange' of module layer1\.0, .*: Could not find .* for Atanh\(9\);"
    )
    _refuses(_network(tmp_path, STRANGE, functions=functions), meta, target="onnx", match=match)


def test_words_that_name_no_node_are_passed_on(tmp_path: Path) -> None:
    path = _network(tmp_path, "h = Neg (r)")
    message = "Exception from core.cpp:84:\n\nCheck 'false' failed: no memory for Conv and stem/Relu\n\n"
    assert str(unsupported_operators(path, "OpenVINO", message=message)) == (
        "OpenVINO cannot run this network: Check 'false' failed: no memory for Conv and stem/Relu"
    )
    assert (
        str(unsupported_operators(path, "OpenVINO", message=""))
        == "OpenVINO cannot run this network: it gave no reason"
    )


def test_an_operator_is_not_found_in_the_name_of_another(tmp_path: Path) -> None:
    path = _network(tmp_path, "h = Relu (r)")
    message = "-- No conversion rule found for operations: ThresholdedRelu-20, com.example.Relu, Gemm-19"
    assert "cannot run this network" in str(unsupported_operators(path, "OpenVINO", message=message))
    message += ", Relu-20"
    assert "no operator for Relu 'stem/Relu' of module stem" in str(
        unsupported_operators(path, "OpenVINO", message=message)
    )


def test_a_node_that_is_named_is_meant_and_not_what_feeds_it(tmp_path: Path) -> None:
    """As OpenVINO says it while it compiles."""
    path = _network(tmp_path, '["gate/Cast"] h = Neg (r)')
    message = """Unsupported operation of type: Negative name: gate/Cast
        not implemented for op: opset1::Negative gate/Cast (opset1::Relu stem/Relu[0]:f32[1,4,4,8,8]) -> (f32)"""
    error = str(unsupported_operators(path, "OpenVINO", message=message))
    assert "not take Neg 'gate/Cast' of module gate, which takes float32 [1, 4, 4, 8, 8]: not implemented" in error
