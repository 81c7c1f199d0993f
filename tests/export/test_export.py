from __future__ import annotations

import dataclasses
import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray

from s2tf_edge.calibration.clip_choice import choose_clips
from s2tf_edge.data.datasets import open_data
from s2tf_edge.data.labeled import LabeledVideos
from s2tf_edge.errors import InputFileError, UnsupportedError, UsageError, VerificationError
from s2tf_edge.export import ExportOptions, ExportPlan, ExportResult, export, plan_export
from s2tf_edge.export.sources.network import TorchNetwork
from s2tf_edge.export.verify.reference import Reference, verify_export
from s2tf_edge.export.verify.seeded_clips import seeded_clips
from s2tf_edge.models import create_model
from s2tf_edge.models.model_file import load_model, save_model
from s2tf_edge.models.s2tf import VideoNetwork
from s2tf_edge.preprocess import preprocess
from s2tf_edge.runtime.artifact import ArtifactMeta, check_files, read_meta, sha256
from s2tf_edge.runtime.backends import torch_session
from s2tf_edge.runtime.backends.telemetry import require_without_telemetry
from s2tf_edge.runtime.backends.tensorrt_library import EngineLog, has_gpu, load_tensorrt
from s2tf_edge.runtime.open import open_session
from s2tf_edge.spec import ClipSpec

_CUSTOM_OPS = {
    "ai.s2tf::SaliencyMining": 3,
    "ai.s2tf::FeaturePreserving": 2,
    "ai.s2tf::TemporalFusion": 1,
}
"""Nodes of the network's own modules."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("artifacts")


@pytest.fixture(scope="module")
def onnx_fp32(model_file: Path, folder: Path) -> ExportResult:
    return export(model_file, ExportOptions(target="onnx", out=folder / "onnx", dynamic_batch=True, mask=True))


@pytest.fixture(scope="module")
def openvino_fp32(model_file: Path, folder: Path) -> ExportResult:
    return export(model_file, ExportOptions(target="openvino", precision="fp32", out=folder / "fp32", mask=True))


@pytest.fixture(scope="module")
def rtx_fp16(model_file: Path, folder: Path) -> ExportResult:
    return export(model_file, ExportOptions(target="trt-rtx", out=folder / "rtx", mask=True, input="u8"))


@pytest.fixture(scope="module")
def int8(model_file: Path, folder: Path, videos: LabeledVideos) -> ExportResult:
    given: dict[str, Any] = {"calib": videos, "calib_clips": len(videos), "exclude": (r"saliency\.",)}
    return export(model_file, ExportOptions(target="openvino", precision="int8", out=folder / "int8", **given))


def test_an_artifact_describes_itself(onnx_fp32: ExportResult, model_file: Path, network: VideoNetwork) -> None:
    meta = read_meta(onnx_fp32.folder)
    assert meta == onnx_fp32.meta
    assert (meta.network, meta.labels, meta.clip) == (network.name, network.labels, network.spec)
    assert (meta.target, meta.precision["asked"], meta.precision["inference"]) == ("onnx", "fp32", "f32")
    assert meta.inputs["clip"] == {"shape": [None, 3, 8, 32, 32], "dtype": "float32"}
    assert meta.outputs == {
        "logits": {"shape": [None, 10], "dtype": "float32"},
        "mask": {"shape": [None, 1, 1, 1, 1], "dtype": "float32"},
    }
    assert meta.custom_ops == {
        name: {"nodes": count, "lowered": "kept, with its body"} for name, count in _CUSTOM_OPS.items()
    }
    assert meta.build["macs"] > 1e6
    assert meta.source == {"file": model_file.name, "sha256": sha256(model_file)}
    assert list(meta.files) == ["model.onnx", "reproduce.sh", "verify.json"]
    assert meta.build["seconds"] > 0
    assert {"torch", "onnx"} <= set(meta.versions)
    check_files(meta, onnx_fp32.folder)


def _described(meta: ArtifactMeta) -> dict[str, Any]:
    """What a model file says of itself."""
    return {"network": meta.network, "labels": list(meta.labels), "clip": meta.clip.to_dict()}


@pytest.mark.parametrize("name", ["onnx_fp32", pytest.param("rtx_fp16", marks=pytest.mark.needs_rtx)])
def test_onnx_tools_load_its_graph_untouched(name: str, request: pytest.FixtureRequest) -> None:
    result: ExportResult = request.getfixturevalue(name)
    path = result.folder / "model.onnx"
    onnx.checker.check_model(path, full_check=True)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    found = {value.name: value.shape for value in (*session.get_inputs(), *session.get_outputs())}
    described = {**result.meta.inputs, **result.meta.outputs}
    assert found == {key: [side or "batch" for side in value["shape"]] for key, value in described.items()}
    properties = session.get_modelmeta().custom_metadata_map
    assert {
        key: properties[key] if key == "network" else json.loads(properties[key]) for key in properties
    } == _described(result.meta)


def test_openvino_loads_its_model_untouched(openvino_fp32: ExportResult) -> None:
    openvino: Any = require_without_telemetry("openvino", extra="export", purpose="this test")
    network = openvino.Core().read_model(openvino_fp32.folder / "model.xml")
    assert [value.get_any_name() for value in (*network.inputs, *network.outputs)] == ["clip", "logits", "mask"]
    assert [list(value.shape) for value in network.outputs] == [[1, 10], [1, 1, 1, 1, 1]]
    for key, value in _described(openvino_fp32.meta).items():
        text = network.get_rt_info(["s2tf_edge", key]).astype(str)
        assert (text if key == "network" else json.loads(text)) == value


@pytest.mark.needs_rtx
def test_tensorrt_parses_the_graph_and_the_engine_is_nothing_but_an_engine(rtx_fp16: ExportResult) -> None:
    library = load_tensorrt("trt-rtx", purpose="this test")
    log = EngineLog(library)
    builder = library.module.Builder(log.listener)
    network = builder.create_network(1 << int(library.module.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = library.module.OnnxParser(network, log.listener)
    assert parser.parse_from_file(str(rtx_fp16.folder / "model.onnx"))
    names = {network.get_output(index).name: tuple(network.get_output(index).shape) for index in range(2)}
    assert names == {"logits": (1, 10), "mask": (1, 1, 1, 1, 1)}
    engine = (rtx_fp16.folder / "model.engine").read_bytes()
    config = builder.create_builder_config()
    assert rtx_fp16.meta.build["engine"]["size_bytes"] == len(engine)
    assert bytes(builder.build_serialized_network(network, config))[:4] == engine[:4]


def _refusal(engine: bytes) -> str:
    """Why TensorRT-RTX does not load an engine here."""
    library = load_tensorrt("trt-rtx", purpose="this test")
    log = EngineLog(library)
    assert library.module.Runtime(log.listener).deserialize_cuda_engine(engine) is None
    return log.errors[0]


@pytest.mark.needs_rtx
@pytest.mark.skipif(has_gpu(), reason="there is a GPU")
def test_an_engine_is_refused_for_want_of_a_gpu_and_for_nothing_else(rtx_fp16: ExportResult) -> None:
    """Its header holds its size: whatever is glued on is found out before a GPU is looked for."""
    engine = (rtx_fp16.folder / "model.engine").read_bytes()
    assert "(cudaError " in _refusal(engine)
    assert "Serialization" not in _refusal(engine)
    for changed in (b"{}" + engine, engine + b"{}", engine[:-1]):
        assert "Serialization assertion" in _refusal(changed)
    with pytest.raises(UnsupportedError, match="there is no NVIDIA GPU here"):
        open_session(rtx_fp16.folder).open()


@pytest.mark.parametrize("name", ["onnx_fp32", "openvino_fp32", "int8"])
def test_it_agrees_with_the_network(name: str, network: VideoNetwork, request: pytest.FixtureRequest) -> None:
    result: ExportResult = request.getfixturevalue(name)
    assert result.verification is not None
    assert result.verification.passed
    unseen = open_data("synthetic?clips=4&split=test").videos
    clips = np.stack([preprocess(video.read(network.spec), network.spec) for video in unseen]).astype(np.float32)
    with torch.inference_mode():
        expected, saliency = network(torch.from_numpy(clips), return_saliency=True)
    with open_session(result.folder) as session:
        got = session.infer(clips)
    assert np.abs(got.logits - expected.numpy()).max() < (0.1 if name == "int8" else 1e-4) * float(
        expected.max() - expected.min()
    )
    if name == "int8":
        assert got.mask is None
    else:
        assert got.mask is not None
        assert saliency is not None
        np.testing.assert_allclose(got.mask, saliency.mask.numpy(), rtol=1e-4)
    assert json.loads((result.folder / "verify.json").read_text())["passed"] is True


def test_int8_counts_its_integer_layers(int8: ExportResult, network: VideoNetwork) -> None:
    types = int8.meta.precision["obtained"]["Convolution"]
    outside = [name for name, each in network.named_modules() if isinstance(each, torch.nn.Conv3d)]
    outside = [name for name in outside if not name.startswith("saliency.")]
    integers = sum(count for kind, count in types.items() if kind in {"i8", "u8"})
    assert integers == len(outside)
    assert int8.layers_line().startswith(
        f"integer: {integers} of {sum(types.values())} convolutions, 1 of 1 matrix products"
    )


def test_int8_says_what_it_was_calibrated_on(int8: ExportResult, videos: LabeledVideos) -> None:
    calib = json.loads((int8.folder / "calib.json").read_text())
    assert (calib["data"], calib["count"], calib["skipped"]) == (videos.name, len(videos), {})
    assert {clip["video"] for clip in calib["clips"]} == {video.name for video in videos.videos}
    assert calib["excluded_layers"]
    assert all(name.startswith("saliency.") for name in calib["excluded_layers"])
    assert calib["attempts"][-1]["result"] == "ok"
    assert len(calib["activation_ranges"]) >= sum(int8.meta.precision["obtained"]["Convolution"].values()) // 2
    assert int8.verification is not None
    assert int8.verification.clips == "unseen"


@dataclass(frozen=True, kw_only=True)
class _Noise:
    """A video of noise, as strong as asked for."""

    name: str
    contrast: int
    """Largest distance of a value from middle gray."""
    label: int = 0

    def read(self, spec: ClipSpec, *, at: float = 0.5) -> NDArray[np.uint8]:
        side = spec.resize_short_side
        random = np.random.default_rng(int(at * 1e6))
        low, high = 115 - self.contrast, 115 + self.contrast
        return random.integers(low, high, (spec.frames, side, side, 3), np.uint8, endpoint=True)

    def room(self, spec: ClipSpec) -> float:
        del spec
        return 0.0


def test_int8_ranges_that_cut_off_other_videos_fail(tmp_path: Path) -> None:
    """The calibration videos are nearly gray, those that are left over are not."""
    save_model(tmp_path / "plain.pt", create_model("r3d_10?width=0.125", num_classes=10, frames=4, size=24))
    gray = LabeledVideos(name="n", labels=("a",), videos=[_Noise(name=f"{i}", contrast=3) for i in range(8)])
    chosen = {each.video.name for each in choose_clips(gray, ClipSpec(frames=4, size=24), count=4)}
    mixed = [_Noise(name=f"{i}", contrast=3 if f"{i}" in chosen else 110) for i in range(8)]
    data = dataclasses.replace(gray, videos=mixed)
    options = ExportOptions(target="openvino", precision="int8", calib=data, calib_clips=4, out=tmp_path / "a")
    with pytest.raises(VerificationError, match=r"no int8 form of this network agrees with it; try more cal"):
        export(tmp_path / "plain.pt", options)
    assert export(tmp_path / "plain.pt", dataclasses.replace(options, calib=gray)).verification is not None


def test_only_calibration_data_with_a_name_can_be_made_again(
    int8: ExportResult, model_file: Path, videos: LabeledVideos
) -> None:
    assert not (int8.folder / "reproduce.sh").exists()
    options = ExportOptions(target="openvino", precision="int8", calib=videos)
    nameless = plan_export(model_file, options)
    assert isinstance(nameless, ExportPlan)
    assert nameless.command() is None
    plan = plan_export(model_file, dataclasses.replace(options, calib="synthetic?clips=20"))
    assert isinstance(plan, ExportPlan)
    command = plan.command()
    assert command is not None
    assert command[command.index("--calib") + 1] == "synthetic?clips=20"
    assert plan.calib is not None
    assert len(plan.calib) == len(videos)


def test_the_network_runs_on_the_cpu_to_be_compared(
    model_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A GPU would compute in TF32; in its place stands PyTorch's device that computes nothing."""
    monkeypatch.setattr(torch_session, "_device", lambda name: torch.device("cpu" if name == "CPU" else "meta"))
    result = export(model_file, ExportOptions(target="openvino", precision="fp32", out=tmp_path / "a"))
    assert result.verification is not None
    assert result.verification.passed


def test_fp16_halves_the_weights(onnx_fp32: ExportResult, openvino_fp32: ExportResult, tmp_path: Path) -> None:
    result = export(onnx_fp32.folder, ExportOptions(target="openvino", out=tmp_path / "fp16"))
    sizes = [(folder / "model.bin").stat().st_size for folder in (result.folder, openvino_fp32.folder)]
    assert sizes[0] < 0.6 * sizes[1]
    assert result.meta.precision["inference"] == "default"
    assert openvino_fp32.meta.precision["obtained"]["Convolution"].keys() == {"f32"}


@pytest.mark.slow
def test_reproduce_makes_the_same_model_again(openvino_fp32: ExportResult) -> None:
    text = (openvino_fp32.folder / "reproduce.sh").read_text()
    before = sha256(openvino_fp32.folder / "model.bin")
    console_script = "import sys; from s2tf_edge.cli.export import main; sys.argv[0] = 's2tf-export'; main()"
    text = text.replace("exec s2tf-export", f'exec "{sys.executable}" -c "{console_script}"')
    subprocess.run(["sh", "-c", text], check=True, capture_output=True)
    assert sha256(openvino_fp32.folder / "model.bin") == before


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (0, r"does not agree with .*each of the \d+ layers that both have by name agrees by itself"),
        (np.nan, r"does not agree with .*: logits are not finite; each of the \d+ layers .* agrees by itself"),
    ],
)
def test_a_network_that_lost_its_meaning_leaves_no_artifact(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, weight: float, message: str
) -> None:
    model_file = tmp_path / "plain.pt"
    save_model(model_file, create_model("r3d_10?width=0.125", num_classes=10, frames=4, size=24))
    honest = VideoNetwork.to_inference

    def wrong(network: VideoNetwork) -> VideoNetwork:
        inference = honest(network)
        head = next(module for module in inference.modules() if isinstance(module, torch.nn.Linear))
        torch.nn.init.constant_(head.weight, weight)
        return inference

    monkeypatch.setattr(VideoNetwork, "to_inference", wrong)
    with pytest.raises(VerificationError, match=message):
        export(model_file, ExportOptions(target="onnx", out=tmp_path / "a"))
    assert list(tmp_path.iterdir()) == [model_file]


@pytest.mark.parametrize("name", ["onnx_fp32", "openvino_fp32", pytest.param("rtx_fp16", marks=pytest.mark.needs_rtx)])
def test_the_first_diverging_layer_is_named(
    name: str, model_file: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    result: ExportResult = request.getfixturevalue(name)
    network = load_model(model_file)
    paths = [name for name, each in network.named_modules() if isinstance(each, torch.nn.Conv3d)]
    clips = seeded_clips(network.spec, count=1)
    source = TorchNetwork(model_file, network)
    precision = str(result.meta.precision["asked"])
    # A new one for the changed network, as a reference asks once.
    reference, changed = (Reference(source=source, precision=precision, clips=clips, kind="seeded") for _ in range(2))
    # Verifying writes into the folder, which other tests read too.
    first, second = (Path(shutil.copytree(result.folder, tmp_path / each)) for each in ("a", "b"))
    assert verify_export(reference, first, result.meta).passed
    convolution = network.get_submodule(paths[5])
    assert isinstance(convolution.weight, torch.nn.Parameter)
    with torch.no_grad():
        convolution.weight.mul_(1.5)
    with pytest.raises(
        VerificationError, match=rf"the first layer that differs is Conv {re.escape(paths[5])}/Conv \(error "
    ):
        verify_export(changed, second, result.meta)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": "tpu"}, "no target 'tpu'; there are: onnx with fp32, fp16, int8 or auto; openvino with"),
        ({"target": "onnx", "precision": "bf16"}, "no target 'onnx' with precision 'bf16'; there are: onnx with fp32"),
        ({"target": "openvino", "precision": "int8"}, "int8 needs clips to calibrate with; give `calib=DATA`"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(model_file: Path, options: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        plan_export(model_file, ExportOptions(**options))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("target", "form", "lowered"),
    [
        ("onnx", "inline", "inlined"),
        ("openvino", "auto", "inlined"),
        pytest.param("trt-rtx", "keep", "kept, with its body", marks=pytest.mark.needs_rtx),
    ],
)
def test_custom_operators_are_kept_or_inlined(
    onnx_fp32: ExportResult, tmp_path: Path, target: str, form: str, lowered: str
) -> None:
    """The onnx artifact keeps them, and so serves as the source."""
    options = ExportOptions(target=target, precision="fp32", custom_ops=form, out=tmp_path / "a", batch=2)
    result = export(onnx_fp32.folder, options)
    assert result.verification is not None
    assert result.verification.passed
    assert result.meta.custom_ops == {name: {"nodes": count, "lowered": lowered} for name, count in _CUSTOM_OPS.items()}
    if target != "openvino":
        graph = onnx.load(result.folder / "model.onnx")
        counts = Counter(f"{node.domain}::{node.op_type}" for node in graph.graph.node if node.domain)
        assert counts == (_CUSTOM_OPS if form == "keep" else {})


def test_another_opset_inlines_what_has_a_body(onnx_fp32: ExportResult, tmp_path: Path) -> None:
    result = export(onnx_fp32.folder, ExportOptions(target="onnx", opset=21, out=tmp_path / "a"))
    assert result.meta.build["opset"] == 21
    assert {each["lowered"] for each in result.meta.custom_ops.values()} == {"inlined"}
    assert not onnx.load(result.folder / "model.onnx").functions
    assert result.verification is not None
    assert result.verification.passed


def test_an_artifact_without_its_float32_graph_is_no_model(openvino_fp32: ExportResult, tmp_path: Path) -> None:
    with pytest.raises(
        InputFileError, match=r"keeps no float32 graph .*give the model it was made from \(small é\.pt\)"
    ):
        plan_export(openvino_fp32.folder, ExportOptions(target="onnx"))
    with pytest.raises(InputFileError, match="is not an artifact folder"):
        plan_export(tmp_path, ExportOptions(target="openvino"))


def test_the_default_folder_lies_beside_the_model(model_file: Path) -> None:
    plan = plan_export(model_file, ExportOptions(target="openvino"))
    assert plan.folder == model_file.with_name("small é_openvino_fp16")
    assert not plan.folder.exists()
