"""Asks the compilers about every row of the table, one small graph for each operator."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import onnx
import onnx.inliner
import onnx.parser
import onnx.reference
import onnx_ir as ir
import onnxruntime
import pytest
from numpy.typing import NDArray

from s2tf_edge.errors import BuildError, UnsupportedError
from s2tf_edge.export.graph.capabilities import (
    CAPABILITIES,
    Refusal,
    Rewrite,
    capability_of,
    check_supported,
    count_rewritable,
    rewrites_for,
)
from s2tf_edge.export.passes.floats.float16 import Float16
from s2tf_edge.export.targets.registry import COMPILERS, TARGETS
from s2tf_edge.export.targets.tensorrt_engine import EngineOptions, build_engine
from s2tf_edge.export.targets.tensorrt_graph import parse_graph
from s2tf_edge.runtime.backends.telemetry import require_without_telemetry
from s2tf_edge.runtime.backends.tensorrt_library import EngineLog, load_tensorrt

needs_rtx = pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_rtx_bindings") is None, reason="TensorRT-RTX is not installed"
)
Floats = NDArray[np.float32]


class Key(NamedTuple):
    operator: str
    case: str = ""


ROWS: Final = {Key(name, row.case): row for row in CAPABILITIES for name in row.operators}
REFERENCE, BY_ITSELF, CEIL, DILATIONS, POSITIONS, SIZED, BOTH, CUBIC, ASPECT, RARE, BACKWARDS, WRAP = (
    row.case for row in CAPABILITIES if row.case
)
_X: Final = "float[{batch}, 4, 5, 7, 9] x"
_WEIGHTS: Final = "s = Constant <value_ints = [{shape}]> () w = ConstantOfShape <value = float[1] {{0.1}}> (s)"
_CHANNELS: Final = "c = Constant <value_floats = [0.5, 1.0, 2.0, 3.0]> ()"
_AXES: Final = "a = Constant <value_ints = [2, 3, 4]> ()"
_HALF: Final = "h = Constant <value = float {0.5}> ()"
_HEADS: Final = "s = Constant <value_ints = [0, 2, 10, 63]> () z = Reshape (x, s)"
_TWICE: Final = "p = Constant <value_floats = [1.0, 1.0, 2.0, 2.0, 2.0]> ()"
_POOL: Final = "<kernel_shape = [2, 3, 3], strides = [2, 2, 2], pads = [0, 1, 1, 0, 1, 1]{more}>"

NODES: Final[dict[Key, str]] = {
    Key("Conv"): _WEIGHTS.format(shape="4, 2, 3, 3, 3")
    + "y = Conv <strides = [2, 2, 2], pads = [1, 1, 1, 1, 1, 1], group = 2> (x, w)",
    Key("ConvTranspose"): _WEIGHTS.format(shape="4, 2, 1, 2, 2") + "y = ConvTranspose <strides = [1, 2, 2]> (x, w)",
    Key("Gemm"): "f = Flatten <axis = 2> (x) y = Gemm <transB = 1> (f, f)",
    Key("MatMul"): "t = Transpose <perm = [0, 1, 2, 4, 3]> (x) y = MatMul (x, t)",
    Key("AveragePool"): f"y = AveragePool {_POOL.format(more=', count_include_pad = 0')} (x)",
    Key("LpPool"): "y = LpPool <kernel_shape = [2, 2, 2], strides = [1, 2, 2]> (x)",
    Key("MaxPool"): f"y = MaxPool {_POOL.format(more='')} (x)",
    Key("Einsum"): 'y = Einsum <equation = "nctpg,ncqpg->nctq"> (x, x)',
    Key("Attention"): f"{_HEADS} y = Attention (z, z, z)",
    Key("Softmax"): "y = Softmax <axis = 1> (x)",
    Key("LogSoftmax"): "y = LogSoftmax <axis = 1> (x)",
    Key("Clip"): f"{_HALF} y = Clip (x, , h)",
    Key("PRelu"): f"{_HALF} y = PRelu (x, h)",
    Key("BatchNormalization"): f"{_CHANNELS} y = BatchNormalization (x, c, c, c, c)",
    Key("InstanceNormalization"): f"{_CHANNELS} y = InstanceNormalization (x, c, c)",
    Key("GroupNormalization"): f"{_CHANNELS} y = GroupNormalization <num_groups = 2> (x, c, c)",
    Key("LayerNormalization"): "f = Transpose <perm = [0, 2, 3, 4, 1]> (x)"
    f"{_CHANNELS} y = LayerNormalization (f, c, c)",
    Key("RMSNormalization"): f"f = Transpose <perm = [0, 2, 3, 4, 1]> (x) {_CHANNELS} y = RMSNormalization (f, c)",
    Key("LpNormalization"): "y = LpNormalization <axis = 1> (x)",
    Key("MeanVarianceNormalization"): "y = MeanVarianceNormalization <axes = [2, 3, 4]> (x)",
    Key("Sqrt"): "p = Abs (x) y = Sqrt (p)",
    Key("Pow"): "p = Abs (x) e = Constant <value = float {1.5}> () y = Pow (p, e)",
    Key("Where"): f"{_HALF} b = Greater (x, h) y = Where (b, x, h)",
    Key("Cast"): "i = Cast <to = 6> (x) y = Cast <to = 1> (i)",
    Key("Concat"): "y = Concat <axis = 2> (x, x)",
    Key("Expand"): "s = Constant <value_ints = [2, 4, 5, 7, 9]> () y = Expand (x, s)",
    Key("Flatten"): "y = Flatten <axis = 2> (x)",
    Key("Gather"): "i = Constant <value_ints = [0, 2, 4]> () y = Gather <axis = 2> (x, i)",
    Key("Pad"): 'p = Constant <value_ints = [0, 0, 0, 1, 1, 0, 0, 1, 1, 1]> () y = Pad <mode = "edge"> (x, p)',
    Key("Reshape"): "s = Constant <value_ints = [0, 2, -1, 7, 9]> () y = Reshape (x, s)",
    Key("Resize"): 'p = Constant <value_floats = [1.0, 1.0, 2.0, 2.0, 2.0]> () y = Resize <mode = "linear"> (x, , p)',
    Key("Shape"): "s = Shape <start = 0, end = 2> (x) m = Constant <value_ints = [-1]> ()"
    "t = Concat <axis = 0> (s, m) y = Reshape (x, t)",
    Key("Slice"): "b = Constant <value_ints = [0]> () e = Constant <value_ints = [99]> ()"
    "t = Constant <value_ints = [2]> () y = Slice (x, b, e, t, t)",
    Key("Split"): "s = Constant <value_ints = [1, 3]> () o, y = Split <axis = 1> (x, s)",
    Key("Squeeze"): "a = Constant <value_ints = [0]> () y = Squeeze (x, a)",
    Key("Unsqueeze"): "a = Constant <value_ints = [0]> () y = Unsqueeze (x, a)",
    Key("Tile"): "s = Constant <value_ints = [1, 2, 1, 1, 1]> () y = Tile (x, s)",
    Key("Transpose"): "y = Transpose <perm = [0, 2, 1, 3, 4]> (x)",
    Key("CumSum"): "a = Constant <value_int = 2> () y = CumSum (x, a)",
    Key("TopK"): "k = Constant <value_ints = [2]> () y, i = TopK <axis = 2> (x, k)",
    **{Key(name): f"{_AXES} y = {name} (x, a)" for name in ("ReduceL2", "ReduceMax", "ReduceMean", "ReduceSum")},
    **{Key(name): f"{_HALF} y = {name} (x, h)" for name in ("Add", "Div", "Max", "Mean", "Min", "Mul", "Sub", "Sum")},
    **{
        Key(name, DILATIONS): f"y = {name} <kernel_shape = [2, 2, 2], dilations = [1, 2, 2]> (x)"
        for name in ("AveragePool", "LpPool", "MaxPool")
    },
    Key("MaxPool", POSITIONS): "m, i = MaxPool <kernel_shape = [1, 2, 2]> (x) f = Cast <to = 1> (i) y = Add (m, f)",
    **{
        Key(name, CEIL): f"y = {name} <kernel_shape = [2, 3, 3], strides = [2, 2, 2], pads = [0, 1, 1, 0, 1, 1], "
        "ceil_mode = 1> (x)"
        for name in ("AveragePool", "LpPool", "MaxPool")
    },
    **{
        Key(
            name, BY_ITSELF
        ): f'y = {name} <kernel_shape = [2, 3, 3], dilations = [1, 2, 2], auto_pad = "SAME_UPPER"> (x)'
        for name in ("AveragePool", "LpPool", "MaxPool")
    },
    Key("Conv", BY_ITSELF): _WEIGHTS.format(shape="4, 4, 3, 3, 3")
    + 'y = Conv <dilations = [1, 2, 2], auto_pad = "SAME_UPPER"> (x, w)',
    Key("ConvTranspose", SIZED): _WEIGHTS.format(shape="4, 4, 3, 3, 3")
    + "y = ConvTranspose <strides = [1, 2, 2], output_shape = [6, 14, 18]> (x, w)",
    Key("ConvTranspose", BOTH): _WEIGHTS.format(shape="4, 4, 1, 3, 3")
    + "y = ConvTranspose <strides = [1, 2, 2], dilations = [1, 2, 2]> (x, w)",
    Key("Resize", CUBIC): f'{_TWICE} y = Resize <mode = "cubic"> (x, , p)',
    Key("Resize", ASPECT): "p = Constant <value_ints = [10, 15, 30]> ()"
    'y = Resize <axes = [2, 3, 4], keep_aspect_ratio_policy = "not_larger"> (x, , , p)',
    Key("Resize", RARE): f"{_TWICE} y = Resize "
    '<mode = "linear", coordinate_transformation_mode = "half_pixel_symmetric"> (x, , p)',
    Key(
        "Resize", BACKWARDS
    ): 'p = Constant <value_floats = [2.0]> () y = Resize <mode = "linear", axes = [-1]> (x, , p)',
    Key("Pad", WRAP): 'p = Constant <value_ints = [0, 0, 1, 0, 2, 0, 0, 1, 1, 0]> () y = Pad <mode = "wrap"> (x, p)',
    **{
        Key(name, REFERENCE): _WEIGHTS.format(shape="4, 4, 3, 3, 3") + "y = d.Body <strides = [1, 2, 2]> (x, w)"
        for name in ("Conv", "ConvTranspose")
    },
    **{
        Key(name, REFERENCE): f"{_HALF} y = d.Body <strides = [1, 2, 2]> (x, h)"
        for name in ("AveragePool", "LpPool", "MaxPool")
    },
}
"""What a graph of its own asks about; operators of one input and no attribute need none."""

_NO_REFERENCE: Final = {
    *(Key("GlobalLpPool"), Key("GlobalMaxPool"), Key("MaxPool", POSITIONS)),
    # It divides the last sums, takes an `output_shape` for the padding's, and has no negative axes.
    *(Key("LpPool", CEIL), Key("ConvTranspose", SIZED), Key("Resize", BACKWARDS)),
}
_OPSETS: Final = {
    Key("GroupNormalization"): 21,
    Key("RMSNormalization"): 23,
    **{Key("AveragePool", case): 19 for case in (DILATIONS, BY_ITSELF)},
    **{Key("Resize", case): 19 for case in (RARE, CUBIC)},
    Key("Pad", WRAP): 19,
}


@cache
def graph(key: Key, *, opset: int | None = None, batch: str = "1") -> onnx.ModelProto:
    """One operator between input ``x`` and output ``y``; nodes are named ``layer<index>/<operator>``."""
    nodes = NODES.get(key, f"y = {key.operator} (x)")
    opset = opset or _OPSETS.get(key, max(18, ROWS[key].since))
    body, domain = (_body(key, opset), ', "d": 1') if key.case == REFERENCE else ("", "")
    ends = f"({_X.format(batch=batch)}) => (float y)"
    text = f'<ir_version: 10, opset_import: ["": {opset}{domain}]> g {ends} {{ {nodes} }} {body}'
    proto = onnx.parser.parse_model(text)
    proto.graph.output[0].type.tensor_type.ClearField("shape")
    for index, node in enumerate(proto.graph.node):
        node.name = f"layer{index}/{node.op_type}"
    return onnx.shape_inference.infer_shapes(proto, strict_mode=True)


def _body(key: Key, opset: int) -> str:
    is_pool = "Pool" in key.operator
    kernel, operands = ("kernel_shape = [1, 2, 2], ", "(x)") if is_pool else ("", "(x, w)")
    node = f"y = {key.operator} <{kernel}strides: ints = @strides> {operands}"
    return f'<domain: "d", opset_import: ["": {opset}]> Body <strides> (x, w) => (y) {{ {node} }}'


def rewritten(key: Key, target: str, **options: Any) -> onnx.ModelProto:
    """The graph as a target gets it; options as for ``graph``."""
    model = ir.from_proto(graph(key, **options))
    for rewrite in rewrites_for(COMPILERS[target]).values():
        rewrite.make()(model)
    _check(model, target)
    return ir.to_proto(model)


def _check(model: ir.Model, target: str) -> None:
    check_supported(model, COMPILERS[target], targets=COMPILERS)


def clip() -> Floats:
    return np.random.default_rng(0).standard_normal((1, 4, 5, 7, 9)).astype(np.float32)


def run_onnx(proto: onnx.ModelProto) -> Floats:
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(["y"], {"x": clip()})[0])


@cache
def expected(key: Key) -> Floats:
    """What ONNX's own reference computes; ONNX Runtime, where that has it not or not for clips."""
    if key in _NO_REFERENCE:
        return run_onnx(graph(key))
    reference: Any = onnx.reference.ReferenceEvaluator(graph(key))
    return np.asarray(reference.run(["y"], {"x": clip()})[0])


def assert_close(got: Floats, wanted: Floats) -> None:
    np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-5 * max(1.0, float(np.ptp(wanted))))


def keys(
    target: str, *forms: type[Rewrite | Refusal | None], onnx: tuple[type[Rewrite | Refusal | None], ...] | None = None
) -> pytest.MarkDecorator:
    """Parametrizes ``key`` over rows that a target takes in one of the forms; None is natively.

    ``onnx``: forms that ONNX Runtime takes it in; any by default.
    """
    rows = {key: row for key, row in ROWS.items() if isinstance(row.forms.get(COMPILERS[target]), forms)}
    found = [key for key, row in rows.items() if onnx is None or isinstance(row.forms.get(COMPILERS["onnx"]), onnx)]
    return pytest.mark.parametrize("key", found, ids=lambda key: f"{key.operator} {key.case}".strip())


NATIVE: Final = type(None)


def test_every_row_has_a_graph() -> None:
    assert not set(NODES) - set(ROWS)
    assert len(ROWS) == sum(len(row.operators) for row in CAPABILITIES)
    assert {compiler for row in CAPABILITIES for compiler in row.forms} <= set(COMPILERS.values())


@pytest.mark.parametrize("key", ROWS)
def test_a_node_is_found_in_its_row(key: Key) -> None:
    model = ir.from_proto(graph(key))
    nodes = [node for part in (model.graph, *model.functions.values()) for node in part]
    rows = [capability_of(node) for node in nodes if node.op_type == key.operator]
    assert ROWS[key] in rows


@keys("onnx", NATIVE, Rewrite)
def test_onnx_runtime(key: Key) -> None:
    _skip_newer_opset(ROWS[key].since)
    assert_close(run_onnx(rewritten(key, "onnx")), expected(key))


def _skip_newer_opset(opset: int) -> None:
    """ONNX Runtime 1.23 ends with opset 23, and refuses files of a later one."""
    if opset > int(onnxruntime.__version__.split(".")[1]):
        pytest.skip(f"ONNX Runtime {onnxruntime.__version__} ends before opset {opset}")


@keys("openvino", NATIVE, Rewrite)
def test_openvino(key: Key) -> None:
    openvino: Any = require_without_telemetry("openvino", extra="export", purpose="this test")
    # Functions are inlined for OpenVINO, which takes none.
    proto = onnx.inliner.inline_local_functions(rewritten(key, "openvino"))
    core = openvino.Core()
    network = core.read_model(proto.SerializeToString())
    compiled = core.compile_model(network, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    assert_close(compiled({"x": clip()})["y"], expected(key))


@needs_rtx
@keys("trt-rtx", NATIVE, Rewrite)
def test_tensorrt_rtx(key: Key, tmp_path: Path) -> None:
    assert _parsed_shape(rewritten(key, "trt-rtx"), tmp_path) == expected(key).shape
    # Taken is what builds: in float16, and for any number of clips.
    model = ir.from_proto(rewritten(key, "trt-rtx", batch="N"))
    Float16()(model)
    onnx.save(ir.to_proto(model), tmp_path / "half.onnx")
    options = EngineOptions(profile=(1, 2, 4))
    facts = build_engine(tmp_path / "half.onnx", tmp_path / "half.engine", target=TARGETS["trt-rtx"], options=options)
    assert facts.size_bytes


def _parsed_shape(proto: onnx.ModelProto, folder: Path) -> tuple[int, ...]:
    """Of the output, as TensorRT-RTX understands the graph."""
    onnx.save(proto, folder / "model.onnx")
    library = load_tensorrt("trt-rtx", purpose="this test")
    log = EngineLog(library)
    flags = 1 << int(library.module.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    network = library.module.Builder(log.listener).create_network(flags)
    parser = parse_graph(library, network, folder / "model.onnx", log=log)
    shape = tuple(network.get_output(0).shape)
    del parser
    return shape


@pytest.mark.parametrize(
    ("key", "target", "opset"),
    [
        (key, target, opset)
        for key, row in ROWS.items()
        for target, compiler in COMPILERS.items()
        for opset in (18, 23, 24)
        if isinstance(row.forms.get(compiler), Rewrite) and opset >= _OPSETS.get(key, row.since)
    ],
)
def test_a_rewrite_computes_the_same(key: Key, target: str, opset: int) -> None:
    _skip_newer_opset(opset)
    proto = rewritten(key, target, opset=opset)
    onnx.checker.check_model(proto, full_check=True)
    assert not count_rewritable(ir.from_proto(proto), COMPILERS[target])
    assert_close(run_onnx(proto), expected(key))


@pytest.mark.parametrize(
    ("key", "target"),
    [
        (key, target)
        for key, row in ROWS.items()
        for target in ("trt", "trt-rtx")
        if isinstance(row.forms.get(COMPILERS[target]), Refusal)
    ],
)
def test_what_is_not_taken_is_refused_before_the_compiler_is_asked(key: Key, target: str) -> None:
    forms = {name: ROWS[key].forms.get(compiler) for name, compiler in COMPILERS.items()}
    taking = [name for name, form in forms.items() if not isinstance(form, Refusal)]
    advice = "replace it in the network" + (f", or export for {' or '.join(taking)}" if taking else "")
    if key.case == REFERENCE:
        advice = "write the function out with `custom_ops='inline'`"
    form = forms[target]
    assert isinstance(form, Refusal)
    message = rf"{COMPILERS[target].name} does not take {key.operator} .*: {re.escape(f'{form.why}; {advice}')}$"
    with pytest.raises(UnsupportedError, match=message):
        rewritten(key, target)


@needs_rtx
@keys("trt-rtx", Refusal, onnx=(NATIVE, Rewrite))
def test_what_the_table_refuses_the_compiler_does_not_take(key: Key, tmp_path: Path) -> None:
    if key.case == REFERENCE:
        # It is worse than refused: taken for a stride of 1.
        assert _parsed_shape(graph(key), tmp_path) != expected(key).shape
    elif key.case == BOTH:
        onnx.save(graph(key), tmp_path / "model.onnx")
        with pytest.raises(BuildError, match="Strided & Dilated Deconv"):
            build_engine(tmp_path / "model.onnx", tmp_path / "model.engine", target=TARGETS["trt-rtx"])
    else:
        with pytest.raises(UnsupportedError, match=rf"TensorRT-RTX .* does not take .*operator {key.operator}\)"):
            _parsed_shape(graph(key), tmp_path)


@keys("onnx", Refusal)
def test_what_is_refused_for_all_onnx_runtime_does_not_compute_as_onnx_says(key: Key) -> None:
    """If this fails, it has been mended, and artifacts can be compared with it."""
    (said,) = onnx.shape_inference.infer_shapes(graph(key), strict_mode=True).graph.output
    errors = onnxruntime.capi.onnxruntime_pybind11_state
    try:
        got = run_onnx(graph(key)).shape
    except (errors.Fail, errors.InvalidArgument, errors.RuntimeException):
        return
    assert got != tuple(side.dim_value for side in said.type.tensor_type.shape.dim)


@needs_rtx
def test_attention_crashes_the_compiler(tmp_path: Path) -> None:
    """If this fails, the compiler has been mended and may have the operator itself."""
    onnx.save(graph(Key("Attention")), tmp_path / "model.onnx")
    program = (
        "import sys; from pathlib import Path; from s2tf_edge.export.targets.registry import TARGETS;"
        "from s2tf_edge.export.targets.tensorrt_engine import build_engine;"
        "build_engine(Path(sys.argv[1]), Path(sys.argv[2]), target=TARGETS['trt-rtx'])"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "model.onnx"), str(tmp_path / "model.engine")]
    done = subprocess.run(command, capture_output=True, timeout=300, check=False)
    assert done.returncode < 0


def test_a_refusal_names_node_module_shapes_and_how_many_more() -> None:
    text = f"""<ir_version: 10, opset_import: ["": 18]> g ({_X.format(batch=1)}) => (float y) {{
        ["stages.1.pool/MaxPool"] a = MaxPool <kernel_shape = [1, 2, 2], dilations = [1, 2, 2]> (x)
        b = Relu (a) y = MaxPool <kernel_shape = [1, 2, 2], dilations = [1, 2, 2]> (b) }}"""
    model = ir.from_proto(onnx.parser.parse_model(text))
    with pytest.raises(
        UnsupportedError,
        match=r"^TensorRT-RTX does not take MaxPool 'stages\.1\.pool/MaxPool' of module stages\.1\.pool, which takes "
        r"float32 \[1, 4, 5, 7, 9\] and 1 more node: it has no pools with dilations; replace it in the network, or "
        r"export for onnx or openvino$",
    ):
        _check(model, "trt-rtx")
    _check(model, "openvino")


def test_attention_that_a_kept_body_holds_never_reaches_the_compiler() -> None:
    text = """<ir_version: 10, opset_import: ["": 23, "d": 1]> g (float[1, 2, 5, 6] x) => (float[1, 2, 5, 6] y) {
        y = d.Body (x) } <domain: "d", opset_import: ["": 23]> Body (x) => (y) { y = Attention (x, x, x) }"""
    model = ir.from_proto(onnx.parser.parse_model(text))
    for rewrite in rewrites_for(COMPILERS["trt-rtx"]).values():
        rewrite.make()(model)
    with pytest.raises(UnsupportedError, match=r"the compiler crashes on it; write the function out with `custom_ops"):
        _check(model, "trt-rtx")


@pytest.mark.parametrize("target", COMPILERS)
def test_an_older_opset_gets_definitions_of_newer_operators(target: str) -> None:
    newer = {key.operator for key, row in ROWS.items() if row.since > 18}
    assert newer == {"Attention", "Gelu", "Swish"}
    assert newer <= set(rewrites_for(COMPILERS[target], opset=18))
    if target == "onnx":
        assert set(rewrites_for(COMPILERS[target], opset=23)) == {"Swish"}
        assert not rewrites_for(COMPILERS[target])
