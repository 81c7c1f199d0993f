"""Both kinds of networks to export, and what is none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper, parser

from s2tf_edge.errors import InputFileError, UsageError
from s2tf_edge.export import ExportResult
from s2tf_edge.export.graph.layer_maps import GraphLayers
from s2tf_edge.export.sources.network import OnnxNetwork, SourceNetwork, TorchNetwork, open_network
from s2tf_edge.export.targets.registry import FLOAT_TARGETS
from s2tf_edge.export.verify.divergence import find_divergence
from s2tf_edge.models.s2tf import VideoNetwork
from s2tf_edge.runtime.session import Clips


@pytest.fixture
def normed(plain: Path, tmp_path: Path) -> Path:
    """A ConvNet as it leaves training: a norm behind its convolution, and dropout."""
    path = tmp_path / "normed.ONNX"
    model = parser.parse_model("""
        <ir_version: 8, opset_import: ["": 18]> net (float[1,3,4,16,16] x) => (float[1,5] y) {
          ["stem/conv"] c = Conv (x, w)
          ["stem/norm"] b = BatchNormalization (c, scale, shift, mean, variance)
          d = Dropout (b)
          p = GlobalAveragePool (d) f = Flatten (p) y = Gemm (f, fc)
        }""")
    random = np.random.default_rng(0)
    shapes = {"w": (8, 3, 1, 3, 3), "fc": (8, 5)} | dict.fromkeys(("scale", "shift", "mean", "variance"), (8,))
    for name, shape in shapes.items():
        values = random.uniform(0.5, 1.5, size=shape).astype(np.float32)
        model.graph.initializer.append(numpy_helper.from_array(values, name))
    onnx.save(model, path)
    path.with_suffix(".json").write_bytes(plain.with_suffix(".json").read_bytes())
    return path


def _clips(source: SourceNetwork, count: int = 1) -> NDArray[np.float32]:
    return np.random.default_rng(0).standard_normal(source.spec.input_shape(count)).astype(np.float32)


def _run(model: ir.Model, clips: Clips) -> NDArray[np.float32]:
    content = ir.to_proto(model).SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(["logits"], {"clip": clips})[0])


def _logits(source: SourceNetwork, clips: Clips) -> NDArray[np.float32]:
    with source.session() as session:
        return session.infer(clips).logits


def _assert_is_one_network(source: SourceNetwork) -> None:
    """Its graph, its session and its layers say the same."""
    clips = _clips(source, 2)
    expected = _logits(source, clips)
    assert expected.shape == (2, len(source.labels))
    graph = source.graph(batch=None, mask=False)
    np.testing.assert_allclose(_run(graph, clips), expected, rtol=0, atol=1e-5 * float(np.ptp(expected)))
    layers, found = source.layers(clips[:1]), GraphLayers(graph, clips[:1])
    assert "Conv" in layers.kinds.values()
    assert layers.kinds == found.kinds
    assert find_divergence(found, layers, tolerance=1e-5).endswith("agrees by itself")


def test_a_model_file_is_traced(model_file: Path, network: VideoNetwork) -> None:
    source = open_network(model_file)
    assert isinstance(source, TorchNetwork)
    assert (source.path, source.name, source.has_mask) == (model_file, network.name, True)
    assert (source.labels, source.spec) == (tuple(network.labels), network.spec)
    assert not source.network.training
    assert not source.network.is_inference
    _assert_is_one_network(source)


def test_a_plain_file_is_taken_with_its_description(plain: Path) -> None:
    source = open_network(plain, meta=plain.with_suffix(".json"))
    assert isinstance(source, OnnxNetwork)
    assert (source.path, source.name, source.has_mask) == (plain, "plain net", False)
    assert (source.labels, source.spec.frames, source.spec.size) == (tuple("abcde"), 4, 16)
    assert source.spec.mean == (0.4, 0.5, 0.6)
    _assert_is_one_network(source)


def test_norms_of_a_plain_file_are_folded_and_its_dropout_is_gone(normed: Path) -> None:
    source = open_network(normed, meta=normed.with_suffix(".json"))
    graph = source.graph(batch=None, mask=False).graph
    assert [node.op_type for node in graph] == ["Conv", "GlobalAveragePool", "Flatten", "Gemm"]
    assert graph[0].name == "stem/conv"
    _assert_is_one_network(source)


@pytest.mark.parametrize("batch", [None, 2])
def test_an_onnx_artifact_is_a_network_again(
    export_plain: Callable[..., ExportResult], plain: Path, batch: int | None
) -> None:
    result = export_plain("onnx", dynamic_batch=batch is None, batch=batch or 1)
    source = open_network(result.folder, float_targets=FLOAT_TARGETS)
    original = open_network(plain, meta=plain.with_suffix(".json"))
    assert isinstance(source, OnnxNetwork)
    assert (source.name, source.labels, source.spec) == (original.name, original.labels, original.spec)
    assert source.given == result.folder
    assert source.graph(batch=batch, mask=False).metadata_props["network"] == "plain net"
    clips = _clips(source)
    np.testing.assert_array_equal(
        _run(source.graph(batch=1, mask=False), clips), _run(original.graph(batch=1, mask=False), clips)
    )
    _assert_is_one_network(source)


def test_a_plain_file_has_no_mask(plain: Path) -> None:
    source = open_network(plain, meta=plain.with_suffix(".json"))
    with pytest.raises(UsageError, match=r"plain net\.onnx has no saliency mask to put out; leave out `mask`"):
        source.graph(batch=1, mask=True)


def test_a_plain_file_must_be_described_and_nothing_else_may_be(
    plain: Path, model_file: Path, export_plain: Callable[..., ExportResult]
) -> None:
    meta = plain.with_suffix(".json")
    with pytest.raises(
        UsageError, match=r"plain net\.onnx does not say what clips it takes; give `meta=FILE\.json` with"
    ):
        open_network(plain)
    artifact = export_plain("onnx").folder
    for path in (model_file, artifact):
        with pytest.raises(UsageError, match=r"`meta` describes a plain \.onnx file; .* describes itself, so leave it"):
            open_network(path, meta=meta)


@pytest.mark.parametrize(
    "options", [{"precision": "fp16"}, {"input": "u8"}, {"target": "openvino"}], ids=["fp16", "u8", "openvino"]
)
def test_an_artifact_whose_graph_was_changed_is_none(
    export_plain: Callable[..., ExportResult], options: dict[str, str]
) -> None:
    fields = {"target": "onnx", "precision": "fp32"} | options
    folder = export_plain(**fields).folder
    with pytest.raises(InputFileError, match=r"keeps no float32 graph .*; give the model it was made from \(plain net"):
        open_network(folder, float_targets=FLOAT_TARGETS)


def test_an_artifact_that_was_changed_is_none(export_plain: Callable[..., ExportResult]) -> None:
    folder = export_plain("onnx").folder
    graph = folder / "model.onnx"
    graph.write_bytes(graph.read_bytes() + b"\0")
    with pytest.raises(InputFileError, match=r"model\.onnx"):
        open_network(folder, float_targets=FLOAT_TARGETS)


def test_what_is_no_network_is_told(tmp_path: Path, plain: Path) -> None:
    with pytest.raises(InputFileError, match="is not an artifact folder"):
        open_network(tmp_path, float_targets=FLOAT_TARGETS)
    with pytest.raises(InputFileError, match=r"cannot read .*none\.onnx: No such file"):
        open_network(tmp_path / "none.onnx", meta=plain.with_suffix(".json"))
    with pytest.raises(InputFileError, match=r"none\.pt"):
        open_network(tmp_path / "none.pt")
    (tmp_path / "text.pt").write_text("no network")
    with pytest.raises(InputFileError, match=r"text\.pt"):
        open_network(tmp_path / "text.pt")


def test_the_network_is_compared_as_it_was_trained(model_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mistake in rewriting for inference is to show in the graph and not in the reference."""
    source = open_network(model_file)
    clips = _clips(source)
    expected = _logits(source, clips)
    honest = VideoNetwork.to_inference

    def wrong(network: VideoNetwork) -> VideoNetwork:
        inference = honest(network)
        next(iter(inference.parameters())).data += 1
        return inference

    monkeypatch.setattr(VideoNetwork, "to_inference", wrong)
    np.testing.assert_array_equal(_logits(source, clips), expected)
    error = np.abs(_run(source.graph(batch=1, mask=False), clips) - expected).max()
    assert error > 1e-3 * np.ptp(expected)
