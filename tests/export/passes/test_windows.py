"""Windows said by padding alone; test_operator_sweep.py holds them to ONNX Runtime in all corners."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from onnx import numpy_helper, parser
from torch import nn

from s2tf_edge.export import ExportOptions, export
from s2tf_edge.export.passes.windows import DropWindows, PadPools


def _graph(nodes: str) -> ir.Model:
    text = f'<ir_version: 8, opset_import: ["": 18]> g (float[1,2,5,7,7] x) => (float y) {{ {nodes} }}'
    proto = parser.parse_model(text)
    proto.graph.output[0].type.tensor_type.ClearField("shape")
    model = ir.from_proto(onnx.shape_inference.infer_shapes(proto))
    # As inferred, it may be wrong.
    model.graph.outputs[0].shape = None
    return model


def _run(model: ir.Model) -> NDArray[np.float32]:
    session = onnxruntime.InferenceSession(ir.to_proto(model).SerializeToString(), providers=["CPUExecutionProvider"])
    clip = np.random.default_rng(0).standard_normal((1, 2, 5, 7, 7)).astype(np.float32)
    return np.asarray(session.run(["y"], {"x": clip})[0])


def test_a_pool_that_rounds_up_for_nothing_keeps_its_padding() -> None:
    model = _graph("y = AveragePool <kernel_shape = [3, 3, 3], strides = [2, 2, 2], pads = [1, 1, 1, 1, 1, 1], "
                   "ceil_mode = 1, count_include_pad = 1> (x)")  # fmt: skip
    before = _run(model)
    assert PadPools()(model).modified
    (pool,) = model.graph
    assert pool.attributes.get_ints("pads") == (1, 1, 1, 1, 1, 1)
    assert "ceil_mode" not in pool.attributes
    np.testing.assert_allclose(_run(model), before, rtol=0, atol=1e-6)


def test_pools_whose_sizes_are_not_known_stay() -> None:
    model = _graph("y = MaxPool <kernel_shape = [2, 2, 2], ceil_mode = 1> (x)")
    model.graph.inputs[0].shape = ir.Shape([1, 2, "frames", 7, 7])
    assert not PadPools()(model).modified


def test_windows_are_dropped_one_pool_after_the_other() -> None:
    pool = "MaxPool <kernel_shape = [2, 2, 2], strides = [2, 2, 2], pads = [1, 1, 1, 1, 1, 1], ceil_mode = 1>"
    model = _graph(f"a = {pool} (x) b = Relu (a) c = {pool} (b) y = Neg (c)")
    before = _run(model)
    assert DropWindows()(model).modified
    proto = onnx.shape_inference.infer_shapes(ir.to_proto(model), strict_mode=True)
    assert [side.dim_value for side in proto.graph.output[0].type.tensor_type.shape.dim] == list(before.shape)
    np.testing.assert_allclose(_run(model), before, rtol=0, atol=1e-6)
    assert not DropWindows()(model).modified


@pytest.mark.parametrize("target", ["onnx", "openvino"])
def test_a_network_of_pytorch_whose_pools_leave_windows_out(target: str, tmp_path: Path) -> None:
    """Its file has the right shapes, which ONNX's inference would contradict."""
    torch.manual_seed(0)
    pools = [nn.MaxPool3d(2, 2, padding=1, ceil_mode=True), nn.AvgPool3d(2, 3, ceil_mode=True)]
    network = nn.Sequential(nn.Conv3d(3, 4, 3, padding=1), *pools, nn.Flatten(), nn.Linear(4 * 2 * 3 * 3, 4)).eval()
    clip = torch.randn(1, 3, 7, 15, 15)
    assert network(clip).shape == (1, 4)
    text = """<ir_version: 8, opset_import: ["": 18]> g (float[1,3,7,15,15] x) => (float[1,4] y) {
        c = Conv <pads = [1, 1, 1, 1, 1, 1]> (x, w, b)
        m = MaxPool <kernel_shape = [2, 2, 2], strides = [2, 2, 2], pads = [1, 1, 1, 1, 1, 1], ceil_mode = 1> (c)
        a = AveragePool <kernel_shape = [2, 2, 2], strides = [3, 3, 3], ceil_mode = 1, count_include_pad = 1> (m)
        f = Flatten (a) y = Gemm <transB = 1> (f, fw, fb) }"""
    model = parser.parse_model(text)
    weights = [*network[0].parameters(), *network[-1].parameters()]
    for name, weight in zip(("w", "b", "fw", "fb"), weights, strict=True):
        model.graph.initializer.append(numpy_helper.from_array(weight.detach().numpy(), name))
    maps = network[:2](clip)
    model.graph.value_info.append(onnx.helper.make_tensor_value_info("m", onnx.TensorProto.FLOAT, maps.shape))
    onnx.save(model, tmp_path / "net.onnx")
    clips = {"frames": 7, "crop": 15, "mean": [0.5] * 3, "std": [0.5] * 3, "labels": list("abcd")}
    (tmp_path / "net.json").write_text(json.dumps(clips))
    options = ExportOptions(target=target, precision="fp32", meta=tmp_path / "net.json")
    result = export(tmp_path / "net.onnx", options)
    assert result.verification is not None
    assert result.verification.passed
