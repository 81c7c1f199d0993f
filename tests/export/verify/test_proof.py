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
from s2tf_edge.export.pipeline import ExportPlan
from s2tf_edge.export.sources.network import Source
from s2tf_edge.export.verify.proof import Proof, proof_clips, prove
from s2tf_edge.export.verify.runnable import runnable_session
from s2tf_edge.export.verify.verification import run_clips, seeded_clips
from s2tf_edge.runtime.backends.ort_session import OrtSession
from s2tf_edge.runtime.backends.tensorrt_library import has_gpu
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


def _calibration(data: LabeledVideos, count: int) -> CalibrationClips:
    return CalibrationClips(data, SPEC, count=count)


def test_seeded_clips_stand_in_where_there_are_no_videos() -> None:
    clips, kind = proof_clips(SPEC, calibration=None, evaluation=None)
    assert kind == "seeded"
    np.testing.assert_array_equal(np.stack(clips), np.stack(seeded_clips(SPEC)))


def test_clips_that_were_calibrated_on_prove_nothing(videos: LabeledVideos) -> None:
    calibration = _calibration(videos, 4)
    clips, kind = proof_clips(SPEC, calibration=calibration, evaluation=None)
    assert (kind, len(clips)) == ("unseen", 8)
    seen = {frames.tobytes() for frames in calibration.frames()}
    assert len(seen) == 4
    assert not seen & {frames.tobytes() for frames in clips}


def test_evaluation_videos_come_first_and_are_many_at_most(videos: LabeledVideos) -> None:
    test = open_data("synthetic?clips=20&split=test")
    clips, kind = proof_clips(SPEC, calibration=_calibration(videos, 4), evaluation=test)
    assert (kind, len(clips)) == ("evaluation", 16)
    assert {(frames.shape, frames.dtype.name) for frames in clips} == {((4, 16, 16, 3), "uint8")}


def test_evaluation_videos_of_which_none_can_be_read_are_told() -> None:
    data = LabeledVideos(name="d", labels=("a",), videos=[_Broken(name="x.mp4"), _Broken(name="y.mp4")])
    with pytest.raises(InputFileError, match=r"can be read; the first: [xy]\.mp4 is broken"):
        proof_clips(SPEC, calibration=None, evaluation=data)


def _proof(plain: Path, result: ExportResult) -> Proof:
    plan = plan_export(plain, ExportOptions(target="onnx", meta=plain.with_suffix(".json")))
    assert isinstance(plan, ExportPlan)
    clips, kind = proof_clips(plan.spec, calibration=None, evaluation=None)
    return Proof(source=plan.source, precision=str(result.meta.precision["asked"]), clips=clips, kind=kind)


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
    proof = _proof(plain, result)
    assert prove(proof, result.folder, result.meta).passed
    changed = _change(result, 1.5)
    message = (
        rf"the {target} fp\d+ artifact does not agree with plain net\.onnx: largest error .*; "
        r"the first layer that differs is c \(error .*\); nothing was written; try another precision"
    )
    with pytest.raises(VerificationError, match=message):
        prove(proof, changed.folder, changed.meta)


def test_logits_that_are_not_finite_are_told(plain: Path, export_plain: Callable[..., ExportResult]) -> None:
    result = _change(export_plain("onnx"), np.nan)
    with pytest.raises(
        VerificationError, match=r"does not agree .*: logits are not finite; the first layer that differs is c "
    ):
        prove(_proof(plain, result), result.folder, result.meta)


def test_the_network_runs_as_it_came(
    plain: Path, export_plain: Callable[..., ExportResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The graph is changed by what makes it ready; the reference must not be, or changes would prove themselves."""
    result = export_plain("onnx")
    proof = _proof(plain, result)
    monkeypatch.setattr(type(proof.source), "graph", _refused)
    assert prove(proof, result.folder, result.meta).max_error == 0


def _refused(_source: Source, **_options: Any) -> None:
    msg = "the graph was asked for"
    raise AssertionError(msg)


@pytest.mark.needs_rtx
def test_what_an_engine_is_to_say_is_kept_beside_it(plain: Path, export_plain: Callable[..., ExportResult]) -> None:
    result = export_plain("trt-rtx", eval="synthetic?clips=3")
    assert result.verification is not None
    assert (result.verification.clips, result.verification.n) == ("evaluation", 3)
    with np.load(result.folder / "expected.npz") as expected, _proof(plain, result).source.reference() as reference:
        spec = reference.info.spec
        np.testing.assert_array_equal(expected["logits"], run_clips(reference, seeded_clips(spec)).logits)
        assert expected.files == ["logits"]


@pytest.mark.parametrize(
    ("target", "options"),
    [("onnx", {}), ("openvino", {}), ("trt", {"defer_build": True}), ("trt-rtx", {"defer_build": True})],
)
def test_an_artifact_is_run_by_what_can_run_it_here(
    export_plain: Callable[..., ExportResult], target: str, options: dict[str, bool]
) -> None:
    result = export_plain(target, verify=False, **options)
    session, through = runnable_session(result.folder, result.meta)
    if options:
        assert isinstance(session, OrtSession)
        assert session.path.name == "model.onnx"
        assert through == "ONNX Runtime on the CPU, running the engine's graph"
    else:
        assert through == target
    assert session.info.target == target


@pytest.mark.needs_rtx
@pytest.mark.skipif(has_gpu(), reason="there is a GPU")
def test_without_a_gpu_an_engines_graph_runs_in_its_stead(export_plain: Callable[..., ExportResult]) -> None:
    result = export_plain("trt-rtx")
    session, through = runnable_session(result.folder, result.meta)
    assert isinstance(session, OrtSession)
    assert through == "ONNX Runtime on the CPU, running the engine's graph"
