"""A real artifact that is made and opened in no time: mean color over the clip, then one linear layer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from s2tf_edge.data.datasets import open_data
from s2tf_edge.runtime.artifact import ArtifactMeta, sha256, write_meta
from s2tf_edge.spec import ClipSpec


@pytest.fixture(scope="session")
def small_artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ONNX artifact for the classes of the synthetic data, in a folder whose name has a space and an accent."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    labels, spec = open_data("synthetic?clips=1").labels, ClipSpec(frames=4, size=16)
    weights = np.random.default_rng(0).standard_normal((3, len(labels))).astype(np.float32)
    helper, float32 = onnx.helper, onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        [
            helper.make_node("GlobalAveragePool", ["clip"], ["pooled"]),
            helper.make_node("Flatten", ["pooled"], ["color"]),
            helper.make_node("Gemm", ["color", "weights"], ["logits"]),
        ],
        "small",
        [helper.make_tensor_value_info("clip", float32, spec.input_shape())],
        [helper.make_tensor_value_info("logits", float32, (1, len(labels)))],
        [onnx.numpy_helper.from_array(weights, "weights")],
    )
    folder = tmp_path_factory.mktemp("artifacts") / "small é artifact"
    folder.mkdir()
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), folder / "model.onnx"
    )
    meta = ArtifactMeta(
        network="small",
        labels=labels,
        clip=spec,
        target="onnx",
        precision={"asked": "fp32", "inference": "f32", "obtained": {"Gemm": {"f32": 1}}},
        inputs={"clip": {"shape": list(spec.input_shape()), "dtype": "float32"}},
        outputs={"logits": {"shape": [1, len(labels)], "dtype": "float32"}},
        model="model.onnx",
        files={"model.onnx": sha256(folder / "model.onnx")},
    )
    write_meta(meta, folder)
    return folder
