"""From windows to predictions and events: runs the network, smooths, and tells actions apart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from time import perf_counter

import numpy as np

from s2tf_edge.preprocess import normalise
from s2tf_edge.runtime.events import EventTracker
from s2tf_edge.runtime.options import StreamOptions
from s2tf_edge.runtime.predictions import Event, Prediction
from s2tf_edge.runtime.session import Clips, Session
from s2tf_edge.runtime.smoothing import Scores, softmax
from s2tf_edge.runtime.timing import StageTimes
from s2tf_edge.runtime.window import Window

__all__ = ["Recogniser"]


class _Track:
    """What is remembered of one source: its smoothed scores and its current action."""

    def __init__(self, source: int, labels: tuple[str, ...], options: StreamOptions) -> None:
        self.smoother = options.smoothing.start()
        self.events = EventTracker(labels, threshold=options.threshold, source=source)


class Recogniser:
    """Runs windows of any number of sources through one session."""

    def __init__(self, session: Session, options: StreamOptions) -> None:
        self._session = session
        self._options = options
        self._labels: tuple[str, ...] = ()
        self._tracks: dict[int, _Track] = {}
        self.times = StageTimes()

    def warm_up(self) -> None:
        """Runs the network once on nothing, which the first run of many runtimes takes far longer for than others."""
        spec = self._session.info.spec
        nothing = np.zeros((spec.frames, spec.size, spec.size, 3), np.uint8)
        self._session.infer(normalise(nothing, spec)[None])

    def run(self, windows: Sequence[Window]) -> Iterator[list[Prediction | Event]]:
        """Runs the network once; yields for each window its prediction and the event that it ended, if any."""
        if not windows:
            return
        scores, infer_ms = self._infer(windows)
        for window, row in zip(windows, scores, strict=True):
            yield self._recognised(window, row, infer_ms)

    def gap(self, source: int) -> list[Event]:
        """Forgets the scores from before a gap; returns the event that it ended, if any."""
        track = self._tracks.get(source)
        if track is None:
            return []
        track.smoother.reset()
        return _some(track.events.reset())

    def end(self, source: int) -> list[Event]:
        """Forgets the source; returns the event that ends with it, if any."""
        track = self._tracks.pop(source, None)
        return [] if track is None else _some(track.events.end())

    def _infer(self, windows: Sequence[Window]) -> tuple[Scores, float]:
        started = perf_counter()
        for window in windows:
            self.times.add("queue", 1e3 * (started - window.made_at))
        clips: Clips = np.stack(  # type: ignore[assignment]  # stack forgets which of two dtypes it was
            [normalise(window.frames, self._session.info.spec) for window in windows]
        )
        prepared = perf_counter()
        logits = self._session.infer(clips).logits
        infer_ms = 1e3 * (perf_counter() - prepared)
        self.times.add("preprocess", 1e3 * (prepared - started))
        self.times.add("infer", infer_ms)
        return softmax(logits), infer_ms

    def _recognised(self, window: Window, scores: Scores, infer_ms: float) -> list[Prediction | Event]:
        track = self._track(window.source, classes=len(scores))
        smoothed = track.smoother.update(scores)
        best = np.argsort(-smoothed, kind="stable")[: self._options.topk]
        topk = tuple((self._labels[index], float(smoothed[index])) for index in best)
        age_ms = 1e3 * (perf_counter() - window.presented_at)
        self.times.add("age", age_ms)
        prediction = Prediction(
            source=window.source,
            t_start=window.t_start,
            t_end=window.t_end,
            label=topk[0][0],
            score=topk[0][1],
            topk=topk,
            age_ms=age_ms,
            infer_ms=infer_ms,
        )
        return [prediction, *_some(track.events.update(smoothed, t_start=window.t_start, t_end=window.t_end))]

    def _track(self, source: int, *, classes: int) -> _Track:
        if not self._labels:
            self._labels = tuple(self._session.info.label(index) for index in range(classes))
        if source not in self._tracks:
            self._tracks[source] = _Track(source, self._labels, self._options)
        return self._tracks[source]


def _some(event: Event | None) -> list[Event]:
    return [] if event is None else [event]
