from __future__ import annotations

import json
import math
from collections.abc import Collection
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray

from s2tf_edge.calibration.audit import Audit
from s2tf_edge.calibration.base import Quantizer
from s2tf_edge.calibration.sensitivity import LayerNoise, measure_sensitivity, signal_to_noise, worst_first
from s2tf_edge.errors import UnsupportedError
from s2tf_edge.runtime.session import Clips, ModelInfo, Outputs, Session, SessionOptions
from s2tf_edge.spec import ClipSpec

INFO = ModelInfo(
    name="n", network="n", target="onnx", precision="int8", spec=ClipSpec(frames=2, size=4), labels=("a", "b")
)
CLIPS: list[Clips] = [np.full(INFO.spec.input_shape(), value, np.float32) for value in (1, 2)]
NOISES = {"harmless": 0.0, "small": 0.01, "large": 1.0, "alone it cannot run": float("nan"), "middling": 0.1}
LOGITS = np.array([3, -4], np.float32)


class _Session(Session):
    """Logits [3, -4] times the clip's value, and the noises of the layers that the file names."""

    backend: ClassVar[str] = "sum"

    def _open(self) -> None:
        self._noise = math.fsum(NOISES[name] for name in json.loads(self.path.read_text()))
        if math.isnan(self._noise):
            msg = "no kernel"
            raise UnsupportedError(msg)

    def _run(self, clips: Clips) -> Outputs:
        return Outputs(logits=np.float32(clips.max()) * LOGITS[None] + np.float32(self._noise))

    def _close(self) -> None:
        del self._noise


class _Noisy(Quantizer):
    presets = ("only",)

    def list_layers(self, preset: str) -> tuple[str, ...]:
        return tuple(NOISES)

    def write(self, preset: str, folder: Path, *, excluded: Collection[str] = ()) -> Path:
        path = folder / "layers.json"
        path.write_text(json.dumps([name for name in NOISES if name not in excluded]))
        return path

    def make_session(self, path: Path) -> Session:
        return _Session(path, INFO, SessionOptions())

    def audit(self, session: Session) -> Audit:
        pytest.fail("nobody asks")

    def describe(self, preset: str) -> dict[str, Any]:
        return {}


def test_each_layer_is_quantized_alone_and_heard() -> None:
    told: list[tuple[int, int]] = []
    noises = measure_sensitivity(_Noisy(), "only", clips=CLIPS, progress=lambda done, total: told.append((done, total)))
    assert [noise.layer for noise in noises] == list(NOISES)
    # Over two clips: 25 + 100 of signal, and four times the square of the noise.
    expected = [10 * math.log10(125 / (4 * noise**2)) for noise in (0.01, 1.0, 0.1)]
    values = {noise.layer: noise.snr_db for noise in noises}
    assert [values[name] for name in ("small", "large", "middling")] == pytest.approx(expected, abs=0.01)
    assert values["harmless"] == math.inf
    assert math.isnan(values["alone it cannot run"])
    assert told == [(count, 5) for count in range(1, 6)]


def test_only_those_asked_for_are_measured() -> None:
    noises = measure_sensitivity(_Noisy(), "only", clips=CLIPS, layers=["middling", "large"])
    assert [noise.layer for noise in noises] == ["large", "middling"]


def test_the_worst_come_first_and_what_cannot_run_before_all() -> None:
    noises = measure_sensitivity(_Noisy(), "only", clips=CLIPS)
    assert worst_first(noises) == ["alone it cannot run", "large", "middling", "small", "harmless"]


@pytest.mark.parametrize(
    ("expected", "got", "snr"),
    [
        ([3.0, 4.0], [3.0, 4.0], math.inf),
        ([0.0, 0.0], [0.0, 0.0], math.inf),
        ([0.0, 0.0], [0.0, 1.0], -math.inf),
        ([10.0, 0.0], [11.0, 0.0], 20.0),
        ([1.0, 0.0], [0.0, 0.0], 0.0),
        ([1.0, 0.0], [11.0, 0.0], -20.0),
    ],
)
def test_decibels(expected: list[float], got: list[float], snr: float) -> None:
    assert signal_to_noise(_row(expected), _row(got)) == pytest.approx(snr)


def _row(values: list[float]) -> NDArray[np.float32]:
    return np.array([values], np.float32)


@pytest.mark.parametrize(("snr", "value"), [(12.3456, 12.35), (math.inf, None), (-math.inf, None), (math.nan, None)])
def test_json_has_no_infinities(snr: float, value: float | None) -> None:
    described = LayerNoise(layer="a", snr_db=snr).to_dict()
    assert json.loads(json.dumps(described, allow_nan=False)) == {"layer": "a", "snr_db": value}
