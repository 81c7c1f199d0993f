"""From what the network says of windows to predictions and events: smooths, and tells actions apart."""

from __future__ import annotations

from time import perf_counter

import numpy as np

from s2tf_edge.runtime.session import ModelInfo
from s2tf_edge.runtime.sources.timing import StageTimes
from s2tf_edge.runtime.statistics import softmax
from s2tf_edge.runtime.streaming.clip_ring import Window
from s2tf_edge.runtime.streaming.events import EventTracker
from s2tf_edge.runtime.streaming.inference import WindowResult
from s2tf_edge.runtime.streaming.records import Event, Prediction, own_time
from s2tf_edge.runtime.streaming.stream_options import StreamOptions

__all__ = ["Postprocessor"]


class _Track:
    """What is remembered of one source, or of one region of it: its smoothed scores and its current action."""

    def __init__(self, source: int, region: str | None, labels: tuple[str, ...], options: StreamOptions) -> None:
        self.smoother = options.smoothing.start()
        self.events = EventTracker(labels, threshold=options.threshold, source=source, region=region)


class Postprocessor:
    """Makes predictions and events of any number of sources.

    Args:
        info: of the network.
        options: how to smooth, and what counts as an action.
        times: where the time of each stage from window to label goes.
    """

    def __init__(self, info: ModelInfo, options: StreamOptions, *, times: StageTimes) -> None:
        self._info = info
        self._options = options
        self._labels: tuple[str, ...] = ()
        self._tracks: dict[int, dict[str | None, _Track]] = {}
        """By source, then by region."""
        self._times = times

    def predict(self, window: Window, result: WindowResult) -> list[Prediction | Event]:
        """The prediction of a window, and the event that it ended, if any."""
        track = self._find_track(window, classes=len(result.logits))
        smoothed = track.smoother.update(softmax(result.logits[np.newaxis])[0])
        event = track.events.update(
            smoothed, t_start=window.t_start, t_end=window.t_end, own_offset_seconds=window.own_offset_seconds
        )
        best = np.argsort(-smoothed, kind="stable")[: self._options.topk]
        topk = tuple((self._labels[index], float(smoothed[index])) for index in best)
        now = perf_counter()
        stages_ms = {**result.stages_ms, "smooth": 1e3 * (now - result.done_at)}
        age_ms = 1e3 * (now - window.presented_at)
        for stage, milliseconds in {**stages_ms, "age": age_ms}.items():
            self._times.add(stage, milliseconds)
        prediction = Prediction(
            source=window.source,
            region=window.region,
            box=window.box,
            t_start=window.t_start,
            t_end=window.t_end,
            label=topk[0][0],
            score=topk[0][1],
            topk=topk,
            age_ms=age_ms,
            infer_ms=stages_ms["infer"],
            action=track.events.current,
            stages_ms=stages_ms,
            mask=result.mask if self._options.saliency else None,
            source_t_start=own_time(window.t_start, window.own_offset_seconds),
            source_t_end=own_time(window.t_end, window.own_offset_seconds),
        )
        return [prediction, *_as_list(event)]

    def reset(self, source: int) -> list[Event]:
        """Forgets the scores from before a gap; returns the events that it ended, if any."""
        if callable(self._options.regions):
            # What is found after it has a beginning of its own, whatever it is called.
            return self.end(source)
        tracks = self._tracks.get(source, {}).values()
        for track in tracks:
            track.smoother.reset()
        return [event for track in tracks for event in _as_list(track.events.end())]

    def end(self, source: int) -> list[Event]:
        """Forgets the source; returns the events that end with it, if any."""
        tracks = self._tracks.pop(source, {})
        return [event for track in tracks.values() for event in _as_list(track.events.end())]

    def end_region(self, source: int, region: str | None) -> list[Event]:
        """Forgets a region that is gone; returns the event that ends with it, if any."""
        track = self._tracks.get(source, {}).pop(region, None)
        return [] if track is None else _as_list(track.events.end())

    def _find_track(self, window: Window, *, classes: int) -> _Track:
        if not self._labels:
            self._labels = tuple(self._info.label(index) for index in range(classes))
        tracks = self._tracks.setdefault(window.source, {})
        if window.region not in tracks:
            tracks[window.region] = _Track(window.source, window.region, self._labels, self._options)
        return tracks[window.region]


def _as_list(event: Event | None) -> list[Event]:
    return [] if event is None else [event]
