"""One line of time through the packets of a source, whatever its own clock does.

Recordings that were strung together, files that are looped, and cameras that were restarted begin their clock anew.
What comes after such a restart is placed behind what came before, a frame later:

    own clock   0.00 0.04 0.08   0.00 0.04 0.08   0.00 …        three parts, each with a clock of its own
    placed      0.00 0.04 0.08   0.12 0.16 0.20   0.24 …

A restart is told by the order of *decoding*, in which the packets of one clock never go back. Pictures may: they are
presented in another order than they are decoded in, and those that come late are no restart.
"""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple

import av
from av.format import Flags
from av.packet import Packet
from av.video.stream import VideoStream

from s2tf_edge.data.frames import nominal_fps

__all__ = ["Timeline", "drain", "may_restart"]

_RESTARTS: Final[int] = Flags.ts_discont.value  # type: ignore[assignment]  # the stub gives the flag itself
_TREMBLING_PERIODS: Final = 2
"""By so many frames a key frame may come early, where every frame is one: times of cameras tremble."""
_REORDERED_PERIODS: Final = 17
"""H.264 holds back 16 pictures at most."""
_MIN_BACK_SECONDS: Final = 1.0
_MAX_AHEAD_SECONDS: Final = 10.0
"""FFmpeg's own bound, behind which times of a transport stream count as those of another clock."""
_MAX_RESTARTS: Final = 16
"""Parts that are remembered: more than packets are held of."""


def may_restart(stream: VideoStream) -> bool:
    """Whether the container is one of those whose clock may start anew, as a transport stream's."""
    return bool(stream.container.format.flags & _RESTARTS)


def drain(stream: VideoStream) -> list[av.VideoFrame]:
    """The frames that the decoder still holds; what it is given next refers to none of them, nor follows in time."""
    try:
        frames = stream.codec_context.decode(None)
    except av.FFmpegError:
        frames = []
    stream.codec_context.flush_buffers()
    for frame in frames:
        frame.time_base = frame.time_base or stream.time_base
    return frames


class _Part(NamedTuple):
    """What was read from one restart to the next, in ticks."""

    start: int
    """Placed time of its first packet, that of decoding where it has one."""
    shift: int
    """From own to placed time."""


class Timeline:
    """Places packets in the order in which they are read, and tells where they came from.

    Args:
        stream: of the packets.
        is_live: whether packets come in real time: a restart then takes as long as it was waited for.
        in_segments: whether they come many at once, so that waiting tells nothing of a restart.
    """

    def __init__(self, stream: VideoStream, *, is_live: bool = False, in_segments: bool = False) -> None:
        self._ticks = float(1 / stream.time_base) if stream.time_base else 1.0
        self._period = max(1, round(self._ticks / float(nominal_fps(stream))))
        self._may_restart = may_restart(stream)
        self._is_live = is_live
        self._in_segments = in_segments
        self._last_dts: int | None = None
        self._max_pts: int | None = None
        self._parts: deque[_Part] = deque([_Part(start=-(2**63), shift=0)], maxlen=_MAX_RESTARTS)
        self._forgotten = 0

    @property
    def parts(self) -> int:
        """How many there were so far."""
        return self._forgotten + len(self._parts)

    def place(self, packet: Packet[VideoStream], *, waited_seconds: float = 0.0) -> None:
        """Sets the times of the next packet; one without any keeps none.

        Args:
            packet: as it was read.
            waited_seconds: for how long it was waited for.
        """
        own = _own_ticks(packet)
        if own is None:
            return
        # What an edit list leaves out is decoded only for what comes after it.
        is_counted = not packet.is_discard
        waited = round(waited_seconds * self._ticks) if self._is_live else 0
        if is_counted and self._max_pts is not None and self._is_restart(packet, own, waited):
            self._begin_part(packet, self._period if self._in_segments else max(self._period, waited), self._max_pts)
        shift = self._parts[-1].shift
        packet.pts = None if packet.pts is None else packet.pts + shift
        packet.dts = None if packet.dts is None else packet.dts + shift
        if is_counted:
            self._last_dts = self._last_dts if packet.dts is None else packet.dts
            self._max_pts = own + shift if self._max_pts is None else max(self._max_pts, own + shift)

    def part(self, packet: Packet[VideoStream]) -> int:
        """The number of the part that a placed packet is of, from 0; that of the latest for one without times."""
        ticks = packet.pts if packet.dts is None else packet.dts
        last = len(self._parts) - 1
        if ticks is None:
            return self._forgotten + last
        return self._forgotten + next((index for index in range(last, 0, -1) if self._parts[index].start <= ticks), 0)

    def own_offset_seconds(self, part: int) -> float:
        """From placed time to the source's own, in one of its parts."""
        return -self._parts[max(0, part - self._forgotten)].shift / self._ticks

    def _is_restart(self, packet: Packet[VideoStream], own: int, waited: int) -> bool:
        shift = self._parts[-1].shift
        step = own + shift - (self._max_pts or 0)
        back = step if packet.dts is None or self._last_dts is None else packet.dts + shift - self._last_dts
        if packet.is_keyframe:
            # A transport stream's times of decoding rise, however little. Others are made up by FFmpeg, or a camera.
            usual = -1 if self._may_restart and packet.dts is not None else _TREMBLING_PERIODS * self._period
            ahead = max(_MAX_AHEAD_SECONDS * self._ticks, 3 * self._period) + waited
            is_ahead = (self._is_live or self._may_restart) and min(step, back) > ahead
            return -back > usual or is_ahead
        return -back > max(_MIN_BACK_SECONDS * self._ticks, _REORDERED_PERIODS * self._period)

    def _begin_part(self, packet: Packet[VideoStream], step: int, max_pts: int) -> None:
        """Behind the last frame presented, and the last one decoded: what is held back differs from clock to clock."""
        own = _own_ticks(packet) or 0
        shift = max_pts + step - own
        if packet.dts is not None and self._last_dts is not None:
            shift = max(shift, self._last_dts + step - packet.dts)
        self._forgotten += len(self._parts) == _MAX_RESTARTS
        start = own if packet.dts is None else packet.dts
        self._parts.append(_Part(start=start + shift, shift=shift))


def _own_ticks(packet: Packet[VideoStream]) -> int | None:
    return packet.dts if packet.pts is None else packet.pts
