from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from s2tf_edge.errors import UnsupportedError, UsageError
from s2tf_edge.export.graph.custom_ops import InlineCustomOps
from s2tf_edge.export.graph.onnx_file import write_graph
from s2tf_edge.export.sources.torch_to_onnx import OPSET, to_onnx
from s2tf_edge.models import create_model
from s2tf_edge.models.model_file import load_model
from s2tf_edge.models.s2tf import VideoNetwork


@pytest.fixture(scope="module")
def graph(model_file: Path, tmp_path_factory: pytest.TempPathFactory) -> onnx.ModelProto:
    path = tmp_path_factory.mktemp("graph") / "model.onnx"
    model = to_onnx(load_model(model_file))
    InlineCustomOps()(model)
    write_graph(model, path)
    return onnx.load(path)


def _logits(path: Path, clips: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(["logits"], {"clip": clips})[0])


def test_one_input_and_one_output_of_fixed_shape(graph: onnx.ModelProto) -> None:
    shapes = {
        value.name: [side.dim_value for side in value.type.tensor_type.shape.dim]
        for value in (*graph.graph.input, *graph.graph.output)
    }
    assert shapes == {"clip": [1, 3, 8, 32, 32], "logits": [1, 10]}
    assert [each.version for each in graph.opset_import if not each.domain] == [OPSET]


def test_nothing_that_inference_does_not_need_is_in_the_graph(graph: onnx.ModelProto, network: VideoNetwork) -> None:
    kinds = [node.op_type for node in graph.graph.node]
    assert not {"Split", "Concat", "Einsum", "Dropout", "Identity"} & set(kinds)
    # The norm of the saliency maps, which follows a ReLU, has no convolution to fold into and is a scale and a shift.
    assert "BatchNormalization" not in kinds
    convolutions = [module for module in network.modules() if isinstance(module, torch.nn.Conv3d)]
    assert kinds.count("Conv") == len(convolutions)


def test_nodes_are_named_after_layers_and_tell_nothing_of_the_machine(graph: onnx.ModelProto) -> None:
    names = [node.name for node in graph.graph.node]
    assert len(set(names)) == len(names)
    assert any(name.startswith("backbone.") and name.endswith("/Conv") for name in names)
    assert not any(node.metadata_props or node.doc_string for node in graph.graph.node)
    assert str(Path(__file__).parents[3]).encode() not in graph.SerializeToString()


def test_metadata_says_what_the_graph_is(graph: onnx.ModelProto, network: VideoNetwork) -> None:
    properties = {each.key: each.value for each in graph.metadata_props}
    assert properties["network"] == network.name
    assert tuple(json.loads(properties["labels"])) == network.labels
    assert json.loads(properties["clip"]) == network.spec.to_dict()


def test_a_dynamic_batch_takes_any_number_of_clips(network: VideoNetwork, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    write_graph(to_onnx(network, batch=None), path)
    (clip,) = onnx.load(path).graph.input
    assert clip.type.tensor_type.shape.dim[0].dim_param == "batch"
    clips = torch.randn(network.spec.input_shape(3), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = network(clips).numpy()
    for batch in (1, 3):
        got = _logits(path, clips[:batch].numpy())
        np.testing.assert_allclose(got, expected[:batch], rtol=0, atol=1e-5 * np.ptp(expected))


def test_the_mask_is_an_output_on_request(network: VideoNetwork, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    write_graph(to_onnx(network, batch=2, mask=True), path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    clips = torch.randn(network.spec.input_shape(2), generator=torch.Generator().manual_seed(0))
    logits, mask = session.run(["logits", "mask"], {"clip": clips.numpy()})
    with torch.inference_mode():
        expected, saliency = network(clips, return_saliency=True)
    np.testing.assert_allclose(logits, expected.numpy(), rtol=0, atol=1e-5 * np.ptp(expected.numpy()))
    assert saliency is not None
    np.testing.assert_allclose(mask, saliency.mask.numpy(), rtol=1e-5)
    assert [each.name for each in session.get_outputs()] == ["logits", "mask"]


def test_a_plain_network_has_no_mask_to_put_out() -> None:
    plain = create_model("r3d_10?width=0.0625&frames=4&size=24", num_classes=2)
    with pytest.raises(UsageError, match="has no saliency mask to put out; leave out `mask`"):
        to_onnx(plain, mask=True)


def test_a_network_that_cannot_be_traced_is_refused(network: VideoNetwork, monkeypatch: pytest.MonkeyPatch) -> None:
    class Unordered(torch.nn.Module):
        def forward(self, clip: torch.Tensor, return_saliency: bool = False) -> torch.Tensor:
            values: torch.Tensor = torch.linalg.eigvals(clip[0, 0, 0])
            return values.real

    monkeypatch.setattr(network, "to_inference", Unordered)
    with pytest.raises(UnsupportedError, match=r"Unordered cannot be exported to ONNX: [^\x1b]*$"):
        to_onnx(network)
