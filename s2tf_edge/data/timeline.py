"""One line of time through the packets of a source, whatever its own clock does.

Recordings that were strung together, files that are looped, and cameras that were restarted begin their clock anew.
What comes after such a restart is placed behind what came before, a frame later:

    own clock   0.00 0.04 0.08   0.00 0.04 0.08   0.00 …        three clips, each with a clock of its own
    placed      0.00 0.04 0.08   0.12 0.16 0.20   0.24 …

A restart is told by the order of *decoding*, in which the packets of one clock never go back. Pictures may: they are
presented in another order than they are decoded in, and those that come late are no restart.
"""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple

from av.format import Flags
from av.packet import Packet
from av.video.stream import VideoStream

from s2tf_edge.data.frames import nominal_fps

__all__ = ["Timeline", "may_restart"]

_RESTARTS: Final[int] = Flags.ts_discont.value  # type: ignore[assignment]  # the stub gives the flag itself
_KEY_PERIODS: Final = 2
"""By so many frames a key frame may come early: times of cameras tremble."""
_REORDERED_PERIODS: Final = 17
"""H.264 holds back 16 pictures at most."""
_MIN_BACK_SECONDS: Final = 1.0
_MAX_AHEAD_SECONDS: Final = 10.0
"""FFmpeg's own bound, behind which times of a transport stream count as those of another clock."""
_MAX_RESTARTS: Final = 16
"""Restarts that are remembered: more than a decoder may hold frames of."""


def may_restart(stream: VideoStream) -> bool:
    """Whether the container is one of those whose clock may start anew, as a transport stream's."""
    return bool(stream.container.format.flags & _RESTARTS)


class _Part(NamedTuple):
    """What was read from one restart to the next, in ticks."""

    start: int
    """Placed time of its first packet."""
    shift: int
    """From own to placed time."""


class Timeline:
    """Places packets in the order in which they are read, and tells of frames where they came from.

    Args:
        stream: of the packets.
        is_live: whether packets come in real time: a restart then takes as long as it was waited for.
        in_segments: whether they come many at once, so that waiting tells nothing of a restart.
    """

    def __init__(self, stream: VideoStream, *, is_live: bool = False, in_segments: bool = False) -> None:
        self._ticks = float(1 / stream.time_base) if stream.time_base else 1.0
        self._period = max(1, round(self._ticks / float(nominal_fps(stream))))
        self._jumps_ahead = is_live or may_restart(stream)
        self._is_live = is_live
        self._in_segments = in_segments
        self._last_dts: int | None = None
        self._max_pts: int | None = None
        self._parts: deque[_Part] = deque([_Part(start=-(2**63), shift=0)], maxlen=_MAX_RESTARTS)
        self._dropped = 0

    def place(self, packet: Packet[VideoStream], *, waited_seconds: float = 0.0) -> None:
        """Sets the times of the next packet; one without any keeps none.

        Args:
            packet: as it was read.
            waited_seconds: for how long it was waited for.
        """
        own = packet.dts if packet.pts is None else packet.pts
        if own is None:
            return
        waited = round(waited_seconds * self._ticks) if self._is_live else 0
        if self._is_restart(packet, own, waited):
            self._begin_part(packet, own, self._period if self._in_segments else max(self._period, waited))
        shift = self._parts[-1].shift
        if packet.pts is not None:
            packet.pts += shift
        if packet.dts is not None:
            packet.dts += shift
            self._last_dts = packet.dts
        self._max_pts = max(own + shift, own + shift if self._max_pts is None else self._max_pts)

    def part(self, pts: int | None) -> int:
        """The number of the part that a frame is of, from 0, by its placed time; that of the latest for None."""
        return self._dropped + self._index(pts)

    def own_offset_seconds(self, pts: int | None) -> float:
        """From a frame's placed time to the source's own."""
        return -self._parts[self._index(pts)].shift / self._ticks

    def _index(self, pts: int | None) -> int:
        last = len(self._parts) - 1
        if pts is None:
            return last
        return next((index for index in range(last, 0, -1) if self._parts[index].start <= pts), 0)

    def _is_restart(self, packet: Packet[VideoStream], own: int, waited: int) -> bool:
        if self._max_pts is None:
            return False
        shift = self._parts[-1].shift
        if packet.dts is None or self._last_dts is None:
            # Only times of presentation: a key frame comes before all that is decoded after it, but never goes back.
            step = own + shift - self._max_pts
        else:
            step = packet.dts + shift - self._last_dts
        usual = _KEY_PERIODS * self._period if packet.is_keyframe else self._longest_reordering
        ahead = max(_MAX_AHEAD_SECONDS * self._ticks, 3 * self._period) + waited
        return -step > usual or (self._jumps_ahead and step > ahead)

    @property
    def _longest_reordering(self) -> float:
        return max(_MIN_BACK_SECONDS * self._ticks, _REORDERED_PERIODS * self._period)

    def _begin_part(self, packet: Packet[VideoStream], own: int, step: int) -> None:
        """Behind the last frame presented, and the last one decoded: what is held back differs from clock to clock."""
        assert self._max_pts is not None
        shift = self._max_pts + step - own
        if packet.dts is not None and self._last_dts is not None:
            shift = max(shift, self._last_dts + step - packet.dts)
        self._dropped += len(self._parts) == _MAX_RESTARTS
        self._parts.append(_Part(start=own + shift, shift=shift))
