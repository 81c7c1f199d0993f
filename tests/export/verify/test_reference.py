"""What an artifact is compared on, and what is said where it does not agree."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper

from s2tf_edge.calibration.calibration_clips import CalibrationClips
from s2tf_edge.data.datasets import open_data
from s2tf_edge.data.labeled import LabeledVideos
from s2tf_edge.errors import InputFileError, VerificationError
from s2tf_edge.export import ExportOptions, ExportResult, plan_export
from s2tf_edge.export.artifact_folder import seal
from s2tf_edge.export.plan import ExportPlan
from s2tf_edge.export.sources.network import SourceNetwork
from s2tf_edge.export.verify.reference import Reference, verification_clips, verify_export
from s2tf_edge.export.verify.seeded_clips import seeded_clips
from s2tf_edge.export.verify.verification import run_clips
from s2tf_edge.spec import ClipSpec

SPEC = ClipSpec(frames=4, size=16)
_RTX = pytest.param("trt-rtx", marks=pytest.mark.needs_rtx)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Broken:
    """A video that cannot be read."""

    name: str
    label: int = 0

    def read(self, spec: ClipSpec, *, at: float = 0.5) -> NDArray[np.uint8]:
        msg = f"{self.name} is broken"
        raise InputFileError(msg)

    def room(self, spec: ClipSpec) -> float:
        msg = f"{self.name} is broken"
        raise InputFileError(msg)


def _calibration(data: LabeledVideos, count: int) -> CalibrationClips:
    return CalibrationClips(data, SPEC, count=count)


def test_seeded_clips_stand_in_where_there_are_no_videos() -> None:
    clips, kind = verification_clips(SPEC, calibration=None, evaluation=None)
    assert kind == "seeded"
    np.testing.assert_array_equal(np.stack(clips), np.stack(seeded_clips(SPEC)))


def test_clips_that_were_calibrated_on_are_not_compared_on(videos: LabeledVideos) -> None:
    calibration = _calibration(videos, 4)
    clips, kind = verification_clips(SPEC, calibration=calibration, evaluation=None)
    assert (kind, len(clips)) == ("unseen", 16)
    seen = {frames.tobytes() for frames in calibration.frames()}
    assert len(seen) == 4
    assert not seen & {frames.tobytes() for frames in clips}


def test_evaluation_videos_come_first_and_are_many_at_most(videos: LabeledVideos) -> None:
    test = open_data("synthetic?clips=20&split=test")
    clips, kind = verification_clips(SPEC, calibration=_calibration(videos, 4), evaluation=test)
    assert (kind, len(clips)) == ("evaluation", 16)
    assert {(frames.shape, frames.dtype.name) for frames in clips} == {((4, 16, 16, 3), "uint8")}


def test_where_all_was_calibrated_on_that_is_said(videos: LabeledVideos, caplog: pytest.LogCaptureFixture) -> None:
    """A scene of four seconds holds one clip of so many frames, and no other."""
    spec = dataclasses.replace(SPEC, frames=200)
    calibration = CalibrationClips(videos.limit(3), spec, count=5)
    clips, kind = verification_clips(spec, calibration=calibration, evaluation=None)
    assert (kind, len(clips)) == ("calibration", 3)
    assert "no clip is left that is not calibrated on; verifying on 3 that are" in caplog.text


def test_evaluation_videos_of_which_none_can_be_read_are_told() -> None:
    data = LabeledVideos(name="d", labels=("a",), videos=[_Broken(name="x.mp4"), _Broken(name="y.mp4")])
    with pytest.raises(InputFileError, match=r"can be read; the first: [xy]\.mp4 is broken"):
        verification_clips(SPEC, calibration=None, evaluation=data)


def _reference(plain: Path, result: ExportResult) -> Reference:
    plan = plan_export(plain, ExportOptions(target="onnx", meta=plain.with_suffix(".json")))
    assert isinstance(plan, ExportPlan)
    clips, kind = verification_clips(plan.spec, calibration=None, evaluation=None)
    return Reference(source=plan.source, precision=str(result.meta.precision["asked"]), clips=clips, kind=kind)


def _change(result: ExportResult, factor: float) -> ExportResult:
    """The artifact with every weight of its convolution multiplied."""
    path = result.folder / "model.onnx"
    model = onnx.load(path)
    (weights,) = [each for each in model.graph.initializer if len(each.dims) == 5]
    values = numpy_helper.to_array(weights)
    weights.CopyFrom(numpy_helper.from_array((values * factor).astype(values.dtype), weights.name))
    onnx.save(model, path)
    return dataclasses.replace(result, meta=seal(result.meta, result.folder))


@pytest.mark.parametrize("target", ["onnx", _RTX])
def test_the_layer_where_they_part_is_named(
    plain: Path, export_plain: Callable[..., ExportResult], target: str
) -> None:
    result = export_plain(target)
    reference = _reference(plain, result)
    assert verify_export(reference, result.folder, result.meta).passed
    changed = _change(result, 1.5)
    message = (
        rf"the {target} fp\d+ artifact does not agree with plain net\.onnx: largest error .*; "
        r"the first layer that differs is Conv c \(error .*\); nothing was written; try another precision"
    )
    with pytest.raises(VerificationError, match=message):
        verify_export(reference, changed.folder, changed.meta)


def test_logits_that_are_not_finite_are_told(plain: Path, export_plain: Callable[..., ExportResult]) -> None:
    result = _change(export_plain("onnx"), np.nan)
    with pytest.raises(
        VerificationError, match=r"does not agree .*: logits are not finite; the first layer that differs is Conv c "
    ):
        verify_export(_reference(plain, result), result.folder, result.meta)


def test_the_network_runs_as_it_came(
    plain: Path, export_plain: Callable[..., ExportResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The graph is changed by what makes it ready; the reference must not be, or changes would confirm themselves."""
    result = export_plain("onnx")
    reference = _reference(plain, result)
    monkeypatch.setattr(type(reference.source), "graph", _refused)
    assert verify_export(reference, result.folder, result.meta).max_error == 0


def _refused(_source: SourceNetwork, **_options: Any) -> None:
    msg = "the graph was asked for"
    raise AssertionError(msg)


@pytest.mark.needs_rtx
def test_what_an_engine_is_to_say_is_kept_beside_it(plain: Path, export_plain: Callable[..., ExportResult]) -> None:
    result = export_plain("trt-rtx", eval="synthetic?clips=3")
    assert result.verification is not None
    assert (result.verification.clips, result.verification.n) == ("evaluation", 16)
    with np.load(result.folder / "expected.npz") as expected, _reference(plain, result).source.session() as session:
        spec = session.info.spec
        np.testing.assert_array_equal(expected["logits"], run_clips(session, seeded_clips(spec)).logits)
        assert expected.files == ["logits"]
