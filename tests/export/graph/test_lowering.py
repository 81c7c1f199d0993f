"""From a network's graph to the graph of each target."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from onnx import parser

from s2tf_edge.errors import UnsupportedError, UsageError
from s2tf_edge.export.graph.custom_ops import count_custom_ops
from s2tf_edge.export.graph.functions import DOMAIN
from s2tf_edge.export.graph.lowering import Lowered, lower
from s2tf_edge.export.graph.onnx_file import write_graph
from s2tf_edge.export.options import OPSETS
from s2tf_edge.export.sources.torch_to_onnx import OPSET, to_onnx
from s2tf_edge.export.targets.registry import COMPILERS, TARGETS
from s2tf_edge.export.verify.seeded_clips import seeded_clips
from s2tf_edge.models import create_model, network_cost
from s2tf_edge.models.model_file import load_model
from s2tf_edge.models.s2tf import VideoNetwork
from s2tf_edge.preprocess import normalize
from s2tf_edge.spec import ClipSpec

NODES = {f"{DOMAIN}::SaliencyMining": 3, f"{DOMAIN}::FeaturePreserving": 2, f"{DOMAIN}::TemporalFusion": 1}
"""Operators of ours in the small network."""

Lower = Callable[..., Lowered]


@pytest.fixture(scope="module")
def traced(model_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("traced") / "model.onnx"
    ir.save(to_onnx(load_model(model_file), batch=None, mask=True), path)
    return path


@pytest.fixture
def lowered(traced: Path, network: VideoNetwork) -> Lower:
    """Lowers a fresh copy of the small network's graph; takes the arguments of ``lower``."""

    def run(target: str, **arguments: Any) -> Lowered:
        defaults: dict[str, Any] = {"precision": "fp32", "custom_ops": "auto", "spec": network.spec, "opset": None}
        return lower(ir.load(traced), rules=TARGETS[target].rules, targets=COMPILERS, **(defaults | arguments))

    return run


def _pixels(spec: ClipSpec) -> ClipSpec:
    return dataclasses.replace(spec, layout="NTHWC", dtype="uint8")


def _run(result: Lowered, spec: ClipSpec, path: Path) -> list[NDArray[np.float32]]:
    """Logits and mask of two clips, from the file as it is written, which checks it."""
    write_graph(result.model, path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    clips = np.stack([normalize(frames, spec) for frames in seeded_clips(spec, count=2)])
    return [np.asarray(each) for each in session.run(["logits", "mask"], {"clip": clips})]


def _assert_agrees(result: Lowered, network: VideoNetwork, folder: Path, *, spec: ClipSpec, tolerance: float) -> None:
    clips = np.stack([normalize(frames, network.spec) for frames in seeded_clips(network.spec, count=2)])
    with torch.inference_mode():
        logits, saliency = network(torch.from_numpy(clips), return_saliency=True)
    for got, expected in zip(_run(result, spec, folder / "model.onnx"), (logits, saliency.mask), strict=True):
        assert got.dtype == np.float32
        np.testing.assert_allclose(got, expected.numpy(), rtol=0, atol=tolerance * float(expected.abs().max()))


@pytest.mark.parametrize(
    ("target", "custom_ops", "form"),
    [
        ("onnx", "auto", "kept, with its body"),
        ("onnx", "inline", "inlined"),
        ("openvino", "auto", "inlined"),
        ("trt", "auto", "inlined"),
        ("trt-rtx", "auto", "inlined"),
        ("trt-rtx", "keep", "kept, with its body"),
    ],
)
def test_each_target_gets_nodes_of_ours_in_its_form(
    lowered: Lower, network: VideoNetwork, tmp_path: Path, target: str, custom_ops: str, form: str
) -> None:
    result = lowered(target, custom_ops=custom_ops)
    assert result.operators == {name: {"nodes": count, "lowered": form} for name, count in NODES.items()}
    kept = NODES if form.startswith("kept") else {}
    assert {f"{DOMAIN}::{name}": count for name, count in count_custom_ops(result.model).items()} == kept
    assert {f"{DOMAIN}::{name}" for _, name, _ in result.model.functions} == set(kept)
    _assert_agrees(result, network, tmp_path, spec=network.spec, tolerance=1e-5)


@pytest.mark.parametrize("target", TARGETS)
def test_quantizers_get_standard_operators_in_float32(lowered: Lower, target: str) -> None:
    result = lowered(target, precision="int8")
    assert result.operators == {name: {"nodes": count, "lowered": "inlined"} for name, count in NODES.items()}
    assert not result.model.functions
    weights = {value.dtype for value in result.model.graph.initializers.values() if len(value.shape or ()) == 5}
    assert weights == {ir.DataType.FLOAT}


@pytest.mark.parametrize(("target", "named"), [("trt", True), ("trt-rtx", True), ("onnx", False)])
def test_nodes_that_tensorrt_keeps_say_where_a_plugin_of_theirs_would_be(
    lowered: Lower, target: str, named: bool
) -> None:
    nodes = [node for node in lowered(target, custom_ops="keep").model.graph if node.domain == DOMAIN]
    assert len(nodes) == sum(NODES.values())
    assert {node.attributes.get_string("plugin_namespace") for node in nodes} == {DOMAIN if named else None}


@pytest.mark.parametrize(("target", "halves"), [("onnx", True), ("trt", True), ("trt-rtx", True), ("openvino", False)])
def test_fp16_changes_types_where_the_target_computes_in_those_of_the_graph(
    lowered: Lower, target: str, halves: bool
) -> None:
    graph = lowered(target, precision="fp16").model.graph
    weights = Counter(value.dtype for value in graph.initializers.values() if len(value.shape or ()) == 5)
    assert (weights[ir.DataType.FLOAT16] > 5 * weights[ir.DataType.FLOAT]) is halves
    assert halves or set(weights) == {ir.DataType.FLOAT}
    assert [value.dtype for value in (*graph.inputs, *graph.outputs)] == [ir.DataType.FLOAT] * 3


@pytest.mark.parametrize("custom_ops", ["keep", "inline"])
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_bytes_go_through_every_form(
    lowered: Lower, network: VideoNetwork, tmp_path: Path, precision: str, custom_ops: str
) -> None:
    spec = _pixels(network.spec)
    result = lowered("onnx", precision=precision, custom_ops=custom_ops, spec=spec)
    (clip,) = result.model.graph.inputs
    assert (clip.dtype, str(clip.shape)) == (ir.DataType.UINT8, "[batch,8,32,32,3]")
    _assert_agrees(result, network, tmp_path, spec=spec, tolerance={"fp32": 1e-5, "fp16": 0.01}[precision])


@pytest.mark.parametrize("opset", range(OPSETS[0], OPSETS[1] + 1))
def test_every_opset_loads_and_agrees(lowered: Lower, network: VideoNetwork, tmp_path: Path, opset: int) -> None:
    result = lowered("onnx", opset=opset)
    assert result.facts["opset"] == result.model.opset_imports[""] == opset
    kept = opset == OPSET
    assert {each["lowered"] for each in result.operators.values()} == {"kept, with its body" if kept else "inlined"}
    assert bool(result.model.functions) == kept
    _assert_agrees(result, network, tmp_path, spec=network.spec, tolerance=1e-5)


def test_another_opset_takes_the_other_passes_along(lowered: Lower, network: VideoNetwork, tmp_path: Path) -> None:
    spec = _pixels(network.spec)
    result = lowered("trt-rtx", precision="fp16", spec=spec, opset=21)
    assert result.facts["opset"] == 21
    assert {value.dtype for value in result.model.graph.initializers.values()} >= {ir.DataType.FLOAT16}
    _assert_agrees(result, network, tmp_path, spec=spec, tolerance=0.01)


def test_bodies_are_not_kept_at_another_opset(lowered: Lower) -> None:
    with pytest.raises(UsageError, match="`custom_ops='keep'` ships bodies of opset 18, got `opset=20`; leave one"):
        lowered("onnx", custom_ops="keep", opset=20)
    assert lowered("onnx", custom_ops="keep", opset=OPSET).model.functions


def test_facts_say_opset_operators_and_cost(lowered: Lower, network: VideoNetwork) -> None:
    kept, inlined = (lowered("onnx", custom_ops=form) for form in ("keep", "inline"))
    assert kept.facts == inlined.facts
    assert inlined.facts["operators"] == Counter(node.op_type for node in inlined.model.graph)
    assert inlined.facts["opset"] == OPSET
    cost = network_cost(network)
    assert inlined.facts["macs"] == cost.inference_macs < cost.published_macs


def test_shapes_of_outputs_leave_the_number_of_clips_open(lowered: Lower) -> None:
    result = lowered("onnx")
    assert result.output_shape("logits") == [None, 10]
    assert result.output_shape("mask") == [None, 1, 1, 1, 1]


@pytest.mark.slow
def test_the_graph_of_s2tf_costs_less_than_the_released_code() -> None:
    network = create_model("s2tf_nl_i3d_r50", num_classes=400).eval()
    cost = network_cost(network)
    assert network.spec.input_shape() == (1, 3, 8, 224, 224)
    assert cost.published_macs / 1e9 == pytest.approx(57.4, abs=0.05)
    result = lower(
        to_onnx(network),
        rules=TARGETS["trt"].rules,
        targets=COMPILERS,
        precision="fp16",
        custom_ops="auto",
        spec=network.spec,
        opset=None,
    )
    assert result.facts["macs"] == cost.inference_macs < cost.published_macs


def _plain(nodes: str, *, opset: int = OPSET) -> ir.Model:
    text = f'<ir_version: 10, opset_import: ["": {opset}]> net (float[1,3,4,4,4] clip) => (float[1,3,4,4,4] logits)'
    return ir.from_proto(onnx.shape_inference.infer_shapes(parser.parse_model(f"{text} {{ {nodes} }}")))


def _lower_plain(model: ir.Model, target: str, *, opset: int | None = None) -> Lowered:
    return lower(
        model,
        rules=TARGETS[target].rules,
        targets=COMPILERS,
        precision="fp32",
        custom_ops="auto",
        spec=ClipSpec(frames=4, size=4),
        opset=opset,
    )


def test_an_operator_in_another_form_is_recorded_with_the_reason() -> None:
    nodes = '["mix/Einsum"] logits = Einsum <equation = "nctij,nctjk->nctik"> (clip, clip)'
    assert _lower_plain(_plain(nodes), "onnx").operators == {}
    result = _lower_plain(_plain(nodes), "openvino")
    assert set(result.operators) == {"Einsum"}
    assert result.operators["Einsum"]["nodes"] == 1
    assert result.operators["Einsum"]["lowered"].startswith("rewritten by EinsumToMatMul: compilers fuse ")
    assert "Einsum" not in result.facts["operators"]
    assert result.facts["operators"]["MatMul"] == 1
    assert result.facts["macs"] == 3 * 4 * 4 * 4 * 4


def test_what_an_opset_does_not_have_is_refused() -> None:
    nodes = """
        sides = Constant <value_ints = [1, 3, 4, 4, 4]> () lines = Constant <value_ints = [1, 3, 4]> ()
        numbers = Constant <value_floats = [1., 0., 0., 0., 0., 1., 0., 0., 0., 0., 1., 0.]> ()
        theta = Reshape (numbers, lines) ["warp/Grid"] grid = AffineGrid (theta, sides)
        three = Transpose <perm = [0, 4, 1, 2, 3]> (grid) logits = Mul (clip, three)"""
    assert _lower_plain(_plain(nodes, opset=20), "onnx", opset=20).facts["opset"] == 20
    with pytest.raises(UnsupportedError, match=r"of opset 20 cannot be converted to opset 19 .*AffineGrid.*leave out"):
        _lower_plain(_plain(nodes, opset=20), "onnx", opset=19)


def test_what_a_target_does_not_take_is_refused_before_it_is_asked() -> None:
    pool = "kernel_shape = [1, 1, 2], dilations = [1, 1, 3], pads = [0, 0, 0, 0, 0, 3]"
    nodes = f'["pool/MaxPool"] logits = MaxPool <{pool}> (clip)'
    assert _lower_plain(_plain(nodes), "openvino").facts["operators"] == {"MaxPool": 1}
    for target in ("trt", "trt-rtx"):
        with pytest.raises(
            UnsupportedError, match=r"MaxPool 'pool/MaxPool' of module pool, which takes float32 \[1, 3"
        ):
            _lower_plain(_plain(nodes), target)


@pytest.mark.parametrize(
    ("target", "precision", "is_folded"),
    [("openvino", "int8", True), ("openvino", "fp16", False), ("onnx", "int8", False), ("trt-rtx", "int8", False)],
)
def test_pixels_are_folded_for_the_integer_kernels_of_openvino(
    lowered: Lower, network: VideoNetwork, tmp_path: Path, target: str, precision: str, is_folded: bool
) -> None:
    result = lowered(target, precision=precision)
    assert ("SpaceToDepth" in {node.op_type for node in result.model.graph}) is is_folded
    _assert_agrees(result, network, tmp_path, spec=network.spec, tolerance=1e-5)
