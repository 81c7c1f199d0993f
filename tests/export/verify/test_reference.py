"""What an artifact is compared on, and what is said where it does not agree."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper, parser

from s2tf_edge.calibration.calibration_clips import CalibrationClips
from s2tf_edge.data.datasets import open_data
from s2tf_edge.data.labeled import LabeledVideos
from s2tf_edge.errors import InputFileError, VerificationError
from s2tf_edge.export import ExportOptions, ExportResult, plan_export
from s2tf_edge.export.artifact_folder import seal
from s2tf_edge.export.plan import ExportPlan
from s2tf_edge.export.sources.graphs.graph_session import PlainSession
from s2tf_edge.export.sources.network import OnnxNetwork, SourceNetwork, open_network
from s2tf_edge.export.verify.reference import Reference, verification_clips, verify_export
from s2tf_edge.export.verify.seeded_clips import seeded_clips
from s2tf_edge.export.verify.verification import run_clips
from s2tf_edge.runtime.session import Clips, Outputs, Session, SessionOptions
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


@pytest.mark.parametrize(
    ("target", "advice"),
    [
        ("onnx", "another precision would not help; export for another target"),
        pytest.param("trt-rtx", "try fp32", marks=pytest.mark.needs_rtx),
    ],
)
def test_the_layer_where_they_part_is_named(
    plain: Path, export_plain: Callable[..., ExportResult], target: str, advice: str
) -> None:
    result = export_plain(target)
    reference = _reference(plain, result)
    assert verify_export(reference, result.folder, result.meta).passed
    changed = _change(result, 1.5)
    message = (
        rf"the {target} fp\d+ artifact does not agree with plain net\.onnx: largest error .*; "
        rf"the first layer that differs is Conv c \(error .*\); nothing was written; {advice}$"
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


def test_a_network_that_takes_long_is_asked_about_few_clips(
    plain: Path,
    export_plain: Callable[..., ExportResult],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    result = export_plain("onnx")
    monkeypatch.setattr("s2tf_edge.export.verify.reference._SECONDS", 0.0)
    told: list[tuple[int, int]] = []
    reference = dataclasses.replace(_reference(plain, result), progress=lambda done, total: told.append((done, total)))
    assert verify_export(reference, result.folder, result.meta).n == 4
    assert "comparing on 4 of 8 clips: the network itself takes " in caplog.text
    # Four of the network's, and those of the artifact.
    assert told == [(1, 8), (2, 8), (3, 8), (4, 8), (1, 4), (2, 4), (3, 4), (4, 4)]
    # A device that builds an engine anew compares all of them.
    assert len(reference.seeded(result.meta.clip).logits) == 8


@pytest.mark.needs_rtx
def test_what_an_engine_is_to_say_is_kept_beside_it(plain: Path, export_plain: Callable[..., ExportResult]) -> None:
    result = export_plain("trt-rtx", eval="synthetic?clips=3")
    assert result.verification is not None
    assert (result.verification.clips, result.verification.n) == ("evaluation", 16)
    with np.load(result.folder / "expected.npz") as expected, _reference(plain, result).source.session() as session:
        spec = session.info.spec
        np.testing.assert_array_equal(expected["logits"], run_clips(session, seeded_clips(spec)).logits)
        assert expected.files == ["logits"]


class _Drifting(PlainSession):
    """A network that says something else each time, as one with a random operator that nobody knows does."""

    asked = 0

    def _run(self, clips: Clips) -> Outputs:
        type(self).asked += 1
        outputs = super()._run(clips)
        return dataclasses.replace(outputs, logits=outputs.logits * (1 + 0.1 * self.asked))


def test_a_network_that_says_something_else_each_time_is_told(plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plan_export(plain, ExportOptions(target="onnx", meta=plain.with_suffix(".json")))
    assert isinstance(plan, ExportPlan)
    assert isinstance(plan.source, OnnxNetwork)
    reference = Reference(source=plan.source, precision="fp32", clips=seeded_clips(SPEC), kind="seeded")
    info, feed = plan.source.session().info, plan.source.plain.inputs.feed
    drifting = functools.partial(_Drifting, plain, info, SessionOptions(device="CPU"), feed=feed, output="y")
    monkeypatch.setattr(type(plan.source), "session", lambda _source: drifting())
    message = r"plain net\.onnx is not deterministic: logits of one clip differ by .* look for random numbers, dropout"
    with pytest.raises(InputFileError, match=message):
        _ = reference.expected


def test_a_network_is_asked_once_for_all_precisions(plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = open_network(plain, meta=plain.with_suffix(".json"))
    opened, session = [], source.session

    def open_session() -> Session:
        opened.append(True)
        return session()

    monkeypatch.setattr(source, "session", open_session)
    first = Reference(source=source, precision="fp32", clips=seeded_clips(SPEC, count=2), kind="evaluation")
    other = dataclasses.replace(first, precision="fp16")
    assert other.expected is first.expected
    assert len(opened) == 1
    for form in (SPEC, dataclasses.replace(SPEC, stride=2), SPEC):
        assert other.seeded(form) is first.seeded(form)
    assert len(opened) == 3


def _half(path: Path, plain: Path, *, scale: float, seed: int = 0) -> Path:
    """A linear network in half precision: the means of the channels, weighted and ``scale`` times as large."""
    model = parser.parse_model("""
        <ir_version: 8, opset_import: ["": 18]> net (float16[1,3,4,16,16] x) => (float16[1,5] y) {
          b = Mul (x, s) p = GlobalAveragePool (b) f = Flatten (p) y = MatMul (f, w) }""")
    weights = np.random.default_rng(seed).normal(size=(3, 5))
    tensors = {"s": np.array(scale, np.float16), "w": weights.astype(np.float16)}
    model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in tensors.items())
    onnx.save(model, path)
    path.with_suffix(".json").write_bytes(plain.with_suffix(".json").read_bytes())
    return path


def _half_reference(path: Path) -> Reference:
    source = open_network(path, meta=path.with_suffix(".json"))
    return Reference(source=source, precision="fp32", clips=seeded_clips(source.spec), kind="seeded")


def test_a_file_in_half_precision_agrees_with_its_float32_form(tmp_path: Path, plain: Path) -> None:
    reference = _half_reference(_half(tmp_path / "half.onnx", plain, scale=1))
    assert reference.expected.logits.shape == (len(reference.clips), 5)


def test_one_that_overflows_is_told(tmp_path: Path, plain: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = _half(tmp_path / "half.onnx", plain, scale=65504)
    model = onnx.load(path)
    weights = numpy_helper.from_array(np.full((3, 5), 1000, np.float16), "w")
    model.graph.initializer[1].CopyFrom(weights)
    onnx.save(model, path)
    reference = _half_reference(path)
    assert np.isfinite(reference.expected.logits).all()
    assert "half.onnx overflows in half precision; what is exported is its float32 form" in caplog.text


def test_one_that_says_something_else_is_refused(tmp_path: Path, plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reference = _half_reference(_half(tmp_path / "half.onnx", plain, scale=1))
    other = _half_reference(_half(tmp_path / "other.onnx", plain, scale=1, seed=1)).source
    monkeypatch.setattr(reference.source, "half_session", other.half_session, raising=True)
    message = r"half\.onnx says something else in half precision, as it came, than in float32, .* in float32$"
    with pytest.raises(VerificationError, match=message):
        _ = reference.expected
