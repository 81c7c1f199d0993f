"""Actions with a beginning and an end, found in the smoothed scores of one source."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from s2tf_edge.runtime.streaming.records import Action, Event, own_time
from s2tf_edge.runtime.streaming.smoothing import Scores

__all__ = ["EventTracker"]

_LEAVE: Final = 0.8
"""An action goes on while its score is at least this fraction of the threshold."""


@dataclass(kw_only=True)
class _OpenAction:
    """What is known so far of the action that goes on."""

    index: int
    t_start: float
    t_end: float
    total: float
    windows: int
    own_offset_seconds: float

    @property
    def score(self) -> float:
        return self.total / self.windows


class EventTracker:
    """Joins windows with the same label into events.

    An action begins with a window whose best class reaches the threshold. It goes on while its own score stays at or
    above four fifths of the threshold and no other class is the best and reaches the threshold, so that a score that
    trembles about the threshold makes one event, not many:

        score   ▁▂▄▆▆▅▄▅▆▅▂▁      begins at the threshold, ends below 0.8 of it
        event      └─────┘

    Windows overlap, events do not: the next one begins where the last one ended at the earliest.
    """

    def __init__(
        self, labels: tuple[str, ...], *, threshold: float, source: int = 0, region: str | None = None
    ) -> None:
        self._labels = labels
        self._threshold = threshold
        self._source = source
        self._region = region
        self._action: _OpenAction | None = None
        self._free_from = float("-inf")

    @property
    def current(self) -> Action | None:
        """The action that goes on, if any."""
        action = self._action
        if action is None:
            return None
        return Action(
            label=self._labels[action.index],
            t_start=action.t_start,
            score=action.score,
            is_new=action.windows == 1,
        )

    def update(self, scores: Scores, *, t_start: float, t_end: float, own_offset_seconds: float = 0.0) -> Event | None:
        """Takes the next window; returns the event that it ends, if any.

        Args:
            scores: smoothed.
            t_start: when the window's first frame is presented, in seconds.
            t_end: when its last frame is.
            own_offset_seconds: from there to the source's own time.
        """
        best = int(scores.argmax())
        found = best if scores[best] >= self._threshold else None
        action = self._action
        # Another class ends the action only where it reaches the threshold itself, not by being ahead alone.
        if action is not None and found in {None, action.index} and scores[action.index] >= _LEAVE * self._threshold:
            action.t_end, action.windows = t_end, action.windows + 1
            action.total += float(scores[action.index])
            return None
        ended = self.end()
        if found is not None:
            # The window may reach back into the event before it; that part of it is taken.
            start = max(t_start, self._free_from)
            self._action = _OpenAction(
                index=found,
                t_start=start,
                t_end=t_end,
                total=float(scores[found]),
                windows=1,
                own_offset_seconds=own_offset_seconds,
            )
        return ended

    def end(self) -> Event | None:
        """Ends the current event, as at a gap or the end of the source."""
        action, self._action = self._action, None
        if action is None:
            return None
        self._free_from = action.t_end
        return Event(
            source=self._source,
            region=self._region,
            label=self._labels[action.index],
            t_start=action.t_start,
            t_end=action.t_end,
            score=action.score,
            source_t_start=own_time(action.t_start, action.own_offset_seconds),
            source_t_end=own_time(action.t_end, action.own_offset_seconds),
        )
