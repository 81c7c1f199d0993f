"""Teacher and student see the same part of a video, whatever the lengths of their clips."""

from __future__ import annotations

import numpy as np
import pytest

from s2tf_edge.data.synthetic import SyntheticVideo
from s2tf_edge.spec import ClipSpec
from s2tf_edge.training.distillation.moments import ClipTimes, spread_places, video_seconds

SHORT = ClipSpec(frames=8, size=32, stride=1, fps=25)
LONG = ClipSpec(frames=32, size=224, stride=2, fps=25)


def test_a_video_s_length_is_found_by_any_clip() -> None:
    video = SyntheticVideo(name="a", label=0, seed=1)
    assert video_seconds(video, SHORT) == pytest.approx(4.0)
    assert video_seconds(video, LONG) == pytest.approx(4.0)


@pytest.mark.parametrize(
    ("seconds", "most", "places"),
    [(1.0, 8, [0.5]), (LONG.span_seconds, 8, [0.5]), (4.0, 8, [0, 0.5, 1]), (4.0, 2, [0, 1]), (4.0, 1, [0.5])],
)
def test_places_lie_half_a_clip_apart(seconds: float, most: int, places: list[float]) -> None:
    np.testing.assert_allclose(spread_places(LONG, seconds=seconds, most=most), places)


def test_no_moment_is_farther_than_a_quarter_of_a_clip_from_a_place() -> None:
    own, taught = (ClipTimes(spec=spec, seconds=20.0) for spec in (SHORT, LONG))
    places = spread_places(LONG, seconds=20.0, most=100)
    inner = [at for at in np.linspace(0, 1, 300) if taught.half <= own.middle(at) <= 20 - taught.half]
    assert len(inner) > 200
    for at in inner:
        index = taught.nearest(places, own.middle(at))
        assert abs(taught.middle(places[index]) - own.middle(at)) <= LONG.span_seconds / 4 + 1e-9


@pytest.mark.parametrize("at", [0.0, 0.3, 1.0])
def test_at_reverses_middle(at: float) -> None:
    placement = ClipTimes(spec=SHORT, seconds=3.0)
    assert placement.at(placement.middle(at)) == pytest.approx(at)


def test_a_clip_as_long_as_its_video_is_always_in_the_middle() -> None:
    placement = ClipTimes(spec=LONG, seconds=1.0)
    assert placement.middle(0.0) == placement.middle(1.0) == 0.5
    assert placement.at(0.1) == 0.5
