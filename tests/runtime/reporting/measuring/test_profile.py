"""Times of layers, from real runtimes."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from s2tf_edge.errors import UnsupportedError, UsageError
from s2tf_edge.export import ExportOptions, export
from s2tf_edge.models import create_model, save_model
from s2tf_edge.runtime.open import open_session
from s2tf_edge.runtime.reporting.measuring.profile import Profile, part_of
from s2tf_edge.runtime.session import LayerTime, SessionOptions


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("backbone.stages.0.0.branch.0.conv/Conv", "backbone"),
        ("backbone.head.fc/Gemm", "head"),
        ("logits", "head"),
        ("saliency.miners.2/Sigmoid", "SSF"),
        ("saliency.fusion.reduce/Conv", "SSF"),
        ("saliency.preservers.0/FeaturePreserving", "TSFP"),
        ("saliency/AveragePool_3", "TSFP"),
        ("_inlfunc_SaliencyMining_token_0_blocks.0.spatial/Conv", "SSF"),
        ("_inlfunc_FeaturePreserving_convs.4/Conv", "TSFP"),
        ("backbones/Conv", "other"),
        ("Convert_29494", "other"),
    ],
)
def test_parts_of_the_network(name: str, part: str) -> None:
    assert part_of(name) == part


def test_shares_and_the_longest_layer() -> None:
    layers = (
        LayerTime(name="backbone.stem/Conv", kind="Convolution", kernel="jit_I8", ms=3.0),
        LayerTime(name="saliency.miners.0/Conv", kind="Convolution", kernel="", ms=1.0),
    )
    profile = Profile(layers=layers)
    assert profile.parts == {"backbone": 3.0, "SSF": 1.0}
    assert profile.explain() == "backbone 75 %, SSF 25 %; longest: backbone.stem/Conv 75 % (Convolution, jit_I8)"
    assert profile.to_dict()["total_ms"] == 4.0
    assert Profile(layers=()).explain() == "no layer took any time"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("profiled") / "model.pt"
    save_model(path, create_model("s2tf_r3d_10?width=0.125", num_classes=3, frames=8, size=32))
    return path


@pytest.mark.parametrize("target", ["openvino", "onnx"])
def test_runtimes_tell_the_times_of_layers(model: Path, target: str, tmp_path: Path) -> None:
    export(model, ExportOptions(target=target, precision="fp32", out=tmp_path / "artifact"))
    with open_session(tmp_path / "artifact", SessionOptions(threads=1, profile=True)) as session:
        clip = np.zeros(session.info.spec.input_shape(), np.float32)
        profile = Profile(layers=session.profile(lambda: session.infer(clip), runs=3))
    assert profile.total_ms > 0
    assert {"backbone", "SSF", "TSFP", "head"} <= set(profile.parts)
    assert [layer.ms for layer in profile.layers] == sorted((layer.ms for layer in profile.layers), reverse=True)
    assert any("onv" in layer.kind for layer in profile.layers)
    assert len({layer.name for layer in profile.layers}) > 20


@pytest.mark.parametrize("is_asked", [True, False])
def test_no_file_of_a_profile_is_left(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_asked: bool
) -> None:
    export(model, ExportOptions(target="onnx", precision="fp32", out=tmp_path / "artifact", verify=False))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with open_session(tmp_path / "artifact", SessionOptions(threads=1, profile=True)) as session:
        clip = np.zeros(session.info.spec.input_shape(), np.float32)
        session.infer(clip)
        assert list(tmp_path.glob("s2tf-profile-*"))
        if is_asked:
            session.profile(lambda: session.infer(clip), runs=1)
    assert not list(tmp_path.glob("s2tf-profile-*"))


def test_what_was_opened_without_is_refused(model: Path) -> None:
    with open_session(model) as session, pytest.raises(UsageError, match="opened without a profile"):
        session.profile(lambda: None, runs=1)
    with (
        open_session(model, dataclasses.replace(SessionOptions(), profile=True)) as session,
        pytest.raises(UnsupportedError, match="torch does not tell how long layers take"),
    ):
        session.profile(lambda: None, runs=1)
