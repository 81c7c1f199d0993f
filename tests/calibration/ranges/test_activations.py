from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import onnxruntime
import pytest

from s2tf_edge.calibration.ranges.activations import Activations
from s2tf_edge.errors import UsageError
from s2tf_edge.runtime.session import Clips


def _model(batch: str = "1") -> ir.Model:
    text = f"""
      <ir_version: 10, opset_import: ["": 18]>
      chain (float[{batch}, 3, 2, 4, 4] clip) => (float[{batch}, 3] logits)
      <int64[3] axes = {{2, 3, 4}}> {{
        relu = Relu (clip)
        square = Mul (relu, relu)
        root = Sqrt (square)
        logits = ReduceMean <keepdims = 0> (root, axes)
      }}"""
    return ir.from_proto(onnx.parser.parse_model(text))


def _clip(seed: int) -> Clips:
    return np.random.default_rng(seed).standard_normal((1, 3, 2, 4, 4)).astype(np.float32)


def test_tensors_are_those_of_the_graph() -> None:
    model = _model()
    got = dict(Activations(model, ["square", "clip", "logits"]).of([_clip(0)]))
    np.testing.assert_array_equal(got["clip"], _clip(0))
    np.testing.assert_allclose(got["square"], np.maximum(_clip(0), 0) ** 2, rtol=1e-6)
    session = onnxruntime.InferenceSession(ir.to_proto(model).SerializeToString())
    np.testing.assert_allclose(got["logits"], session.run(None, {"clip": _clip(0)})[0], rtol=1e-6)
    assert [output.name for output in model.graph.outputs] == ["logits"]


def test_groups_are_bounded_and_in_the_order_of_computation() -> None:
    size = 4 * 3 * 2 * 4 * 4
    tensors = ["root", "relu", "square", "clip"]
    assert Activations(_model(), tensors, group_bytes=2 * size).groups == [["clip", "relu"], ["square", "root"]]
    assert Activations(_model(), tensors, group_bytes=1).groups == [["clip"], ["relu"], ["square"], ["root"]]
    assert Activations(_model(), tensors).groups == [["clip", "relu", "square", "root"]]


def test_clips_come_one_after_the_other_whatever_the_groups() -> None:
    activations = Activations(_model(), ["relu", "root"], group_bytes=1)
    taken = []

    def clips() -> Iterator[Clips]:
        for seed in range(3):
            taken.append(seed)
            yield _clip(seed)

    stream = activations.of(clips())
    for seed in range(3):
        for name in ("relu", "root"):
            got, values = next(stream)
            assert got == name
            np.testing.assert_allclose(values, np.maximum(_clip(seed), 0), rtol=1e-6)
        assert taken == list(range(seed + 1))


def test_a_fixed_batch_is_filled_up_with_the_last_clip() -> None:
    batches = [values for _, values in Activations(_model("2"), ["clip"]).of(map(_clip, range(3)))]
    expected = [np.concatenate([_clip(0), _clip(1)]), np.concatenate([_clip(2), _clip(2)])]
    np.testing.assert_array_equal(batches, expected)


def test_a_free_batch_takes_clips_one_by_one() -> None:
    batches = [values for _, values in Activations(_model("n"), ["clip"]).of(map(_clip, range(2)))]
    assert [values.shape[0] for values in batches] == [1, 1]


def test_an_unknown_tensor_is_named() -> None:
    with pytest.raises(UsageError, match="the graph has no tensor neck; give names of node outputs or of the input"):
        Activations(_model(), ["relu", "neck"])
