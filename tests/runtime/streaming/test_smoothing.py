"""Scores over windows, and the actions found in them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from s2tf_edge.errors import UsageError
from s2tf_edge.runtime.statistics import softmax
from s2tf_edge.runtime.streaming.events import EventTracker
from s2tf_edge.runtime.streaming.records import Event
from s2tf_edge.runtime.streaming.smoothing import Scores, Smoothing

A, B = np.array([1.0, 0.0]), np.array([0.0, 1.0])


def _smoothed(text: str, scores: list[Scores]) -> list[float]:
    smoother = Smoothing.parse(text).start()
    return [float(smoother.update(score)[0]) for score in scores]


def test_ema_gives_its_weight_to_the_newest_window() -> None:
    assert _smoothed("ema:0.6", [A, B, B]) == pytest.approx([1.0, 0.4, 0.16])


def test_mean_takes_the_last_windows() -> None:
    assert _smoothed("mean:2", [A, B, B]) == pytest.approx([1.0, 0.5, 0.0])


def test_none_leaves_scores_alone() -> None:
    assert _smoothed("none", [A, B, A]) == [1.0, 0.0, 1.0]


@pytest.mark.parametrize("text", ["ema:0.3", "mean:4"])
def test_reset_forgets(text: str) -> None:
    smoother = Smoothing.parse(text).start()
    smoother.update(A)
    smoother.reset()
    assert smoother.update(B).tolist() == [0.0, 1.0]


@pytest.mark.parametrize("text", ["ema:0.6", "mean:4", "none"])
def test_a_smoothing_prints_as_it_is_written(text: str) -> None:
    assert str(Smoothing.parse(text)) == text


@pytest.mark.parametrize("text", ["", "ema", "ema:x", "none:1", "median:3"])
def test_what_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="smoothing must be ema:A"):
        Smoothing.parse(text)


@pytest.mark.parametrize("text", ["ema:0", "ema:1.1", "mean:0", "mean:1.5", "mean:1001", "ema:nan", "mean:inf"])
def test_numbers_out_of_range_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="0 < A <= 1"):
        Smoothing.parse(text)


def _events(scores: list[tuple[float, float]], *, threshold: float = 0.5) -> list[Event]:
    tracker = EventTracker(("a", "b"), threshold=threshold)
    found = [tracker.update(np.array(pair), t_start=i, t_end=i + 2.0) for i, pair in enumerate(scores)]
    return [event for event in [*found, tracker.end()] if event is not None]


def test_windows_with_one_label_are_one_event() -> None:
    (event,) = _events([(0.1, 0.1), (0.6, 0.4), (0.8, 0.2), (0.1, 0.1)])
    assert (event.label, event.t_start, event.t_end) == ("a", 1.0, 4.0)
    assert event.score == pytest.approx(0.7)


def test_a_score_that_trembles_about_the_threshold_is_one_event() -> None:
    assert len(_events([(0.5, 0.1), (0.45, 0.1), (0.51, 0.1), (0.41, 0.1)])) == 1


def test_an_event_ends_below_four_fifths_of_the_threshold() -> None:
    events = _events([(0.5, 0.1), (0.39, 0.1), (0.5, 0.1)])
    assert [(event.t_start, event.t_end) for event in events] == [(0.0, 2.0), (2.0, 4.0)]


def test_another_label_takes_over_only_above_the_threshold() -> None:
    assert [event.label for event in _events([(0.5, 0.1), (0.42, 0.48), (0.4, 0.6)])] == ["a", "b"]


def test_events_do_not_overlap() -> None:
    first, second = _events([(0.9, 0.1), (0.1, 0.9)])
    assert (first.t_end, second.t_start, second.t_end) == (2.0, 2.0, 3.0)


def test_nothing_above_the_threshold_is_no_event() -> None:
    assert _events([(0.49, 0.3), (0.2, 0.45)]) == []


def _walk(seed: int, *, windows: int = 300, classes: int = 4) -> list[Scores]:
    """Scores that wander at random, as of a network that is never sure."""
    steps = np.random.default_rng(seed).normal(0, 0.7, (windows, classes)).cumsum(axis=0)
    return list(softmax(steps.astype(np.float32)))


def _found(scores: list[Scores], *, threshold: float, seed: int) -> list[Event]:
    """The events of windows of 2 s that start 0.3 to 3 s apart, some of them lost."""
    starts = np.random.default_rng(seed).uniform(0.3, 3.0, len(scores)).cumsum()
    tracker = EventTracker(tuple("abcd"), threshold=threshold)
    found = [tracker.update(row, t_start=at, t_end=at + 2.0) for row, at in zip(scores, starts, strict=True)]
    return [event for event in [*found, tracker.end()] if event is not None]


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("threshold", [0.2, 0.5, 0.9])
def test_events_are_ordered_and_never_overlap(seed: int, threshold: float) -> None:
    events = _found(_walk(seed), threshold=threshold, seed=seed)
    assert events
    for event in events:
        assert event.t_start < event.t_end
        assert 0.8 * threshold <= event.score <= 1
    for before, after in itertools.pairwise(events):
        assert before.t_end <= after.t_start


@pytest.mark.parametrize("seed", range(10))
def test_while_an_action_goes_on_it_is_told_as_its_event_will_have_it(seed: int) -> None:
    starts = np.random.default_rng(seed).uniform(0.3, 3.0, 300).cumsum()
    tracker, told, events = EventTracker(tuple("abcd"), threshold=0.5), [], []
    for row, at in zip(_walk(seed), starts, strict=True):
        events.append(tracker.update(row, t_start=at, t_end=at + 2.0))
        told.append(tracker.current)
    events.append(tracker.end())
    assert tracker.current is None
    begun = dict.fromkeys((action.label, action.t_start) for action in told if action)
    assert [*begun] == [(event.label, event.t_start) for event in events if event]
    # The last that was told of an action is the whole of it.
    last = {action.t_start: action.score for action in told if action}
    assert [*last.values()] == [event.score for event in events if event]


@pytest.mark.parametrize("seed", range(10))
def test_every_window_above_the_threshold_lies_in_an_event_of_some_action(seed: int) -> None:
    scores = _walk(seed)
    events = _found(scores, threshold=0.5, seed=seed)
    starts = np.random.default_rng(seed).uniform(0.3, 3.0, len(scores)).cumsum()
    for row, at in zip(scores, starts, strict=True):
        if row.max() >= 0.5:
            assert any(event.t_start <= at + 2.0 <= event.t_end for event in events)


@pytest.mark.parametrize("text", ["ema:0.6", "ema:0.05", "mean:7", "none"])
@pytest.mark.parametrize("seed", range(3))
def test_smoothed_scores_are_scores_and_never_leave_the_range_of_what_they_are_made_of(text: str, seed: int) -> None:
    smoother, scores = Smoothing.parse(text).start(), _walk(seed)
    for index, row in enumerate(scores):
        smoothed = smoother.update(row)
        seen = np.array(scores[: index + 1])
        assert smoothed.sum() == pytest.approx(1)
        assert (smoothed >= seen.min(axis=0) - 1e-12).all()
        assert (smoothed <= seen.max(axis=0) + 1e-12).all()


@pytest.mark.parametrize("seed", range(5))
def test_noise_about_the_threshold_makes_one_event_where_a_bare_threshold_makes_many(seed: int) -> None:
    noise = np.random.default_rng(seed).uniform(-0.09, 0.09, 200)
    scores = [(0.5 + each, 0.3) for each in noise]
    assert len(_events(scores)) == 1
    assert sum((a[0] >= 0.5) != (b[0] >= 0.5) for a, b in itertools.pairwise(scores)) > 50


@pytest.mark.parametrize("text", ["ema:0.3", "mean:9"])
def test_smoothing_makes_labels_change_less_often(text: str) -> None:
    rng = np.random.default_rng(0)
    scores = [A * x + B * (1 - x) for x in (0.6 + rng.normal(0, 0.2, 300)).clip(0, 1)]
    smoother = Smoothing.parse(text).start()
    smoothed = [smoother.update(row) for row in scores]

    def changes(rows: list[Scores]) -> int:
        return sum(int(a.argmax()) != int(b.argmax()) for a, b in itertools.pairwise(rows))

    assert changes(smoothed) < changes(scores) / 2


@pytest.mark.parametrize("seed", range(3))
def test_an_event_is_known_from_its_first_window_on(seed: int) -> None:
    tracker, begun, ended = EventTracker(tuple("abcd"), threshold=0.5), [], []
    for at, row in enumerate(_walk(seed)):
        ended.append(tracker.update(row, t_start=at, t_end=at + 2.0))
        begun.append(tracker.current)
    ended.append(tracker.end())
    begins = [(action.label, action.t_start) for action in begun if action is not None and action.is_new]
    assert begins == [(event.label, event.t_start) for event in ended if event is not None]
    assert begins
