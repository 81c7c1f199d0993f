from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from s2tf_edge.export.verify.seeded_clips import seeded_clips
from s2tf_edge.export.verify.verification import TOLERANCES, Tolerance, compare_logits, compare_session, run_clips
from s2tf_edge.runtime.session import Clips, ModelInfo, Outputs, Session, SessionOptions
from s2tf_edge.spec import ClipSpec

SPEC = ClipSpec(frames=8, size=32)


class _Colors(Session):
    """Logits are the mean of each channel, of the last clip of a run alone where ``mixes`` is set."""

    backend = "colors"
    mixes = False
    masks = False

    def _open(self) -> None:
        self.batches: list[int] = []

    def _run(self, clips: Clips) -> Outputs:
        self.batches.append(len(clips))
        seen = np.repeat(clips[-1:], len(clips), axis=0) if self.mixes else clips
        mask = seen.mean(axis=(1, 2), dtype=np.float32)[:, None, None] if self.masks else None
        return Outputs(logits=seen.mean(axis=(2, 3, 4), dtype=np.float32), mask=mask)

    def _close(self) -> None:
        pass


def _session(batch: int | None = None) -> _Colors:
    info = ModelInfo(name="a", network="n", target="t", precision="fp32", spec=SPEC, labels=tuple("rgb"), batch=batch)
    session = _Colors(Path("a"), info, SessionOptions())
    session.open()
    return session


def _largest(error: float) -> Tolerance:
    """Bounds nothing but the largest error."""
    return Tolerance(max_error=error, mean_error=1, cosine=-1)


def _logits(*rows: list[float]) -> np.ndarray:
    return np.array(rows, np.float32)


def test_errors_are_measured_against_the_range_of_the_network() -> None:
    found = compare_logits(_logits([0, 1, 10.5], [0, 0, 8]), _logits([0, 1, 10], [0, 0, 8]), tolerance=_largest(0.1))
    assert found.max_error == 0.5
    assert found.mean_error == pytest.approx(0.5 / 6)
    assert found.logits_range == 10
    assert found.relative_error == pytest.approx(0.05)
    assert (found.n, found.top1_agreement, found.passed) == (2, 1.0, True)


def test_cosine_is_that_of_all_logits() -> None:
    assert compare_logits(_logits([3, 4]), _logits([4, 3]), tolerance=_largest(1)).cosine == pytest.approx(24 / 25)


def test_too_large_an_error_fails() -> None:
    assert not compare_logits(_logits([0, 8.9]), _logits([0, 10]), tolerance=_largest(0.1)).passed
    assert compare_logits(_logits([0, 9.1]), _logits([0, 10]), tolerance=_largest(0.1)).passed


def test_a_disagreement_between_near_ties_does_not_count() -> None:
    tie = compare_logits(_logits([0, 9.9, 10]), _logits([0, 10, 9.9]), tolerance=_largest(0.05))
    assert (tie.top1_agreement, tie.top1_decided, tie.top1_disagreements, tie.passed) == (0.0, 0, 0, True)
    clear = compare_logits(_logits([0, 9.5, 9.6]), _logits([0, 10, 9.1]), tolerance=_largest(0.07))
    assert (clear.top1_decided, clear.top1_disagreements) == (1, 1)
    assert clear.relative_error <= 0.07
    assert not clear.passed
    assert "top-1 agreement 0% (none clear: it decided nothing)" in str(tie)
    assert "top-1 agreement 0% (1 clear, 1 differs)" in str(clear)


@pytest.mark.parametrize("bound", ["mean_error", "cosine"])
def test_many_errors_that_are_just_small_enough_fail(bound: str) -> None:
    random = np.random.default_rng(0)
    expected = random.standard_normal((16, 400)).astype(np.float32)
    got = expected + random.uniform(-0.099, 0.099, expected.shape).astype(np.float32) * np.ptp(expected)
    assert compare_logits(got, expected, tolerance=_largest(0.1)).passed
    allowed = dataclasses.replace(_largest(0.1), **{bound: getattr(TOLERANCES["int8"], bound)})
    assert not compare_logits(got, expected, tolerance=allowed).passed


def test_a_network_that_says_nothing_has_no_infinite_error() -> None:
    found = compare_logits(_logits([0, 0]), _logits([0, 0]), tolerance=TOLERANCES["fp32"])
    assert (found.passed, found.cosine) == (True, 1.0)
    assert "Infinity" not in json.dumps(found.to_dict())
    assert not compare_logits(_logits([0, 1]), _logits([0, 0]), tolerance=TOLERANCES["int8"]).passed


@pytest.mark.parametrize(("batch", "runs"), [(1, [1] * 6), (None, [1, 3, 2])])
def test_an_artifact_of_any_batch_size_is_given_several_clips_at_once(batch: int | None, runs: list[int]) -> None:
    artifact, clips = _session(batch), seeded_clips(SPEC, count=6)
    assert compare_session(artifact, run_clips(_session(), clips), clips, precision="fp32").passed
    assert artifact.batches == runs


def test_an_artifact_that_mixes_the_clips_of_a_batch_fails() -> None:
    artifact, clips = _session(), seeded_clips(SPEC, count=3)
    artifact.mixes = True
    assert not compare_session(artifact, run_clips(_session(), clips), clips, precision="int8").passed


def test_a_mask_that_differs_fails() -> None:
    artifact, clips = _session(), seeded_clips(SPEC, count=2)
    artifact.masks = True
    expected = run_clips(artifact, clips)
    assert expected.mask is not None
    assert compare_session(artifact, expected, clips, precision="fp32").mask_error == 0
    other = dataclasses.replace(expected, mask=expected.mask * np.float32(1.1))
    found = compare_session(artifact, other, clips, precision="fp32")
    assert found.mask_error == pytest.approx(0.1 / 1.1, rel=1e-3)
    assert not found.passed
    assert (
        compare_session(artifact, dataclasses.replace(expected, mask=None), clips, precision="fp32").mask_error is None
    )


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_that_are_not_finite_fail(value: float) -> None:
    assert not compare_logits(_logits([0, value]), _logits([0, 1]), tolerance=_largest(0.5)).passed


def test_tolerances_grow_as_precision_falls() -> None:
    fp32, fp16, int8 = (TOLERANCES[name] for name in ("fp32", "fp16", "int8"))
    assert 0 < fp32.max_error < fp16.max_error < int8.max_error < 0.5
    assert 0 < fp32.mean_error < fp16.mean_error < int8.mean_error < 0.1
    assert 1 > fp32.cosine > fp16.cosine > int8.cosine > 0.9
