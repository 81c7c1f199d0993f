"""Actions with a beginning and an end, found in the smoothed scores of one source."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from s2tf_edge.runtime.streaming.records import Event
from s2tf_edge.runtime.streaming.smoothing import Scores

__all__ = ["EventTracker"]

_LEAVE: Final = 0.8
"""An action goes on while its score is at least this fraction of the threshold."""


@dataclass(kw_only=True)
class _Action:
    """What is known so far of the action that goes on."""

    index: int
    t_start: float
    t_end: float
    total: float
    windows: int


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
        self._action: _Action | None = None
        self._free_from = float("-inf")

    def update(self, scores: Scores, *, t_start: float, t_end: float) -> Event | None:
        """Takes the next window; returns the event that it ends, if any."""
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
            self._action = _Action(index=found, t_start=start, t_end=t_end, total=float(scores[found]), windows=1)
        return ended

    def end(self) -> Event | None:
        """Ends the current event, as at the end of the source."""
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
            score=action.total / action.windows,
        )

    def reset(self) -> Event | None:
        """Ends the current event and forgets its time, as at a gap, after which time may start anew."""
        ended = self.end()
        self._free_from = float("-inf")
        return ended
