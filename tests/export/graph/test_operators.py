"""What becomes of a network's operators on the way from its file to an artifact."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest
import torch
from onnx import numpy_helper
from torch import nn

from s2tf_edge.errors import UnsupportedError
from s2tf_edge.export import ExportOptions, ExportResult, export
from s2tf_edge.export.sources.network import OnnxNetwork, open_network
from s2tf_edge.export.verify.divergence import artifact_layers, find_divergence
from s2tf_edge.models import (
    Backbone,
    BackboneOptions,
    ConvNorm,
    PooledHead,
    StageShape,
    create_model,
    register,
    registry,
)
from s2tf_edge.models.model_file import save_model
from s2tf_edge.spec import ClipSpec

needs_rtx = pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_rtx_bindings") is None, reason="TensorRT-RTX is not installed"
)
_HEAD = "q = GlobalAveragePool ({last}) f = Flatten (q) y = Gemm <transB = 1> (f, fc)"
_CLIPS = {"frames": 4, "stride": 1, "fps": 10, "resize_short_side": 16, "crop": 16}
_COLORS = {"mean": [0.45] * 3, "std": [0.225] * 3, "labels": ["a", "b", "c"]}


def _plain(folder: Path, nodes: str, *, last: str, opset: int = 18, domain: str = "", body: str = "") -> Path:
    """A 3D ConvNet with random weights from elsewhere, and its clip file beside it."""
    domains = f', "{domain}": 1' if domain else ""
    text = f"""<ir_version: 10, opset_import: ["": {opset}{domains}]>
        net (float[N, 3, 4, 16, 16] x) => (float[N, 3] y) {{ {nodes} {_HEAD.format(last=last)} }} {body}"""
    proto = onnx.parser.parse_model(text)
    random = np.random.default_rng(0)
    shapes = {"w0": (8, 3, 3, 3, 3), "w1": (8, 8, 3, 3, 3), "fc": (3, 8)}
    norms = ("scale", "shift", "mean", "variance")
    weights = {name: random.normal(0, np.prod(shape[1:]) ** -0.5, shape) for name, shape in shapes.items()}
    weights |= {name: random.uniform(0.5, 2, 8) for name in norms}
    for name, values in weights.items():
        proto.graph.initializer.append(numpy_helper.from_array(values.astype(np.float32), name))
    path = folder / "net.onnx"
    onnx.save(proto, path)
    (folder / "net.json").write_text(json.dumps(_CLIPS | _COLORS))
    return path


def _export(path: Path, target: str, precision: str = "fp32", **options: object) -> ExportResult:
    out, meta = path.with_name("artifact"), path.with_suffix(".json")
    asked = {"target": target, "precision": precision, "out": out, "meta": meta if meta.exists() else None}
    return export(path, ExportOptions(**asked | options))  # type: ignore[arg-type]  # checked by the class itself


def _operators(folder: Path) -> set[str]:
    return {node.op_type for node in onnx.load(folder / "model.onnx").graph.node}


_NORMED = """
    ["conv0"] c0 = Conv <pads = [1, 1, 1, 1, 1, 1], strides = [1, 2, 2]> (x, w0)
    ["drop"] d0 = Dropout (c0) i0 = Identity (d0)
    ["norm0"] b0 = BatchNormalization (i0, scale, shift, mean, variance) r0 = Relu (b0)
    ["conv1"] c1 = Conv <pads = [1, 1, 1, 1, 1, 1]> (r0, w1)
    ["norm1"] b1 = BatchNormalization (c1, scale, shift, mean, variance) r1 = Relu (b1)"""


@pytest.mark.parametrize(
    ("target", "precision"), [("openvino", "fp32"), pytest.param("trt-rtx", "fp16", marks=needs_rtx)]
)
def test_norms_of_a_plain_graph_are_folded_and_its_layers_found(target: str, precision: str, tmp_path: Path) -> None:
    path = _plain(tmp_path, _NORMED, last="r1")
    result = _export(path, target, precision)
    assert result.verification is not None
    assert result.verification.passed
    source = open_network(path, meta=path.with_suffix(".json"))
    assert isinstance(source, OnnxNetwork)
    kinds = [node.op_type for node in source.graph(batch=1, mask=False).graph]
    assert kinds == ["Conv", "Relu", "Conv", "Relu", "GlobalAveragePool", "Flatten", "Gemm"]
    clip = np.random.default_rng(1).standard_normal(source.spec.input_shape()).astype(np.float32)
    expected, got = source.layers(clip), artifact_layers(result.folder, result.meta, clip)
    assert {"conv0": "Conv", "conv1": "Conv"}.items() <= expected.kinds.items()
    assert {"conv0", "conv1"} <= set(got.kinds)
    assert find_divergence(got, expected, tolerance=0.01).endswith("agrees by itself")
    assert result.meta.precision["obtained"]["Convolution"] == {"f32" if target == "openvino" else "f16": 2}


_ATTENTION = """
    ["stem"] c0 = Conv <pads = [1, 1, 1, 1, 1, 1], strides = [2, 4, 4]> (x, w0)
    s = Constant <value_ints = [0, 1, 8, 32]> () t = Constant <value_ints = [0, 8, 2, 4, 4]> ()
    r = Reshape (c0, s) ["attend/Attention"] a = Attention (r, r, r) u = Reshape (a, t) ["swish/Swish"] z = Swish (u)"""


@needs_rtx
def test_attention_is_written_out_for_tensorrt_rtx(tmp_path: Path) -> None:
    result = _export(_plain(tmp_path, _ATTENTION, last="z", opset=24), "trt-rtx", "fp16")
    assert "Attention" not in _operators(result.folder)
    assert result.meta.custom_ops == {
        "Attention": {"nodes": 1, "lowered": "rewritten by ExpandOperators: the compiler crashes on it"}
    }


_GATED = """
    ["stem"] c0 = Conv <pads = [1, 1, 1, 1, 1, 1]> (x, w0)
    ["gate/Swish"] z = Swish (c0) ["gelu/Gelu"] g = Gelu (z)"""


def test_an_older_opset_has_definitions_of_newer_operators(tmp_path: Path) -> None:
    result = _export(_plain(tmp_path, _GATED, last="g", opset=24), "onnx", opset=18)
    assert result.meta.build["opset"] == 18
    assert not {"Gelu", "Swish"} & _operators(result.folder)
    assert result.meta.custom_ops["Swish"]["lowered"] == "rewritten by ExpandOperators: opset 18 does not have it"
    assert result.verification is not None
    assert result.verification.passed


def test_what_no_converter_takes_back_is_refused(tmp_path: Path) -> None:
    message = r"of opset 24 cannot be converted to opset 18 \(No Adapter To Version \$19 for .*\); leave out `opset`$"
    with pytest.raises(UnsupportedError, match=message):
        _export(_plain(tmp_path, _ATTENTION, last="z", opset=24), "onnx", opset=18)


_DILATED = """
    ["stem/Conv"] c0 = Conv (x, w0)
    ["stage.pool/MaxPool"] p = MaxPool <kernel_shape = [1, 2, 2], dilations = [1, 2, 2]> (c0)"""


@needs_rtx
def test_a_known_refusal_comes_before_the_compiler(tmp_path: Path) -> None:
    page = (Path(__file__).parents[3] / "docs" / "targets.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"^TensorRT-RTX does not take MaxPool .*$", page, flags=re.MULTILINE)
    assert "'stage.pool/MaxPool' of module stage.pool, which takes float32 [1, 8, 2, 14, 14]: " in shown
    with pytest.raises(UnsupportedError, match=rf"^{re.escape(shown)}$") as raised:
        _export(_plain(tmp_path, _DILATED, last="p"), "trt-rtx")
    assert raised.value.exit_code == 3
    assert not (tmp_path / "artifact").exists()


_FOREIGN = """
    ["stem/Conv"] c0 = Conv <pads = [1, 1, 1, 1, 1, 1]> (x, w0)
    ["stage/Gate"] z = my.domain.Gate <slope = 2.0> (c0)"""
_BODY = """<domain: "my.domain", opset_import: ["": 18]> Gate <slope> (x) => (y)
    { a = Constant <value_float: float = @slope> () b = Mul (a, x) s = Sigmoid (b) y = Mul (x, s) }"""


@pytest.mark.parametrize(
    ("target", "precision", "words"),
    [
        ("onnx", "fp32", "kept, with its body"),
        ("openvino", "fp32", "inlined"),
        pytest.param("trt-rtx", "fp16", "inlined", marks=needs_rtx),
    ],
)
def test_an_operator_of_any_domain_may_bring_its_body(target: str, precision: str, words: str, tmp_path: Path) -> None:
    path = _plain(tmp_path, _FOREIGN, last="z", domain="my.domain", body=_BODY)
    result = _export(path, target, precision)
    assert result.meta.custom_ops == {"my.domain::Gate": {"nodes": 1, "lowered": words}}
    assert result.verification is not None
    assert result.verification.passed


class _Pooled(Backbone):
    """Halves height and width by adaptive pools where others have strides."""

    def __init__(self, frames: int, size: int, num_classes: int, *, last: int) -> None:
        super().__init__()
        sides = [size // 2 ** (stage + 1) for stage in range(1, 5)]
        self.stem = ConvNorm(3, 8, kernel=(1, 3, 3), stride=(1, 2, 2))
        stages = [self._stage(side) for side in (*sides[:3], last)]
        self.stages = nn.ModuleList(stages)
        one, two, three, four = (StageShape(8, frames, side) for side in sides)
        self.shapes = (one, two, three, four)
        self.head = PooledHead(8, num_classes, dropout=0.5)

    @staticmethod
    def _stage(side: int) -> nn.Module:
        return nn.Sequential(ConvNorm(8, 8, kernel=(3, 3, 3)), nn.ReLU(), nn.AdaptiveAvgPool3d((None, side, side)))


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_ARCHITECTURES", dict(registry._ARCHITECTURES))
    recipes = {"even": ClipSpec(frames=4, size=64), "ragged": ClipSpec(frames=4, size=64)}

    @register("pooled", recipes=recipes, options=BackboneOptions)
    def build(variant: str, *, options: BackboneOptions, frames: int, size: int, num_classes: int) -> Backbone:
        return _Pooled(frames, size, num_classes, last=2 if variant == "even" else 3)


def _model(folder: Path, name: str) -> Path:
    torch.manual_seed(0)
    save_model(folder / "model.pt", create_model(name, num_classes=3))
    return folder / "model.pt"


@pytest.mark.usefixtures("registered")
def test_adaptive_pools_of_even_windows_are_average_pools(tmp_path: Path) -> None:
    result = _export(_model(tmp_path, "ssf_pooled_even"), "onnx", custom_ops="inline")
    assert result.verification is not None
    assert result.verification.relative_error < 1e-5
    pools = [node for node in onnx.load(result.folder / "model.onnx").graph.node if node.op_type == "AveragePool"]
    assert {"backbone.stages.0.2/AveragePool", "backbone.stages.3.2/AveragePool"} <= {node.name for node in pools}


@pytest.mark.usefixtures("registered")
def test_adaptive_pools_of_ragged_windows_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match=r"cannot be exported to ONNX: .*adaptive"):
        _export(_model(tmp_path, "pooled_ragged"), "onnx")
