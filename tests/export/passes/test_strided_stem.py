from __future__ import annotations

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import onnxruntime
import pytest

from s2tf_edge.export.passes.strided_stem import FoldStrides

NL_I3D = ((5, 7, 7), (2, 3, 3, 2, 3, 3))


def _graph(
    kernel: tuple[int, ...],
    pads: tuple[int, ...],
    *,
    batch: str = "N",
    channels: int = 3,
    strides: tuple[int, ...] = (1, 2, 2),
    more: str = "",
    size: tuple[int, int] = (12, 16),
) -> onnx.ModelProto:
    weight = [4, channels, *kernel]
    model: onnx.ModelProto = onnx.parser.parse_model(f"""<ir_version: 10, opset_import: ["": 18]>
        g (float[{batch}, {channels}, 6, {size[0]}, {size[1]}] clip) => (float[n, c, t, h, w] y) {{
          ["stem.conv/Conv"] y = Conv <strides = {list(strides)}, pads = {list(pads)} {more}> (clip, w, b)
        }}""")
    random = np.random.default_rng(0)
    for name, shape in (("w", weight), ("b", [4])):
        values = random.standard_normal(shape).astype(np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(values, name))
    return onnx.shape_inference.infer_shapes(model)


def _run(proto: onnx.ModelProto, clip: np.ndarray) -> np.ndarray:
    onnx.checker.check_model(proto, full_check=True)
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"clip": clip})[0])


@pytest.mark.parametrize(
    ("kernel", "pads", "strides"),
    [
        (*NL_I3D, (1, 2, 2)),
        (*NL_I3D, (2, 2, 2)),
        ((1, 7, 7), (0, 3, 3, 0, 3, 3), (1, 2, 2)),
        ((3, 5, 5), (1, 2, 2, 1, 2, 2), (1, 2, 2)),
        ((1, 6, 5), (0, 0, 0, 0, 0, 0), (1, 2, 2)),
        ((1, 7, 5), (0, 3, 2, 0, 2, 1), (1, 2, 2)),
        ((1, 5, 8), (0, 0, 1, 0, 3, 0), (1, 2, 2)),
    ],
)
@pytest.mark.parametrize("batch", ["N", "2"])
def test_the_sums_are_the_same(
    kernel: tuple[int, ...], pads: tuple[int, ...], strides: tuple[int, ...], batch: str
) -> None:
    proto = _graph(kernel, pads, strides=strides, batch=batch)
    clip = np.random.default_rng(1).standard_normal((2, 3, 6, 12, 16)).astype(np.float32)
    expected = _run(proto, clip)
    model = ir.from_proto(proto)
    assert FoldStrides()(model).modified
    folded = ir.to_proto(model)
    assert [node.op_type for node in folded.graph.node] == ["Reshape", "SpaceToDepth", "Reshape", "Conv"]
    np.testing.assert_allclose(_run(folded, clip), expected, rtol=0, atol=1e-5 * float(np.abs(expected).max()))
    conv = folded.graph.node[-1]
    assert (conv.name, conv.output[0]) == ("stem.conv/Conv", "y")
    assert not FoldStrides()(model).modified


@pytest.mark.parametrize(
    "proto",
    [
        pytest.param(_graph((1, 3, 3), (0, 1, 1, 0, 1, 1)), id="a narrow kernel"),
        pytest.param(_graph((1, 7, 3), (0, 3, 1, 0, 3, 1)), id="a kernel narrow one way"),
        pytest.param(_graph((5, 7, 7), (2, 3, 3, 2, 3, 3), strides=(1, 1, 1)), id="every pixel"),
        pytest.param(_graph((5, 7, 7), (2, 3, 3, 2, 3, 3), strides=(1, 2, 1)), id="every pixel one way"),
        pytest.param(_graph(*NL_I3D, channels=8), id="many channels"),
        pytest.param(_graph(*NL_I3D, size=(13, 16)), id="odd height"),
        pytest.param(_graph((1, 5, 5), (0, 4, 4, 0, 4, 4), more=", dilations = [1, 2, 2]"), id="dilated"),
        pytest.param(_graph((1, 5, 5), (0, 2, 2, 0, 2, 2), size=("H", 16)), id="free height"),  # type: ignore[arg-type]
    ],
)
def test_other_convolutions_stay(proto: onnx.ModelProto) -> None:
    model = ir.from_proto(proto)
    assert not FoldStrides()(model).modified
    assert [node.op_type for node in model.graph] == ["Conv"]


def test_a_weight_that_is_computed_stays() -> None:
    proto = _graph(*NL_I3D)
    proto.graph.node.insert(0, onnx.helper.make_node("Neg", ["w"], ["v"]))
    proto.graph.node[1].input[1] = "v"
    assert not FoldStrides()(ir.from_proto(proto)).modified
