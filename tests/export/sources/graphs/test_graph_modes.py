"""Files in training mode, with random numbers or in half precision: refused, switched or widened, and compared so."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper, parser

from s2tf_edge.clip_file import ClipFile
from s2tf_edge.errors import InputFileError, UsageError
from s2tf_edge.export.sources.network import OnnxNetwork, open_network
from s2tf_edge.export.sources.plain_onnx import PlainOnnx, read_plain_onnx
from s2tf_edge.spec import ClipSpec

_CLIPS = ClipFile(spec=ClipSpec(frames=4, size=16), labels=("a", "b", "c", "d", "e"))
CLIP = np.random.default_rng(0).normal(size=(1, 3, 4, 16, 16)).astype(np.float32)
_NORM = "b, rm, rv = BatchNormalization <training_mode = 1> (c, scale, shift, mean, variance)"
_IN_A_BRANCH = """d = If (yes) <
    then_branch = g () => (float[1,4,4,16,16] q) { n = RandomNormalLike (c) q = Add (c, n) },
    else_branch = e () => (float[1,4,4,16,16] o) { o = Neg (c) }>"""
_HEAD = "p = GlobalAveragePool (d) f = Flatten (p) y = MatMul (f, fc)"


def _write(path: Path, nodes: str, *, opset: int = 17, outputs: str = "float[1,5] y", **weights: Any) -> Path:
    model = parser.parse_model(f"""
        <ir_version: 8, opset_import: ["": {opset}]> net (float[1,3,4,16,16] x) => ({outputs}) {{
          c = Conv <pads = [0,1,1,0,1,1]> (x, w) {nodes} {_HEAD} }}""")
    random = np.random.default_rng(1)
    values = {"w": random.normal(size=(4, 3, 1, 3, 3)), "fc": random.normal(size=(4, 5))}
    values |= {name: random.uniform(0.5, 2, size=4) for name in ("scale", "shift", "mean", "variance")}
    tensors = {name: np.asarray(value, np.float32) for name, value in (values | weights).items() if name != "yes"}
    tensors["yes"] = np.array(True)
    used = {name for node in model.graph.node for name in node.input}
    model.graph.initializer.extend(
        numpy_helper.from_array(each, name) for name, each in tensors.items() if name in used
    )
    onnx.save(model, path)
    return path


def _logits(source: PlainOnnx | OnnxNetwork) -> NDArray[np.float32]:
    with source.session() as session:
        return session.infer(CLIP).logits


def test_training_mode_is_refused_with_both_ways_out(tmp_path: Path) -> None:
    path = _write(tmp_path / "net.onnx", f"{_NORM} d = Dropout (b, half, yes)", half=0.5)
    message = (
        r"net\.onnx is in training mode, .*: 1 BatchNormalization and 1 Dropout \(BatchNormalization b, Dropout d\); "
        r"export it again after model\.eval\(\), or have it switched with `eval_mode=True`"
    )
    with pytest.raises(InputFileError, match=message):
        read_plain_onnx(path, _CLIPS)


@pytest.mark.parametrize("opset", [9, 13, 15, 18])
def test_a_switched_file_says_what_one_in_inference_mode_says(opset: int, tmp_path: Path) -> None:
    training = _NORM if opset > 13 else _NORM.replace(" <training_mode = 1>", "").replace("rm, rv", "rm, rv, sm, sv")
    inference = "b = BatchNormalization (c, scale, shift, mean, variance)"
    expected = _logits(read_plain_onnx(_write(tmp_path / "eval.onnx", f"{inference} d = Relu (b)"), _CLIPS))
    path = _write(tmp_path / "train.onnx", f"{training} d = Relu (b)", opset=opset)
    source = OnnxNetwork(read_plain_onnx(path, _CLIPS, eval_mode=True))
    assert source.changes == ("switched to inference",)
    np.testing.assert_allclose(_logits(source), expected, rtol=1e-5, atol=1e-5)
    # The norm, now one of inference, is folded like any other.
    assert "BatchNormalization" not in {node.op_type for node in source.graph(batch=1, mask=False).graph}


def test_where_nothing_is_in_training_mode_nothing_is_changed(tmp_path: Path) -> None:
    path = _write(tmp_path / "net.onnx", "d = Relu (c)")
    assert read_plain_onnx(path, _CLIPS, eval_mode=True).changes == ()


def test_what_only_other_outputs_come_of_is_no_matter(tmp_path: Path) -> None:
    nodes = "d = Relu (c) noise = RandomNormalLike (c) side = Add (c, noise) t = Dropout (c, half, yes)"
    outputs = "float[1,5] y, float[1,4,4,16,16] side, float[1,4,4,16,16] t"
    source = read_plain_onnx(_write(tmp_path / "net.onnx", nodes, outputs=outputs, half=0.5), _CLIPS)
    np.testing.assert_array_equal(_logits(source), _logits(source))
    operators = {node.op_type for node in source.graph().graph}
    assert not {"RandomNormalLike", "Dropout"} & operators


@pytest.mark.parametrize("eval_mode", [False, True])
@pytest.mark.parametrize(
    "nodes",
    [
        "n = RandomNormalLike (c) d = Add (c, n)",
        "s = Sigmoid (c) n = Bernoulli (s) d = Mul (c, n)",
        "n = RandomUniform <shape = [1]> () d = Mul (c, n)",
        _IN_A_BRANCH,
    ],
)
def test_random_numbers_are_refused(nodes: str, eval_mode: bool, tmp_path: Path) -> None:
    path = _write(tmp_path / "net.onnx", nodes)
    with pytest.raises(InputFileError, match=r"draws random numbers for its logits: (Random|Bern)\w+ n; .*; take them"):
        read_plain_onnx(path, _CLIPS, eval_mode=eval_mode)


def test_statistics_that_never_saw_a_clip_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = _write(tmp_path / "net.onnx", f"{_NORM} d = Relu (b)", mean=np.zeros(4), variance=np.ones(4))
    with caplog.at_level(logging.WARNING):
        read_plain_onnx(path, _CLIPS, eval_mode=True)
    assert "1 norms (b, …) are switched to mean 0 and variance 1, which is where training begins" in caplog.text


def test_statistics_that_are_none_are_told(tmp_path: Path) -> None:
    path = _write(tmp_path / "net.onnx", f"{_NORM} d = Relu (b)", variance=-np.ones(4))
    with pytest.raises(InputFileError, match=r"BatchNormalization b has a mean or variance that is none"):
        read_plain_onnx(path, _CLIPS, eval_mode=True)


def test_only_a_plain_file_can_be_switched(model_file: Path) -> None:
    with pytest.raises(
        UsageError, match=r"`eval_mode` is for a plain \.onnx file; .* is exported for inference anyway"
    ):
        open_network(model_file, eval_mode=True)


def _to_half(path: Path, *, ends: bool) -> Path:
    model = onnx.load(path)
    for tensor in model.graph.initializer:
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), tensor.name))
    if ends:
        for value in (*model.graph.input, *model.graph.output):
            value.type.tensor_type.elem_type = onnx.TensorProto.FLOAT16
    else:
        for node in model.graph.node:
            node.input[:] = [{"x": "half_x"}.get(name, name) for name in node.input]
            node.output[:] = [{"y": "half_y"}.get(name, name) for name in node.output]
        model.graph.node.insert(0, onnx.helper.make_node("Cast", ["x"], ["half_x"], to=10))
        model.graph.node.append(onnx.helper.make_node("Cast", ["half_y"], ["y"], to=1))
    onnx.save(model, path)
    return path


@pytest.mark.parametrize("ends", [True, False], ids=["half", "half inside"])
def test_half_precision_becomes_float32(ends: bool, tmp_path: Path) -> None:
    whole = read_plain_onnx(_write(tmp_path / "whole.onnx", "d = Relu (c)"), _CLIPS)
    source = OnnxNetwork(read_plain_onnx(_to_half(_write(tmp_path / "h.onnx", "d = Relu (c)"), ends=ends), _CLIPS))
    assert source.changes == ("float32 in place of half precision",)
    graph = source.graph(batch=1, mask=False).graph
    assert [node.op_type for node in graph] == ["Conv", "Relu", "GlobalAveragePool", "Flatten", "MatMul"]
    values = [*graph.inputs, *graph.initializers.values(), *(output for node in graph for output in node.outputs)]
    assert {value.dtype.name for value in values if value.dtype} == {"FLOAT"}
    expected, session = _logits(whole), source.half_session()
    np.testing.assert_allclose(_logits(source), expected, atol=2e-3 * float(np.ptp(expected)))
    assert session is not None
    with session:
        np.testing.assert_allclose(session.infer(CLIP).logits, expected, atol=2e-2 * float(np.ptp(expected)))
    assert OnnxNetwork(whole).half_session() is None
