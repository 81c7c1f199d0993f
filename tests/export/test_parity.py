from __future__ import annotations

import numpy as np
import pytest

from s2tf_edge.export.parity import TOLERANCES, compare, seeded_clips
from s2tf_edge.spec import ClipSpec

SPEC = ClipSpec(frames=8, size=32)


def _logits(*rows: list[float]) -> np.ndarray:
    return np.array(rows, np.float32)


def test_errors_are_measured_against_the_range_of_the_network() -> None:
    found = compare(_logits([0, 1, 10.5], [0, 0, 8]), _logits([0, 1, 10], [0, 0, 8]), tolerance=0.1)
    assert found.max_error == 0.5
    assert found.mean_error == pytest.approx(0.5 / 6)
    assert found.logits_range == 10
    assert found.tolerance == pytest.approx(1.0)
    assert found.relative_error == pytest.approx(0.05)
    assert (found.n, found.top1_agreement, found.passed) == (2, 1.0, True)


def test_cosine_is_that_of_all_logits() -> None:
    assert compare(_logits([3, 4]), _logits([4, 3]), tolerance=1).cosine == pytest.approx(24 / 25)


def test_too_large_an_error_fails() -> None:
    assert not compare(_logits([0, 8.9]), _logits([0, 10]), tolerance=0.1).passed
    assert compare(_logits([0, 9.1]), _logits([0, 10]), tolerance=0.1).passed


def test_a_disagreement_between_near_ties_does_not_count() -> None:
    tie = compare(_logits([0, 9.9, 10]), _logits([0, 10, 9.9]), tolerance=0.05)
    assert (tie.top1_agreement, tie.top1_decided, tie.top1_disagreements, tie.passed) == (0.0, 0, 0, True)
    clear = compare(_logits([0, 9.5, 9.6]), _logits([0, 10, 9.1]), tolerance=0.07)
    assert (clear.top1_decided, clear.top1_disagreements) == (1, 1)
    assert clear.max_error <= clear.tolerance
    assert not clear.passed


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_that_are_not_finite_fail(value: float) -> None:
    assert not compare(_logits([0, value]), _logits([0, 1]), tolerance=0.5).passed


def test_tolerances_grow_as_precision_falls() -> None:
    assert 0 < TOLERANCES["fp32"] < TOLERANCES["fp16"] < TOLERANCES["int8"] < 0.5


def test_seeded_clips_are_as_the_network_takes_them() -> None:
    clips = seeded_clips(SPEC, count=3, seed=1)
    assert {clip.shape for clip in clips} == {SPEC.input_shape()}
    assert {clip.dtype.name for clip in clips} == {"float32"}
    assert all(a.tobytes() == b.tobytes() for a, b in zip(clips, seeded_clips(SPEC, count=3, seed=1), strict=True))
    assert not np.array_equal(clips[0], clips[1])
    assert not np.array_equal(clips[0], seeded_clips(SPEC, count=1, seed=2)[0])


def test_seeded_clips_are_smooth_and_fill_the_range_of_pixels() -> None:
    clips = np.concatenate(seeded_clips(SPEC, count=4)).astype(np.float32)
    steps = [np.abs(np.diff(clips, axis=axis)).mean() for axis in (2, 3, 4)]
    assert max(steps) < 0.3 * clips.std()
    pixels = clips * 0.225 + 0.45
    assert pixels.min() < 0.15
    assert pixels.max() > 0.85
