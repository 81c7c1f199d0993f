from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from s2tf_edge.errors import UnsupportedError
from s2tf_edge.export.to_onnx import OPSET, write_onnx
from s2tf_edge.models.model_file import load_model
from s2tf_edge.models.s2tf import VideoNetwork


@pytest.fixture(scope="module")
def graph(model_file: Path, tmp_path_factory: pytest.TempPathFactory) -> onnx.ModelProto:
    path = tmp_path_factory.mktemp("graph") / "model.onnx"
    write_onnx(load_model(model_file), path)
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
    # Only the norm of the saliency maps, which follows a ReLU, has no convolution to fold into.
    assert kinds.count("BatchNormalization") == 3
    convolutions = [module for module in network.modules() if isinstance(module, torch.nn.Conv3d)]
    assert kinds.count("Conv") == len(convolutions)


def test_nodes_are_named_after_layers_and_tell_nothing_of_the_machine(graph: onnx.ModelProto) -> None:
    names = [node.name for node in graph.graph.node]
    assert len(set(names)) == len(names)
    assert any(name.startswith("backbone.") and name.endswith("/Conv") for name in names)
    assert not any(node.metadata_props or node.doc_string for node in graph.graph.node)
    assert str(Path(__file__).parents[2]).encode() not in graph.SerializeToString()


def test_metadata_says_what_the_graph_is(graph: onnx.ModelProto, network: VideoNetwork) -> None:
    properties = {each.key: each.value for each in graph.metadata_props}
    assert properties["network"] == network.name
    assert tuple(json.loads(properties["labels"])) == network.labels
    assert json.loads(properties["clip"]) == network.spec.to_dict()


def test_a_dynamic_batch_takes_any_number_of_clips(network: VideoNetwork, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    write_onnx(network, path, dynamic_batch=True)
    clips = torch.randn(network.spec.input_shape(3), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = network(clips).numpy()
    for batch in (1, 3):
        got = _logits(path, clips[:batch].numpy())
        np.testing.assert_allclose(got, expected[:batch], rtol=0, atol=1e-5 * np.ptp(expected))


def test_a_network_that_cannot_be_traced_is_refused(
    network: VideoNetwork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Unordered(torch.nn.Module):
        def forward(self, clip: torch.Tensor) -> torch.Tensor:
            values: torch.Tensor = torch.linalg.eigvals(clip[0, 0, 0])
            return values.real

    monkeypatch.setattr(network, "to_inference", Unordered)
    with pytest.raises(UnsupportedError, match=r"Unordered cannot be exported to ONNX"):
        write_onnx(network, tmp_path / "model.onnx")
