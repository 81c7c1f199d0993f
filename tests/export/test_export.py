from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray

from s2tf_edge.calibration.clips import choose_clips
from s2tf_edge.data.datasets import open_data
from s2tf_edge.data.labelled import LabelledVideos
from s2tf_edge.errors import InputFileError, UsageError, VerificationError
from s2tf_edge.export import ExportOptions, ExportResult, export, plan_export
from s2tf_edge.models import create_model
from s2tf_edge.models.model_file import load_model, save_model
from s2tf_edge.models.s2tf import VideoNetwork
from s2tf_edge.preprocess import preprocess
from s2tf_edge.runtime.artifact import check_files, read_meta, sha256
from s2tf_edge.runtime.backends import torch_session
from s2tf_edge.runtime.backends.telemetry import require_without_telemetry
from s2tf_edge.runtime.session import open_session
from s2tf_edge.spec import ClipSpec


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("artifacts")


@pytest.fixture(scope="module")
def onnx_fp32(model_file: Path, folder: Path) -> ExportResult:
    return export(model_file, ExportOptions(target="onnx", out=folder / "onnx", dynamic_batch=True))


@pytest.fixture(scope="module")
def openvino_fp32(model_file: Path, folder: Path) -> ExportResult:
    return export(model_file, ExportOptions(target="openvino", precision="fp32", out=folder / "fp32"))


@pytest.fixture(scope="module")
def int8(model_file: Path, folder: Path, videos: LabelledVideos) -> ExportResult:
    out = folder / "int8"
    return export(
        model_file, ExportOptions(target="openvino", precision="int8", out=out, calib=videos, exclude=(r"saliency\.",))
    )


def test_an_artifact_describes_itself(onnx_fp32: ExportResult, model_file: Path, network: VideoNetwork) -> None:
    meta = read_meta(onnx_fp32.folder)
    assert meta == onnx_fp32.meta
    assert (meta.network, meta.labels, meta.clip) == (network.name, network.labels, network.spec)
    assert (meta.target, meta.precision["asked"], meta.precision["inference"]) == ("onnx", "fp32", "f32")
    assert meta.inputs["clip"] == {"shape": [None, 3, 8, 32, 32], "dtype": "float32"}
    assert meta.outputs["logits"] == {"shape": [None, 10], "dtype": "float32"}
    assert meta.source == {"file": model_file.name, "sha256": sha256(model_file)}
    assert list(meta.files) == ["model.onnx", "reproduce.sh", "verify.json"]
    assert meta.build["seconds"] > 0
    assert {"torch", "onnx"} <= set(meta.versions)
    check_files(meta, onnx_fp32.folder)


def test_its_model_is_what_vendors_tools_load(onnx_fp32: ExportResult, openvino_fp32: ExportResult) -> None:
    onnx.checker.check_model(onnx_fp32.folder / "model.onnx", full_check=True)
    openvino: Any = require_without_telemetry("openvino", extra="export", purpose="this test")
    network = openvino.Core().read_model(openvino_fp32.folder / "model.xml")
    assert [value.get_any_name() for value in (*network.inputs, *network.outputs)] == ["clip", "logits"]
    assert json.loads(network.get_rt_info(["s2tf_edge", "labels"]).astype(str)) == list(openvino_fp32.meta.labels)


@pytest.mark.parametrize("name", ["onnx_fp32", "openvino_fp32", "int8"])
def test_it_agrees_with_the_network(name: str, network: VideoNetwork, request: pytest.FixtureRequest) -> None:
    result: ExportResult = request.getfixturevalue(name)
    assert result.verification is not None
    assert result.verification.passed
    unseen = open_data("synthetic?clips=4&split=test").videos
    clips = np.stack([preprocess(video.read(network.spec), network.spec) for video in unseen]).astype(np.float32)
    with torch.inference_mode():
        expected = network(torch.from_numpy(clips)).numpy()
    with open_session(result.folder) as session:
        got = session.infer(clips).logits
    assert np.abs(got - expected).max() < (0.1 if name == "int8" else 1e-4) * np.ptp(expected)
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


def test_int8_says_what_it_was_calibrated_on(int8: ExportResult, videos: LabelledVideos) -> None:
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
    """A video of noise, as bright as asked for."""

    name: str
    brightness: int
    label: int = 0

    def read(self, spec: ClipSpec, *, at: float = 0.5) -> NDArray[np.uint8]:
        side = spec.resize_short_side
        random = np.random.default_rng(int(at * 1e6))
        return random.integers(0, self.brightness, (spec.frames, side, side, 3), np.uint8, endpoint=True)


def test_int8_ranges_that_cut_off_other_videos_fail(tmp_path: Path) -> None:
    """The calibration videos are dark, those that are left over are bright."""
    save_model(tmp_path / "plain.pt", create_model("r3d_10?width=0.125", num_classes=10, frames=4, size=24))
    dark = LabelledVideos(name="n", labels=("a",), videos=[_Noise(name=f"{i}", brightness=20) for i in range(8)])
    chosen = {each.video.name for each in choose_clips(dark, count=4)}
    mixed = [_Noise(name=f"{i}", brightness=20 if f"{i}" in chosen else 255) for i in range(8)]
    data = dataclasses.replace(dark, videos=mixed)
    options = ExportOptions(target="openvino", precision="int8", calib=data, calib_clips=4, out=tmp_path / "a")
    with pytest.raises(VerificationError, match=r"does not agree with plain\.pt.*try more calibration clips or"):
        export(tmp_path / "plain.pt", options)
    assert export(tmp_path / "plain.pt", dataclasses.replace(options, calib=dark)).verification is not None


def test_only_calibration_data_with_a_name_can_be_made_again(
    int8: ExportResult, model_file: Path, videos: LabelledVideos
) -> None:
    assert not (int8.folder / "reproduce.sh").exists()
    options = ExportOptions(target="openvino", precision="int8", calib=videos)
    assert plan_export(model_file, options).command() is None
    plan = plan_export(model_file, dataclasses.replace(options, calib="synthetic?clips=20"))
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


def test_fp16_halves_the_weights(model_file: Path, openvino_fp32: ExportResult, tmp_path: Path) -> None:
    result = export(model_file, ExportOptions(target="openvino", out=tmp_path / "fp16"))
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
        (0, r"does not agree with .*every convolution agrees by itself"),
        (np.nan, r"does not agree with .*: logits are not finite; every convolution agrees by itself"),
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


def test_the_first_diverging_layer_is_named(model_file: Path, openvino_fp32: ExportResult, folder: Path) -> None:
    from s2tf_edge.export.layers import first_diverging_layer
    from s2tf_edge.export.parity import seeded_clips

    network = load_model(model_file)
    paths = [name for name, each in network.named_modules() if isinstance(each, torch.nn.Conv3d)]
    (clip,) = seeded_clips(network.spec, count=1)

    def search() -> str | None:
        meta = openvino_fp32.meta
        return first_diverging_layer(network, openvino_fp32.folder, meta=meta, clip=clip, tolerance=1e-3)

    assert search() is None
    convolution = network.get_submodule(paths[5])
    assert isinstance(convolution.weight, torch.nn.Parameter)
    with torch.no_grad():
        convolution.weight.mul_(1.5)
    assert (search() or "").startswith(f"{paths[5]}/Conv (error ")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": "tpu"}, "no target 'tpu'; there are: onnx with fp32; openvino with fp16, fp32, int8"),
        ({"target": "onnx", "precision": "int8"}, "no target 'onnx' with precision 'int8'; there are: onnx with fp32"),
        ({"target": "openvino", "precision": "int8"}, "int8 needs clips to calibrate with; give --calib DATA"),
        ({"target": "openvino", "exclude": ("stem",)}, "--exclude keeps layers out of int8, but the precision is fp16"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(model_file: Path, options: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        plan_export(model_file, ExportOptions(**options))  # type: ignore[arg-type]


def test_an_exclude_that_is_no_expression_is_refused(model_file: Path, videos: LabelledVideos) -> None:
    with pytest.raises(UsageError, match=r"'\(' is not a regular expression"):
        plan_export(model_file, ExportOptions(target="openvino", precision="int8", calib=videos, exclude=("(",)))


def test_an_artifact_is_no_model(onnx_fp32: ExportResult, tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match=r"is an artifact already; give the model it was made from .*small é\.pt"):
        plan_export(onnx_fp32.folder, ExportOptions(target="openvino"))
    with pytest.raises(InputFileError, match="is not an artifact folder"):
        plan_export(tmp_path, ExportOptions(target="openvino"))


def test_the_default_folder_lies_beside_the_model(model_file: Path) -> None:
    plan = plan_export(model_file, ExportOptions(target="openvino"))
    assert plan.folder == model_file.with_name("small é_openvino_fp16")
    assert not plan.folder.exists()
