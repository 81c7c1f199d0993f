from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest

from s2tf_edge.calibration.calibration_clips import RECOMMENDED_CLIPS, headroom
from s2tf_edge.calibration.ranges.ranges import METHODS, Range, measure_ranges
from s2tf_edge.errors import UsageError, VerificationError
from s2tf_edge.runtime.session import Clips

MODEL = onnx.parser.parse_model("""
  <ir_version: 10, opset_import: ["": 18]>
  two (float[1, 3, 4, 16, 16] clip) => (float[1, 3, 4, 16, 16] logits) {
    relu = Relu (clip)
    logits = Neg (relu)
  }""")


def _signed(_values: Range) -> bool:
    return True


def _unsigned(_values: Range) -> bool:
    return False


def _clips(count: int = 3, *, scale: float = 1.0) -> list[Clips]:
    random = np.random.default_rng(0)
    return [scale * random.laplace(size=(1, 3, 4, 16, 16)).astype(np.float32) for _ in range(count)]


def _measure(
    clips: list[Clips], method: str, *, is_signed: Callable[[Range], bool] = _signed, tensor: str = "clip"
) -> Range:
    return measure_ranges(MODEL, clips, tensors=[tensor], method=method, is_signed=is_signed)[tensor]


def test_extremes_are_over_all_clips() -> None:
    clips = _clips()
    clips[1][0, 0, 0, 0, 0] = 50
    clips[2][0, 2, 3, 15, 15] = -70
    ranges = measure_ranges(MODEL, clips, tensors=["clip", "relu", "logits"], method="minmax", is_signed=_signed)
    extremes = {"clip": Range(low=-70, high=50), "relu": Range(high=50), "logits": Range(low=-50)}
    assert ranges == {name: each.scaled(headroom(len(clips))) for name, each in extremes.items()}


def test_few_clips_leave_room_beyond_their_extremes() -> None:
    assert (headroom(RECOMMENDED_CLIPS - 1), headroom(RECOMMENDED_CLIPS)) == (1.3, 1.0)
    for count, high in ((RECOMMENDED_CLIPS - 1, 1.3), (RECOMMENDED_CLIPS, 1.0)):
        clips = [np.ones_like(_clips()[0]) for _ in range(count)]
        ranges = measure_ranges(MODEL, clips, tensors=["clip"], method="minmax", is_signed=_signed)
        assert ranges["clip"] == Range(high=high)


@dataclass(frozen=True)
class _Steps:
    """Two inputs of each clip, as those of a network that steps."""

    clips_read: int

    def __iter__(self) -> Iterator[Clips]:
        for _ in range(2 * self.clips_read):
            yield np.ones_like(_clips()[0])


def test_inputs_that_were_made_of_few_clips_leave_room_however_many_they_are() -> None:
    for count, high in ((RECOMMENDED_CLIPS - 1, 1.3), (RECOMMENDED_CLIPS, 1.0)):
        ranges = measure_ranges(MODEL, _Steps(count), tensors=["clip"], method="minmax", is_signed=_signed)
        assert ranges["clip"] == Range(high=high)


@pytest.mark.parametrize("method", METHODS)
def test_what_is_known_of_a_tensor_stands_unless_a_clip_goes_beyond(method: str) -> None:
    def measure(scale: float) -> Range:
        clips: list[Clips] = [clip.clip(-scale, scale) for clip in _clips(scale=scale)]
        bounds = {"clip": Range(low=-2, high=3)}
        return measure_ranges(MODEL, clips, tensors=["clip"], method=method, is_signed=_signed, bounds=bounds)["clip"]

    assert measure(1.0) == Range(low=-2, high=3)
    assert measure(2.5).low < -2


@pytest.mark.parametrize("method", [method for method in METHODS if method != "minmax"])
def test_other_methods_cut_off_what_is_rare(method: str) -> None:
    clips = _clips(8)
    clips[1][0, 0, 0, 0, 0] = 100
    cut = _measure(clips, method)
    assert 3 < cut.high < (90 if method == "mse" else 50)
    assert -cut.low <= cut.high
    assert _measure(clips, method) == cut


@pytest.mark.parametrize("method", METHODS)
def test_ranges_grow_with_the_values(method: str) -> None:
    once, twice = (_measure(_clips(scale=scale), method, tensor="relu") for scale in (1.0, 2.0))
    assert twice.high == pytest.approx(2 * once.high, rel=1e-4)
    assert once.low == twice.low == 0


def test_finer_steps_pay_for_a_wider_range() -> None:
    """Of values that are never negative, uint8 has twice as many steps as int8."""
    signed, unsigned = (_measure(_clips(8), "mse", is_signed=each, tensor="relu") for each in (_signed, _unsigned))
    assert signed.high < unsigned.high


def test_a_tensor_that_is_always_zero_has_an_empty_range() -> None:
    dark = [np.full((1, 3, 4, 16, 16), -1, np.float32)]
    for method in METHODS:
        assert _measure(list(dark), method, tensor="relu") == Range()


def test_clips_are_gone_through_once_or_twice_and_not_kept() -> None:
    class Streamed:
        passes = 0

        def __iter__(self) -> Iterator[Clips]:
            self.passes += 1
            given: list[weakref.ref[Clips]] = []
            for clip in _clips(6):
                assert sum(each() is not None for each in given) <= 1
                fresh = clip.copy()
                given.append(weakref.ref(fresh))
                yield fresh
                del fresh

    for method, passes in (("minmax", 1), ("percentile", 2)):
        clips = Streamed()
        measure_ranges(MODEL, clips, tensors=["relu"], method=method, is_signed=_signed)
        assert clips.passes == passes


def test_a_graph_may_be_a_file(tmp_path: Path) -> None:
    path = tmp_path / "é.onnx"
    onnx.save(MODEL, path)
    by_file = measure_ranges(path, _clips(), tensors=["relu"], method="minmax", is_signed=_signed)
    assert by_file == measure_ranges(MODEL, _clips(), tensors=["relu"], method="minmax", is_signed=_signed)


@pytest.mark.parametrize("value", [np.inf, np.nan])
def test_an_activation_that_is_not_finite_is_an_error(value: float) -> None:
    clips = _clips()
    clips[1][0, 1, 0, 3, 3] = value
    with pytest.raises(VerificationError, match="clip is not finite on a calibration clip; int8 needs a network"):
        _measure(clips, "minmax")


def test_no_clips_is_an_error() -> None:
    with pytest.raises(UsageError, match="there are no calibration clips"):
        _measure([], "minmax")


def test_methods_are_named() -> None:
    with pytest.raises(UsageError, match="no calibration method is called 'kl'; there are minmax, entropy"):
        _measure(_clips(), "kl")


def test_ranges_join_and_shrink() -> None:
    wide = Range(low=-1, high=2).union(Range(low=-3, high=1))
    assert wide == Range(low=-3, high=2)
    assert wide.magnitude == 3
    assert wide.clipped(2.5) == Range(low=-2.5, high=2)
