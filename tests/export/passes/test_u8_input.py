from __future__ import annotations

import json

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import openvino
import pytest

from s2tf_edge.export.passes.u8_input import U8Input
from s2tf_edge.export.sources.torch_to_onnx import to_onnx
from s2tf_edge.models import create_model
from s2tf_edge.models.s2tf import VideoNetwork
from s2tf_edge.preprocess import normalize
from s2tf_edge.spec import ClipSpec


@pytest.fixture(scope="module")
def small() -> VideoNetwork:
    network = create_model("r3d_10?width=0.125", num_classes=10, frames=4, size=32).eval()
    network.spec = ClipSpec(frames=4, size=32, mean=(0.4345, 0.4051, 0.3775), std=(0.2768, 0.2713, 0.2737))
    return network


@pytest.fixture(scope="module", params=[2, None])
def batch(request: pytest.FixtureRequest) -> int | None:
    found: int | None = request.param
    return found


@pytest.fixture(scope="module")
def floats(small: VideoNetwork, batch: int | None) -> onnx.ModelProto:
    return ir.to_proto(to_onnx(small, batch=batch))


@pytest.fixture(scope="module")
def pixels(floats: onnx.ModelProto, small: VideoNetwork) -> ir.Model:
    model = ir.from_proto(floats)
    assert U8Input(small.spec)(model).modified
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    return model


@pytest.fixture(scope="module")
def frames() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (2, 4, 32, 32, 3), np.uint8)


def _normalized(frames: np.ndarray, spec: ClipSpec) -> np.ndarray:
    return np.stack([normalize(each, spec) for each in frames])


def _onnxruntime(proto: onnx.ModelProto, clip: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(["logits"], {"clip": clip})[0])


def test_the_same_bytes_give_the_same_logits(
    floats: onnx.ModelProto, pixels: ir.Model, frames: np.ndarray, small: VideoNetwork
) -> None:
    expected = _onnxruntime(floats, _normalized(frames, small.spec))
    np.testing.assert_array_equal(_onnxruntime(ir.to_proto(pixels), frames), expected)


def test_openvino_agrees(floats: onnx.ModelProto, pixels: ir.Model, frames: np.ndarray, small: VideoNetwork) -> None:
    core = openvino.Core()
    network = core.read_model(ir.to_proto(pixels).SerializeToString())
    compiled = core.compile_model(network, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    expected = _onnxruntime(floats, _normalized(frames, small.spec))
    np.testing.assert_allclose(compiled({"clip": frames})["logits"], expected, rtol=0, atol=1e-5 * np.ptp(expected))


def test_the_graph_says_what_it_takes(pixels: ir.Model, batch: int | None) -> None:
    (clip,) = pixels.graph.inputs
    assert (clip.name, clip.dtype) == ("clip", ir.DataType.UINT8)
    assert clip.shape is not None
    assert list(clip.shape[1:]) == [4, 32, 32, 3]
    assert (clip.shape[0] == batch) if batch else isinstance(clip.shape[0], ir.SymbolicDim)
    spec = ClipSpec.from_dict(json.loads(pixels.metadata_props["clip"]))
    assert (spec.layout, spec.dtype) == ("NTHWC", "uint8")
    names = ["input/Cast", "input/Sub", "input/Div", "input/Transpose"]
    assert [node.name for node in pixels.graph][:4] == names
    # TensorRT takes bytes for nothing but a cast.
    assert [node.name for node in clip.consumers()] == names[:1]


def test_a_graph_that_takes_bytes_already_stays_as_it_is(pixels: ir.Model, small: VideoNetwork) -> None:
    assert not U8Input(small.spec)(pixels).modified


def test_a_graph_without_a_clip_is_refused(floats: onnx.ModelProto, small: VideoNetwork) -> None:
    model = ir.from_proto(floats)
    model.graph.inputs[0].name = "video"
    with pytest.raises(ir.passes.PreconditionError, match=r"must have an input 'clip'"):
        U8Input(small.spec)(model)
