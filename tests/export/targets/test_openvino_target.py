"""What OpenVINO's target does on processors that this one is not; they are told by what decides for them."""

from __future__ import annotations

import logging
from collections.abc import Callable

import numpy as np
import pytest

from s2tf_edge.errors import UnsupportedError
from s2tf_edge.export import ExportResult
from s2tf_edge.runtime.backends import openvino_arm
from s2tf_edge.runtime.open import open_session
from s2tf_edge.runtime.session import SessionOptions

CALIBRATION = "synthetic?clips=8"


@pytest.fixture
def become_arm(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Makes this machine pass for a Cortex-A72."""

    def become() -> None:
        monkeypatch.setattr(openvino_arm, "is_arm", lambda: True)
        monkeypatch.setattr(openvino_arm, "has_dot_products", lambda: False)

    return become


def test_int8_is_not_made_where_it_is_not_computed(
    export_plain: Callable[..., ExportResult], become_arm: Callable[[], None]
) -> None:
    become_arm()
    with pytest.raises(UnsupportedError, match=r"in float32 on this Arm processor; export int8 for target onnx"):
        export_plain("openvino", precision="int8", calib=CALIBRATION)


@pytest.mark.parametrize(
    ("precision", "words"),
    [
        ("fp32", "ONNX Runtime has faster ones"),
        pytest.param("int8", "its int8 in float32; ONNX Runtime has integer kernels", marks=pytest.mark.slow),
    ],
)
def test_an_artifact_runs_there_with_one_warning(
    export_plain: Callable[..., ExportResult],
    become_arm: Callable[[], None],
    caplog: pytest.LogCaptureFixture,
    precision: str,
    words: str,
) -> None:
    folder = export_plain("openvino", precision=precision, calib=CALIBRATION if precision == "int8" else None).folder
    clips = np.random.default_rng(0).uniform(-1, 1, (1, 3, 4, 16, 16)).astype(np.float32)
    with open_session(folder, SessionOptions(threads=1)) as session:
        here = session.infer(clips).logits
    caplog.clear()
    become_arm()
    with caplog.at_level(logging.WARNING), open_session(folder, SessionOptions(threads=1)) as session:
        there = [session.infer(clips).logits for _ in range(2)]
        assert session.describe()["inference_precision"] == "f32"
    assert len(caplog.records) == 1
    assert words in caplog.text
    assert np.abs(there[1] - here).max() <= 0.1 * np.ptp(here)
