"""INT8 through the whole export, of a small network in which one layer was made to lose everything as integers."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper, parser

from s2tf_edge.calibration.audit import Audit, FloatLayer, Tally, audit_graph
from s2tf_edge.calibration.calibration_clips import CalibrationClips
from s2tf_edge.data.datasets import open_data
from s2tf_edge.errors import AccuracyError, UnsupportedError, UsageError, VerificationError
from s2tf_edge.export import TARGETS, ExportOptions, ExportResult, export
from s2tf_edge.export.graph import lowering
from s2tf_edge.export.targets.int8 import matching_layers, obtained_types
from s2tf_edge.export.verify.reference import Reference
from s2tf_edge.models import create_model
from s2tf_edge.models.model_file import save_model
from s2tf_edge.preprocess import preprocess
from s2tf_edge.runtime.open import open_session
from s2tf_edge.runtime.session import Clips
from s2tf_edge.spec import ClipSpec

SPEC = ClipSpec(frames=4, size=16, stride=4)
EVAL = "synthetic?split=test&clips=30"
CALIB: dict[str, Any] = {"calib": "synthetic?clips=20", "calib_clips": 20}
_OPENVINO_PRESETS = ["mixed", "mixed, dense layers alone", "symmetric", "symmetric, dense layers alone"]
_RTX = pytest.param("trt-rtx", marks=pytest.mark.needs_rtx)


def _network(outlier: str, *, spread: float) -> onnx.ModelProto:
    """A network that knows the clips of ``EVAL`` by heart.

    Args:
        outlier: the name of its third convolution.
        spread: how much larger than all others one of this layer's input channels is; its weights are as much smaller.
            In float that changes nothing, and of 256 integers it leaves the other channels one or two.
    """
    model: onnx.ModelProto = parser.parse_model(f"""
        <ir_version: 8, opset_import: ["": 18]>
        net (float[n, 3, 4, 16, 16] clip) => (float[n, 10] logits) {{
          ["a/Conv"] a = Conv <pads = [1, 1, 1, 1, 1, 1], strides = [1, 2, 2]> (clip, wa) ar = Relu (a)
          ["b/Conv"] b = Conv <pads = [1, 1, 1, 1, 1, 1]> (ar, wb) br = Relu (b)
          ["{outlier}"] c = Conv <pads = [1, 1, 1, 1, 1, 1], strides = [1, 2, 2]> (br, wc) cr = Relu (c)
          ["d/Conv"] d = Conv (cr, wd) dr = Relu (d)
          p = GlobalAveragePool (dr) f = Flatten (p) ["fc/Gemm"] logits = Gemm (f, wf, bf)
        }}""")
    random = np.random.default_rng(0)
    shapes = {"wa": (16, 3, 3, 3, 3), "wb": (16, 16, 3, 3, 3), "wc": (32, 16, 3, 3, 3), "wd": (64, 32, 1, 1, 1)}
    weights = {name: random.normal(size=shape) / np.sqrt(np.prod(shape[1:]) / 2) for name, shape in shapes.items()}
    weights["wb"][0] *= spread
    weights["wc"][:, 0] /= spread
    weights |= {"wf": np.zeros((64, 10)), "bf": np.zeros(10)}
    _set(model, weights)
    features, labels = _features(model)
    center = features.mean(axis=0)
    centered = features - center
    # Ridge regression: labels from features.
    weights["wf"] = centered.T @ np.linalg.solve(
        centered @ centered.T + 0.1 * np.eye(len(centered)), np.eye(10)[labels]
    )
    weights["bf"] = -center @ weights["wf"]
    _set(model, weights)
    return model


def _set(model: onnx.ModelProto, weights: dict[str, NDArray[Any]]) -> None:
    del model.graph.initializer[:]
    for name, values in weights.items():
        model.graph.initializer.append(numpy_helper.from_array(values.astype(np.float32), name))


def _features(model: onnx.ModelProto) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """What reaches the last layer, for each clip of ``EVAL``, and the clip's class."""
    inner = onnx.ModelProto.FromString(model.SerializeToString())
    inner.graph.output.append(onnx.helper.make_tensor_value_info("f", onnx.TensorProto.FLOAT, None))
    session = onnxruntime.InferenceSession(inner.SerializeToString(), providers=["CPUExecutionProvider"])
    videos = open_data(EVAL).videos
    clips = np.stack([preprocess(video.read(SPEC), SPEC) for video in videos])
    return np.asarray(session.run(["f"], {"clip": clips})[0], np.float64), np.array([video.label for video in videos])


def _save(folder: Path, model: onnx.ModelProto) -> Path:
    onnx.save(model, folder / "net.onnx")
    clips = {"frames": 4, "stride": 4, "crop": 16, "mean": [0.45] * 3, "std": [0.225] * 3}
    (folder / "net.json").write_text(json.dumps(clips | {"labels": list(open_data("synthetic?clips=1").labels)}))
    return folder / "net.onnx"


@pytest.fixture(scope="module")
def outlier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sensitive layer is one like any other."""
    return _save(tmp_path_factory.mktemp("outlier"), _network("c/Conv", spread=300.0))


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _save(tmp_path_factory.mktemp("sound"), _network("c/Conv", spread=1.0))


def _export(model: Path, folder: Path, target: str, **options: Any) -> ExportResult:
    given = ExportOptions(target=target, precision="int8", out=folder / "a", meta=model.with_suffix(".json"), **CALIB)
    return export(model, dataclasses.replace(given, **options))


def _calib(result: ExportResult) -> dict[str, Any]:
    described: dict[str, Any] = json.loads((result.folder / "calib.json").read_text())
    return described


@pytest.mark.parametrize(
    ("target", "returned"),
    [
        ("openvino", {"c/Conv"}),
        # ONNX Runtime's kernels give integers: what gives the outlier is as bad as what takes it.
        ("onnx", {"b/Conv", "c/Conv"}),
        pytest.param("trt-rtx", {"c/Conv"}, marks=pytest.mark.needs_rtx),
    ],
)
def test_the_gate_returns_what_is_needed_and_nothing_else(
    outlier: Path, tmp_path: Path, target: str, returned: set[str]
) -> None:
    result = _export(outlier, tmp_path, target, eval=EVAL, max_drop=4.0)
    calib, rounds = _calib(result), _calib(result)["accuracy"]
    assert set(calib["returned_to_float"]) == returned
    assert set(result.meta.build["returned_to_float"]) == returned
    assert (rounds[-1]["complaint"], rounds[-1]["n"], rounds[-1]["float_top1"]) == (None, 30, 100.0)
    assert rounds[-1]["drop_points"] <= 4.0
    assert rounds[-1]["layers_in_float"] == len(returned)
    assert all(each["drop_points"] > 50 for each in rounds[:-1])
    assert all("largest error" in attempt["result"] for attempt in calib["attempts"])
    rest = result.meta.precision["audit"]["convolutions"]["rest"]
    assert {layer["layer"] for layer in rest} == returned
    assert all(layer["reason"] and layer["type"] in {"f32", "bf16"} for layer in rest)
    assert result.layers_line() == f"integer: {4 - len(returned)} of 4 convolutions, 1 of 1 matrix products"
    assert len(result.gate_lines()) == 1
    assert result.gate_lines()[0].endswith(": a drop of 0.0 points (-11.4 to 11.4), n = 30")
    assert result.verification is not None
    assert result.verification.passed


def test_the_saliency_path_returns_without_a_layer_being_measured(tmp_path: Path) -> None:
    model = _save(tmp_path, _network("saliency.c/Conv", spread=300.0))
    told: list[int] = []
    given = ExportOptions(target="openvino", precision="int8", out=tmp_path / "a", meta=tmp_path / "net.json")
    options = dataclasses.replace(given, **CALIB, eval=EVAL, max_drop=4.0)
    result = export(model, options, progress=lambda done, total: told.append(total))
    assert _calib(result)["returned_to_float"] == ["saliency.c/Conv"]
    # Calibration clips, those that network and artifact were compared on, and the float form before.
    assert set(told) == {20, 16, 2}


@pytest.mark.parametrize("target", ["openvino", "onnx", _RTX])
def test_a_sound_network_keeps_all_its_integers(sound: Path, tmp_path: Path, target: str) -> None:
    result = _export(sound, tmp_path, target, eval=EVAL, max_drop=4.0)
    calib = _calib(result)
    assert calib["returned_to_float"] == []
    assert [each["layers_in_float"] for each in calib["accuracy"]] == [0]
    assert result.layers_line() == "integer: 4 of 4 convolutions, 1 of 1 matrix products"
    assert {"recipe", "attempts", "method", "activation_ranges", "clips", "sha256", "excluded_layers"} <= set(calib)
    assert result.meta.build["recipe"] == calib["recipe"]
    assert result.meta.build["attempts"] == calib["attempts"]
    fastest = min((each for each in calib["attempts"] if each["ms"]), key=lambda each: float(each["ms"]))
    assert calib["recipe"] == fastest["recipe"]
    if target == "openvino":
        assert [each["recipe"] for each in calib["attempts"]] == _OPENVINO_PRESETS
        assert len(result.tried_lines()) == 4


@pytest.mark.parametrize("target", ["openvino", "onnx"])
def test_without_a_gate_what_does_not_agree_is_no_artifact(outlier: Path, tmp_path: Path, target: str) -> None:
    with pytest.raises(VerificationError, match=r"no int8 form .* agrees with it; try more calibration") as raised:
        _export(outlier, tmp_path, target)
    words = str(raised.value)
    assert words.count("largest error ") == (4 if target == "openvino" else 1)
    assert len(words.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_a_bound_that_cannot_be_met_leaves_no_artifact(outlier: Path, tmp_path: Path) -> None:
    """With the sensitive layer left to integers, whatever else returns."""
    with pytest.raises(AccuracyError, match=r"at most 4 points of top-1; the best found: ") as raised:
        _export(outlier, tmp_path, "onnx", eval=EVAL, max_drop=4.0, exclude=("^a", "^d", "^fc"))
    _, *lines = str(raised.value).splitlines()
    assert [line.partition(" layer")[0][-1] for line in lines] == ["0", "1"]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("target", ["openvino", "onnx", _RTX])
def test_excluded_layers_stay_in_float(sound: Path, tmp_path: Path, target: str) -> None:
    result = _export(sound, tmp_path, target, exclude=("^c/", "d/Conv$"))
    assert _calib(result)["excluded_layers"] == ["c/Conv", "d/Conv"]
    rest = result.meta.precision["audit"]["convolutions"]["rest"]
    assert {layer["layer"] for layer in rest} == {"c/Conv", "d/Conv"}


@pytest.mark.parametrize("target", ["openvino", "onnx", _RTX])
def test_a_wrong_expression_is_found_before_clips_are_read(
    sound: Path, tmp_path: Path, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "s2tf_edge.calibration.calibration_clips.CalibrationClips.__iter__", lambda _clips: pytest.fail("read")
    )
    with pytest.raises(UsageError, match=r"`exclude` 'neck' matches none of the 5 layers, such as a/Conv, b/Conv"):
        _export(sound, tmp_path, target, exclude=("a", "neck"))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("target", ["openvino", "onnx", _RTX])
def test_bytes_in_any_number_become_integers_too(sound: Path, tmp_path: Path, target: str) -> None:
    result = _export(sound, tmp_path, target, input="u8", dynamic_batch=True)
    assert result.verification is not None
    assert result.verification.passed
    assert result.layers_line().startswith("integer: 4 of 4 convolutions")
    if target != "trt-rtx":
        clips = np.random.default_rng(0).integers(0, 256, (3, 4, 16, 16, 3), np.uint8)
        with open_session(result.folder) as session:
            assert session.infer(clips).logits.shape == (3, 10)


@pytest.mark.parametrize("target", ["openvino", "onnx"])
@pytest.mark.parametrize("method", ["entropy", "percentile", "mse"])
def test_ranges_are_chosen_as_asked(sound: Path, tmp_path: Path, target: str, method: str) -> None:
    result = _export(sound, tmp_path, target, calib_method=method, verify=False)
    assert _calib(result)["method"] == method
    assert result.layers_line().startswith("integer: 4 of 4 convolutions")


@pytest.mark.parametrize("target", ["openvino", "onnx", _RTX])
def test_the_sensitive_layer_is_found(outlier: Path, tmp_path: Path, target: str) -> None:
    page = tmp_path / "layers.html"
    result = _export(outlier, tmp_path, target, sensitivity=page, verify=False)
    noises = {each["layer"]: each["snr_db"] for each in _calib(result)["sensitivity"]}
    assert list(noises) == ["a/Conv", "b/Conv", "c/Conv", "d/Conv", "fc/Gemm"]
    assert min(noises, key=lambda name: noises[name]) in ({"b/Conv", "c/Conv"} if target == "onnx" else {"c/Conv"})
    others = [noises[name] for name in ("a/Conv", "d/Conv", "fc/Gemm")]
    assert noises["c/Conv"] + 10 < min(others)
    text = page.read_text()
    assert all(name in text for name in noises)
    assert "sensitivity" in (result.folder / "reproduce.sh").read_text()


def test_no_more_clips_are_decoded_than_are_run(sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[int] = []
    real = CalibrationClips.__iter__

    def count(clips: CalibrationClips) -> Iterator[Clips]:
        decoded.append(0)
        for clip in real(clips):
            decoded[-1] += 1
            yield clip

    monkeypatch.setattr(CalibrationClips, "__iter__", count)
    _export(sound, tmp_path, "onnx", sensitivity=tmp_path / "layers.html", verify=False)
    assert decoded == [20, 4]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["x3d_xs", "s2tf_x3d_xs"])
def test_x3d_becomes_integer_and_what_does_not_compile_is_told(tmp_path: Path, name: str) -> None:
    """On processors with bfloat16, OpenVINO compiles no integer convolution that feeds an asymmetric depthwise one."""
    model = tmp_path / "x.pt"
    save_model(model, create_model(f"{name}?width=0.25", num_classes=10, frames=4, size=32))
    options = ExportOptions(target="openvino", precision="int8", out=tmp_path / "a", **CALIB, input="u8", batch=2)
    result = export(model, options)
    attempts = {each["recipe"]: each for each in _calib(result)["attempts"]}
    assert set(attempts) == {*_OPENVINO_PRESETS, "mixed, dense layers", "symmetric, dense layers"}
    refused = [each["result"] for each in attempts.values() if each["ms"] is None]
    assert all("OpenVINO cannot run model.xml on CPU: " in said or "largest error" in said for said in refused)
    audit = result.meta.precision["audit"]["convolutions"]
    assert audit["integer"] > 50
    assert result.verification is not None
    assert result.verification.passed


@pytest.mark.needs_rtx
def test_an_integer_engine_that_was_deferred_keeps_its_calibration(sound: Path, tmp_path: Path) -> None:
    deferred = _export(sound, tmp_path, "trt-rtx", defer_build=True)
    before = _calib(deferred)
    finished = export(deferred.folder, ExportOptions(target="trt-rtx"))
    assert _calib(finished) == before
    assert finished.meta.precision["asked"] == "int8"
    assert finished.meta.precision["audit"] == deferred.meta.precision["audit"]
    assert finished.layers_line() == "integer: 4 of 4 convolutions, 1 of 1 matrix products"
    assert finished.verification is not None
    assert finished.verification.passed


def test_int8_without_clips_is_refused() -> None:
    from s2tf_edge.export.targets.base import BuildRequest
    from s2tf_edge.export.targets.int8 import openvino_quantizer, qdq_quantizer

    request = BuildRequest(
        graph=Path("g"), network="n", labels=(), spec=SPEC, target=TARGETS["onnx"], precision="int8", folder=Path("f")
    )
    with pytest.raises(UsageError, match="int8 needs calibration clips; give a data set to calibrate with"):
        qdq_quantizer(request, style="onnxruntime")
    with pytest.raises(UsageError, match="int8 needs calibration clips; give a data set to calibrate with"):
        openvino_quantizer(lambda: None, request, inference_precision="default")


def test_expressions_are_searched_in_names() -> None:
    layers = ["stem/Conv", "head/Conv", "fc/Gemm"]
    assert matching_layers(layers, []) == ()
    assert matching_layers(layers, ["Conv"]) == ("stem/Conv", "head/Conv")
    assert matching_layers(layers, ["head", "^head"]) == ("head/Conv",)
    with pytest.raises(UsageError, match="`exclude` 'neck' matches none of the 3 layers, such as stem/Conv, head/Conv"):
        matching_layers(layers, ["head", "neck"])


def test_what_was_obtained_is_counted_as_for_every_precision() -> None:
    rest = tuple(
        FloatLayer(name=str(index), type=kind, reason="r") for index, kind in enumerate(("f32", "bf16", "f32"))
    )
    convolutions = Tally(integer=5, total=8, rest=rest)
    products = Tally(integer=0, total=1, rest=rest[:1])
    none = Tally(integer=0, total=0, rest=())
    assert obtained_types(Audit(convolutions=convolutions, matrix_products=products)) == {
        "Convolution": {"i8": 5, "f32": 2, "bf16": 1},
        "MatMul": {"f32": 1},
    }
    assert obtained_types(Audit(convolutions=none, matrix_products=none)) == {}


@pytest.mark.needs_rtx
def test_the_integer_graph_of_an_engine_is_what_was_judged(sound: Path, tmp_path: Path) -> None:
    result = _export(sound, tmp_path, "trt-rtx", eval=EVAL, max_drop=4.0)
    audit = audit_graph(result.folder / "model.onnx")
    assert (audit.convolutions.integer, audit.matrix_products.integer) == (4, 1)
    assert result.meta.precision["obtained"] == {"Convolution": {"i8": 4}, "MatMul": {"i8": 1}}
    layers = json.loads((result.folder / "layers.json").read_text())["layers"]
    assert sum(layer["kind"] == "Quantize" for layer in layers) == 5
    assert (result.folder / "model.engine").is_file()


@pytest.fixture(scope="module")
def computed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network whose only kernel is made of the clip, so that no quantizer has a constant to make integers of."""
    model = parser.parse_model("""
        <ir_version: 8, opset_import: ["": 18]>
        net (float[1, 3, 4, 16, 16] clip) => (float[1, 10] logits)
        <int64[5] shape = {10, 3, 1, 3, 3}, int64[1] first = {0}, int64[1] last = {270}, int64[1] axis = {0},
         int64[1] flat = {-1}> {
          v = Reshape (clip, flat) s = Slice (v, first, last, axis) w = Reshape (s, shape)
          ["a/Conv"] a = Conv (clip, w) p = GlobalAveragePool (a) logits = Flatten (p)
        }""")
    return _save(tmp_path_factory.mktemp("computed"), model)


@pytest.fixture
def nothing_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clips, those to calibrate on and those to compare on, are not to be read, nor the network to be asked."""
    for name in ("__iter__", "frames", "unseen"):
        monkeypatch.setattr(CalibrationClips, name, lambda *_, **__: pytest.fail("read"))
    monkeypatch.setattr(Reference, "expected", property(lambda _: pytest.fail("asked")))


@pytest.mark.usefixtures("nothing_read")
@pytest.mark.parametrize("target", ["openvino", "onnx", _RTX])
def test_a_network_that_cannot_become_integer_is_no_int8_artifact(computed: Path, tmp_path: Path, target: str) -> None:
    """Which is known before clips are read."""
    reason = "no convolution or matrix product to quantize (of 1 Conv, its weights are computed in the graph)"
    with pytest.raises(UnsupportedError, match=re.escape(reason)):
        _export(computed, tmp_path, target)
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("nothing_read")
@pytest.mark.parametrize("target", ["openvino", "onnx", _RTX])
def test_an_expression_that_excludes_nothing_is_refused(sound: Path, tmp_path: Path, target: str) -> None:
    with pytest.raises(UsageError, match="`exclude` 'neck' matches none of the 5 layers, such as a/Conv, b/Conv"):
        _export(sound, tmp_path, target, exclude=("neck",))
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("nothing_read")
@pytest.mark.parametrize("target", ["openvino", "onnx", _RTX])
def test_an_artifact_of_which_all_is_excluded_is_none(sound: Path, tmp_path: Path, target: str) -> None:
    with pytest.raises(UsageError, match="`exclude` matches all 5 layers that could become integer"):
        _export(sound, tmp_path, target, exclude=("Conv", "Gemm"))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("target", ["openvino", "onnx", _RTX])
def test_what_differs_in_float_is_not_put_down_to_integers(
    sound: Path, tmp_path: Path, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pass that is wrong, by no more than int8 would be allowed; clips are not even read."""

    class Wrong(ir.passes.InPlacePass):
        def call(self, model: ir.Model) -> ir.passes.PassResult:
            weights = model.graph.initializers["wc"]
            assert weights.const_value is not None
            weights.const_value = ir.tensor(weights.const_value.numpy() * np.float32(1.01), name="wc")
            return ir.passes.PassResult(model, modified=True)

    monkeypatch.setattr(lowering, "MergePads", Wrong)
    with monkeypatch.context() as context:
        context.setattr(CalibrationClips, "__iter__", lambda _clips: pytest.fail("read"))
        reason = (
            r"^int8 was not tried, as the float form .* differs already: .*; the first layer that differs is Conv c "
        )
        with pytest.raises(VerificationError, match=reason):
            _export(sound, tmp_path, target)
    assert not list(tmp_path.iterdir())
    unchecked = _export(sound, tmp_path, target, verify=False)
    assert unchecked.layers_line() == "integer: 4 of 4 convolutions, 1 of 1 matrix products"
