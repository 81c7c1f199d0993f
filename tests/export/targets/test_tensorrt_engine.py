"""Engines built for real with TensorRT-RTX, which needs no GPU, from small graphs."""

from __future__ import annotations

import json
import logging
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import FunctionProto, NodeProto, TensorProto, helper, numpy_helper

from s2tf_edge.errors import BuildError, InputFileError, MissingExtraError, UnsupportedError, UsageError
from s2tf_edge.export.targets.registry import TARGETS
from s2tf_edge.export.targets.tensorrt_engine import EngineFacts, EngineOptions, build_engine, trtexec_command
from s2tf_edge.export.targets.tensorrt_layers import LayerFact, engine_layers
from s2tf_edge.export.targets.tensorrt_options import _set_timing_cache
from s2tf_edge.runtime.backends.tensorrt_library import has_gpu, load_tensorrt

needs_rtx = pytest.mark.needs_rtx
PADS = [1] * 6
CLIP = (1, 3, 4, 16, 16)
OPSET = helper.make_opsetid("", 18)


def _weights(name: str, *shape: int, dtype: type = np.float32) -> TensorProto:
    return numpy_helper.from_array(np.random.default_rng(0).standard_normal(shape).astype(dtype), name)


def _scale(name: str, count: int | None = None) -> list[TensorProto]:
    """A scale and its zero point, for a whole tensor or by channel."""
    shape = () if count is None else (count,)
    scale, zero = np.full(shape, 0.02, np.float32), np.zeros(shape, np.int8)
    return [numpy_helper.from_array(scale, f"{name}_scale"), numpy_helper.from_array(zero, f"{name}_zero")]


def _conv(source: str = "clip", target: str = "logits") -> NodeProto:
    return helper.make_node("Conv", [source, "w"], [target], name="layer1/0/Conv", pads=PADS)


def _save(
    folder: Path,
    nodes: Sequence[NodeProto],
    *,
    weights: Sequence[TensorProto] = (),
    functions: Sequence[FunctionProto] = (),
    shape: Sequence[int | str] = CLIP,
    dtype: int = TensorProto.FLOAT,
) -> Path:
    clip = helper.make_tensor_value_info("clip", dtype, shape)
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "graph", [clip], [logits], weights)
    opsets = [OPSET, helper.make_opsetid("ai.s2tf", 1)]
    model = helper.make_model(graph, opset_imports=opsets, functions=functions, ir_version=10)
    path = folder / "model é.onnx"
    onnx.save(model, path)
    return path


def _build(graph: Path, **options: Any) -> EngineFacts:
    return build_engine(
        graph, graph.with_name("model.engine"), target=TARGETS["trt-rtx"], options=EngineOptions(**options)
    )


@pytest.fixture
def conv(tmp_path: Path) -> Path:
    return _save(tmp_path, [_conv()], weights=[_weights("w", 4, 3, 3, 3, 3)])


@pytest.fixture
def dynamic(tmp_path: Path) -> Path:
    return _save(tmp_path, [_conv()], weights=[_weights("w", 4, 3, 3, 3, 3)], shape=("batch", *CLIP[1:]))


@needs_rtx
def test_an_engine_is_a_file_of_its_own_with_its_facts(conv: Path) -> None:
    facts = _build(conv, workspace_gib=0.5)
    assert {path.name for path in conv.parent.iterdir()} == {"model.engine", "model é.onnx"}
    assert conv.with_name("model.engine").stat().st_size == facts.size_bytes > 10_000
    assert facts.version == load_tensorrt("trt-rtx", purpose="a test").version
    assert facts.obtained == {"Convolution": {"f32": 1}, "MatMul": {}}
    assert facts.layers == (LayerFact(name="layer1/0/Conv", kind="Convolution", output_type="f32"),)
    assert facts.applied == {"workspace_gib": 0.5, "tf32": False}
    assert facts.gpu == "any from compute capability 8.0"
    assert json.loads(json.dumps(facts.to_dict()))["layers"][0]["name"] == "layer1/0/Conv"
    assert json.loads(json.dumps(facts.built_with())) == facts.built_with()


@needs_rtx
@pytest.mark.skipif(has_gpu(), reason="there is a GPU")
def test_without_a_gpu_the_engine_is_not_looked_into_and_the_facts_say_so(conv: Path) -> None:
    facts = _build(conv)
    assert facts.engine_layers is None
    assert facts.inspector.startswith(f"TensorRT-RTX {facts.version} cannot look into an engine here: ")


@needs_rtx
def test_types_are_those_of_the_graph(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Cast", ["clip"], ["half"], to=TensorProto.FLOAT16),
        _conv("half", "maps"),
        helper.make_node("Cast", ["maps"], ["single"], to=TensorProto.FLOAT),
        helper.make_node("Softmax", ["single"], ["weights"], name="nl/Softmax", axis=-1),
        helper.make_node("Cast", ["weights"], ["half2"], to=TensorProto.FLOAT16),
        helper.make_node("Conv", ["half2", "w2"], ["maps2"], name="layer2/0/Conv"),
        helper.make_node("Cast", ["maps2"], ["single2"], to=TensorProto.FLOAT),
        helper.make_node("Conv", ["single2", "w3"], ["logits"], name="mask/Conv"),
    ]
    weights = [
        _weights("w", 4, 3, 3, 3, 3, dtype=np.float16),
        _weights("w2", 4, 4, 1, 1, 1, dtype=np.float16),
        _weights("w3", 2, 4, 1, 1, 1),
    ]
    facts = _build(_save(tmp_path, nodes, weights=weights))
    assert facts.obtained == {"Convolution": {"f16": 2, "f32": 1}, "MatMul": {}}
    assert LayerFact(name="nl/Softmax", kind="Softmax", output_type="f32") in facts.layers


@needs_rtx
def test_layers_between_quantized_tensors_count_as_integer(tmp_path: Path) -> None:
    def quantized(source: str, target: str) -> list[NodeProto]:
        scale = [f"{source}_scale", f"{source}_zero"]
        return [
            helper.make_node("QuantizeLinear", [source, *scale], [f"{source}_int"]),
            helper.make_node("DequantizeLinear", [f"{source}_int", *scale], [target]),
        ]

    nodes = [
        *quantized("clip", "clip_q"),
        helper.make_node("DequantizeLinear", ["w8", "w8_scale", "w8_zero"], ["w"], axis=0),
        _conv("clip_q", "maps"),
        helper.make_node("GlobalAveragePool", ["maps"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["rows"]),
        *quantized("rows", "rows_q"),
        helper.make_node("DequantizeLinear", ["fc8", "fc8_scale", "fc8_zero"], ["fc"], axis=0),
        helper.make_node("Gemm", ["rows_q", "fc"], ["hidden"], name="fc/Gemm", transB=1),
        helper.make_node("Gemm", ["hidden", "head"], ["logits"], name="head/Gemm"),
    ]
    weights = [
        numpy_helper.from_array(np.ones((8, 3, 3, 3, 3), np.int8), "w8"),
        numpy_helper.from_array(np.ones((6, 8), np.int8), "fc8"),
        _weights("head", 6, 5),
        *[
            tensor
            for name, count in (("clip", None), ("rows", None), ("w8", 8), ("fc8", 6))
            for tensor in _scale(name, count)
        ],
    ]
    facts = _build(_save(tmp_path, nodes, weights=weights))
    assert facts.obtained == {"Convolution": {"i8": 1}, "MatMul": {"i8": 1, "f32": 1}}


@needs_rtx
def test_bytes_go_in_and_three_dimensional_pools_of_odd_sizes_are_taken(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Cast", ["clip"], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["numbers"], ["maps"], perm=[0, 4, 1, 2, 3]),
        helper.make_node(
            "MaxPool", ["maps"], ["a"], kernel_shape=[1, 3, 3], strides=[1, 1, 1], pads=[0, 1, 1, 0, 1, 1]
        ),
        helper.make_node(
            "AveragePool", ["a"], ["logits"], kernel_shape=[2] * 3, strides=[2] * 3, ceil_mode=1, count_include_pad=0
        ),
    ]
    facts = _build(_save(tmp_path, nodes, shape=(1, 4, 15, 15, 3), dtype=TensorProto.UINT8))
    assert [layer.kind for layer in facts.layers] == ["Cast", "Shuffle", "Pooling", "Pooling"]


@needs_rtx
def test_nodes_with_bodies_are_taken_with_their_attributes(tmp_path: Path) -> None:
    inner = helper.make_node("Conv", ["x", "k"], ["y"], name="inner")
    inner.attribute.append(onnx.AttributeProto(name="pads", ref_attr_name="pads", type=onnx.AttributeProto.INTS))
    body = helper.make_function("ai.s2tf", "Mine", ["x", "k"], ["y"], [inner], [OPSET], ["pads"])
    nodes = [
        helper.make_node("Mine", ["clip", "w"], ["maps"], name="ssf.0/Mine", domain="ai.s2tf", pads=PADS),
        helper.make_node("Mine", ["maps", "w2"], ["logits"], name="ssf.1/Mine", domain="ai.s2tf", pads=[0] * 6),
    ]
    weights = [_weights("w", 4, 3, 3, 3, 3), _weights("w2", 4, 4, 3, 3, 3)]
    assert _build(_save(tmp_path, nodes, weights=weights, functions=[body])).obtained["Convolution"] == {"f32": 2}


@needs_rtx
def test_weights_may_lie_beside_the_graph(conv: Path) -> None:
    model = onnx.load(conv)
    onnx.save(model, conv, save_as_external_data=True, location="weights.bin", size_threshold=0)
    assert conv.with_name("weights.bin").stat().st_size >= 4 * 4 * 3 * 27
    assert _build(conv).obtained["Convolution"] == {"f32": 1}


@needs_rtx
def test_a_dynamic_batch_takes_a_profile(dynamic: Path) -> None:
    facts = _build(dynamic, profile=(1, 2, 4))
    assert facts.applied["profile"] == [1, 2, 4]
    assert dynamic.with_name("model.engine").stat().st_size == facts.size_bytes


@needs_rtx
def test_profile_and_dynamic_batch_go_together(conv: Path) -> None:
    with pytest.raises(UsageError, match=r"takes exactly 1 clips, got a profile \(1, 2, 4\); export with `dynamic_bat"):
        _build(conv, profile=(1, 2, 4))


@needs_rtx
def test_a_dynamic_batch_without_a_profile_is_refused(dynamic: Path) -> None:
    with pytest.raises(UsageError, match="input clip takes any number of clips; give a profile"):
        _build(dynamic)


@needs_rtx
def test_only_the_first_axis_may_be_dynamic(tmp_path: Path) -> None:
    graph = _save(tmp_path, [helper.make_node("Relu", ["clip"], ["logits"])], shape=(1, 3, "frames", 16, 16))
    with pytest.raises(UsageError, match=r"input clip has shape \[1, 3, -1, 16, 16\]; only the number of clips"):
        _build(graph)


@needs_rtx
@pytest.mark.parametrize(
    ("node", "words"),
    [
        (
            helper.make_node("Det", ["clip"], ["logits"], name="layer1/0/Det"),
            r"node layer1/0/Det \(operator Det\) of module layer1/0 with inputs float32 \[1, 3, 4, 16, 16\]: it has",
        ),
        (
            helper.make_node("Nope", ["clip"], ["logits"], name="layer1/0/Nope", domain="ai.s2tf"),
            r"node layer1/0/Nope \(operator Nope\) of module layer1/0 with inputs float32 .*: .*Plugin not found",
        ),
        (
            helper.make_node("Det", ["clip"], ["logits"]),
            r"node number 0 \(operator Det\) with inputs float32 \[1, 3, 4, 16, 16\]: it has no such operator; try",
        ),
    ],
)
def test_an_operator_that_is_not_taken_is_named(tmp_path: Path, node: NodeProto, words: str) -> None:
    graph = _save(tmp_path, [node])
    with pytest.raises(UnsupportedError, match=rf"^TensorRT-RTX [\d.]+ does not take {words}"):
        _build(graph)
    assert [path.name for path in tmp_path.iterdir()] == [graph.name]


@needs_rtx
def test_an_operator_inside_a_body_is_named_with_the_calls_around_it(tmp_path: Path) -> None:
    det = helper.make_node("Det", ["x"], ["y"], name="det")
    call = helper.make_node("Inner", ["x"], ["y"], name="call", domain="ai.s2tf")
    functions = [
        helper.make_function("ai.s2tf", "Inner", ["x"], ["y"], [det], [OPSET]),
        helper.make_function("ai.s2tf", "Outer", ["x"], ["y"], [call], [OPSET, helper.make_opsetid("ai.s2tf", 1)]),
    ]
    nodes = [helper.make_node("Outer", ["clip"], ["logits"], name="tsfp.0/Outer", domain="ai.s2tf")]
    calls = r"in the body of call \(Inner\) in the body of tsfp.0/Outer \(Outer\) of module tsfp.0 with inputs float32"
    with pytest.raises(UnsupportedError, match=rf"node det \(operator Det\) {calls} \[1, 3, 4, 16, 16\]: it has no"):
        _build(_save(tmp_path, nodes, functions=functions))


@needs_rtx
def test_operands_of_two_types_are_named(tmp_path: Path) -> None:
    graph = _save(tmp_path, [_conv()], weights=[_weights("w", 4, 3, 3, 3, 3, dtype=np.float16)])
    inputs = r"with inputs float32 \[1, 3, 4, 16, 16\], float16 \[4, 3, 3, 3, 3\]: .*must be of same type"
    with pytest.raises(UnsupportedError, match=inputs) as caught:
        _build(graph)
    assert "\n" not in str(caught.value)
    assert "catchCudaError" not in str(caught.value)


@needs_rtx
def test_a_failed_build_quotes_the_compiler_and_leaves_the_older_engine(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Reshape", ["flat", "shape"], ["w8"]),
        helper.make_node("DequantizeLinear", ["w8", "w8_scale", "w8_zero"], ["w"], axis=0),
        _conv(),
    ]
    weights = [
        numpy_helper.from_array(np.ones(4 * 3 * 27, np.int8), "flat"),
        numpy_helper.from_array(np.array([4, 3, 3, 3, 3]), "shape"),
        *_scale("w8", 4),
    ]
    (tmp_path / "model.engine").write_bytes(b"older")
    with pytest.raises(
        BuildError, match=r"cannot build model é.onnx: .*Quantized constant .* is only allowed before DQ"
    ):
        _build(_save(tmp_path, nodes, weights=weights))
    assert (tmp_path / "model.engine").read_bytes() == b"older"


@needs_rtx
def test_options_that_rtx_does_not_take_are_reported(conv: Path, caplog: pytest.LogCaptureFixture) -> None:
    cache = conv.with_name("timing.cache")
    with caplog.at_level(logging.WARNING):
        facts = _build(conv, timing_cache=cache, version_compatible=True, hardware_compatible=True)
    assert set(facts.ignored) == {"timing_cache", "version_compatible", "hardware_compatible"}
    assert facts.applied == {"tf32": False}
    assert not cache.exists()
    assert "version_compatible is left out: an engine of TensorRT-RTX runs with the release" in caplog.text
    assert facts.built_with()["version_compatible"] is False


def test_a_timing_cache_that_cannot_be_kept_is_refused_before_the_build(tmp_path: Path) -> None:
    (tmp_path / "a file").write_bytes(b"")
    with pytest.raises(InputFileError, match=r"cannot keep a timing cache at .*; give another `timing_cache`"):
        _set_timing_cache(None, tmp_path / "a file" / "timing.cache")


@needs_rtx
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"no graph", "is not an ONNX model .*Failed to parse the ONNX model.*; export it again"),
        (None, "does not exist"),
    ],
)
def test_a_file_that_is_no_graph_is_refused(tmp_path: Path, content: bytes | None, words: str) -> None:
    path = tmp_path / "model.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputFileError, match=f"model.onnx {words}"):
        _build(path)


@needs_rtx
def test_an_engine_that_cannot_be_written_is_an_error(conv: Path) -> None:
    with pytest.raises(InputFileError, match=r"cannot write .*model.engine: No such file or directory"):
        build_engine(conv, conv.parent / "missing" / "model.engine", target=TARGETS["trt-rtx"])


def test_without_tensorrt_the_ways_out_are_named(conv: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    ways = r"`defer_build=True` .* `target='trt-rtx'` needs no GPU.*pip install 's2tf-edge\[tensorrt\]'$"
    with pytest.raises(MissingExtraError, match=ways):
        build_engine(conv, conv.with_name("model.engine"), target=TARGETS["trt"])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"workspace_gib": 0.0}, "workspace must be more than zero GiB, got 0.0"),
        ({"workspace_gib": float("nan")}, "workspace must be more than zero GiB, got nan"),
        ({"profile": (0, 1, 2)}, r"fewest ≤ usual ≤ most clips, from 1 to 1024, got \(0, 1, 2\)"),
        ({"profile": (1, 4, 2)}, r"got \(1, 4, 2\)"),
        ({"profile": (1, 1, 1025)}, r"got \(1, 1, 1025\)"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        EngineOptions(**options)


def test_trtexec_is_told_the_same() -> None:
    options = EngineOptions(
        workspace_gib=1.5,
        timing_cache=Path("my timing.cache"),
        version_compatible=True,
        hardware_compatible=True,
        profile=(1, 4, 8),
    )
    command = trtexec_command("model.onnx", engine_name="model.engine", options=options, clip_shape=(3, 16, 112, 112))
    assert shlex.split(command) == [
        "trtexec",
        "--onnx=model.onnx",
        "--saveEngine=model.engine",
        "--stronglyTyped",
        "--noTF32",
        "--profilingVerbosity=detailed",
        "--skipInference",
        "--memPoolSize=workspace:1536",
        "--timingCacheFile=my timing.cache",
        "--versionCompatible",
        "--hardwareCompatibilityLevel=ampere+",
        "--minShapes=clip:1x3x16x112x112",
        "--optShapes=clip:4x3x16x112x112",
        "--maxShapes=clip:8x3x16x112x112",
    ]


def test_trtexec_is_told_nothing_that_was_not_asked_for() -> None:
    command = trtexec_command("a.onnx", engine_name="a.engine", options=EngineOptions(), clip_shape=(3, 4, 5, 5))
    assert command.split()[3:] == ["--stronglyTyped", "--noTF32", "--profilingVerbosity=detailed", "--skipInference"]


@pytest.mark.parametrize(
    ("outputs", "output_type"),
    [
        ([{"Name": "x", "Format/Datatype": "Channel major FP16 format where channel % 8 == 0"}], "f16"),
        ([{"Name": "x", "Format/Datatype": "Row major linear FP32"}], "f32"),
        ([{"Name": "x", "Format/Datatype": "Thirty-two wide channel vectorized row major Int8 format"}], "i8"),
        ([{"Name": "x", "DataType": "Half", "Format": "Row major linear FP32 format (kLINEAR)"}], "f16"),
        ([{"Name": "x", "DataType": "BF16"}], "bf16"),
        ([{"Name": "x", "DataType": "UInt8"}], "u8"),
        ([], "unknown"),
    ],
)
def test_an_engines_layers_are_read_as_either_version_writes_them(outputs: list[Any], output_type: str) -> None:
    layer = {"Name": "conv1 + relu", "LayerType": "CaskConvolution", "Outputs": outputs}
    found = engine_layers(json.dumps({"Layers": [layer, "just a name"]}))
    assert found == (
        LayerFact(name="conv1 + relu", kind="CaskConvolution", output_type=output_type),
        LayerFact(name="just a name", kind="unknown", output_type="unknown"),
    )
