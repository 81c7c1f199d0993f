"""Tells the service manager that started this process, such as systemd, how the stream is.

    READY=1        the network is ready, and what is read plays, or is known to be away for now
    STATUS=        where the stream is, on one line
    WATCHDOG=1     the stream moves
    RELOADING=1    it begins anew, with what its file says now
    STOPPING=1     it ends

The manager says by variables of the environment where it listens (``NOTIFY_SOCKET``) and how often it wants a sign of
life (``WATCHDOG_USEC``); its words are those of sd_notify(3).
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable, Mapping
from typing import Final

from s2tf_edge.runtime.streaming.records import Prediction, Record, Start, Status, Summary
from s2tf_edge.words import counted, first_few, one_line, printable, shortened

__all__ = ["NotifySocket", "ServiceSink"]

logger = logging.getLogger(__name__)

_SEND_SECONDS: Final = 1.0
_STATUS_SECONDS: Final = 5.0
_BEATS: Final = 3
"""Signs of life in the time after which one is missed."""
_KNOWN: Final = ("playing", "lost", "ended")
"""States of a source that was opened, or that is tried again and again."""


class NotifySocket:
    """Where a service manager listens.

    Args:
        address: path of a datagram socket, or an abstract name behind an ``@``.
        watchdog_seconds: longest time without a sign of life; None where nobody waits for one.
    """

    def __init__(self, address: str, *, watchdog_seconds: float | None = None) -> None:
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self.watchdog_seconds = watchdog_seconds

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> NotifySocket | None:
        """The one that the environment names; None where there is none."""
        address = environment.get("NOTIFY_SOCKET", "")
        if not address.startswith(("/", "@")):
            return None
        return cls(address, watchdog_seconds=_watchdog_seconds(environment))

    @property
    def beat_seconds(self) -> float:
        """From one sign of life to the next."""
        return min(_STATUS_SECONDS, (self.watchdog_seconds or _STATUS_SECONDS * _BEATS) / _BEATS)

    def send(self, *lines: str) -> None:
        """Says something; a manager that cannot be told is no reason to fail."""
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.settimeout(_SEND_SECONDS)
                sender.sendto("\n".join(lines).encode(), self._address)
        except OSError as error:
            logger.debug("the service manager cannot be told: %s", error)

    def tell_reloading(self) -> None:
        """Says that what is asked for is read again; ``READY=1`` ends that."""
        self.send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")


def _watchdog_seconds(environment: Mapping[str, str]) -> float | None:
    text, process = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", "")
    is_ours = not process or process == str(os.getpid())
    return int(text) / 1e6 if is_ours and text.isdecimal() and int(text) else None


class ServiceSink:
    """Says that a stream is ready, and then how it is, with a sign of life as long as it moves.

    A sign of life needs a Status, which comes only while records are made and all other sinks take them; a network
    whose run has ended within the time of the watchdog; and readers that have not been busy with one frame for so
    long. A source that is away is no hang: the stream itself gives up a read that takes too long, and tries again.

    Args:
        notify: where the service manager listens.
        clock: tells seconds.
    """

    def __init__(self, notify: NotifySocket, *, clock: Callable[[], float] = time.perf_counter) -> None:
        self._notify = notify
        self._clock = clock
        self._told_at = float("-inf")
        self._pictures: set[int] = set()
        """Sources whose frames count: of zones that share pictures the first."""
        self._is_ready = False
        self._hangs = False
        self._before: tuple[float, int, int] = (0.0, 0, 0)
        """Seconds, frames and windows of the Status that was told last."""

    def write(self, record: Record) -> None:
        """Takes any record."""
        if isinstance(record, Start):
            self._pictures = {record.picture_of(source) for source in range(len(record.sources))}
        elif isinstance(record, Prediction):
            self._tell_ready()
        elif isinstance(record, Status):
            self._take_status(record)
        elif isinstance(record, Summary) and record.frames_in:
            self._tell_ready()

    def close(self) -> None:
        """Nothing is open: whether the process ends is its own to say."""

    def _tell_ready(self) -> None:
        if not self._is_ready:
            self._is_ready = True
            self._notify.send("READY=1")

    def _take_status(self, status: Status) -> None:
        if any(source.state in _KNOWN for source in status.sources):
            self._tell_ready()
        now = self._clock()
        if now - self._told_at < self._notify.beat_seconds:
            return
        self._told_at = now
        hang = self._find_hang(status)
        if hang is not None:
            self._notify.send(f"STATUS={hang}")
        else:
            beat = [] if self._notify.watchdog_seconds is None else ["WATCHDOG=1"]
            self._notify.send(f"STATUS={self._describe(status)}", *beat)
        if hang is not None and not self._hangs:
            logger.warning("%s; the service manager is not told that all is well", hang)
        self._hangs = hang is not None

    def _find_hang(self, status: Status) -> str | None:
        limit = self._notify.watchdog_seconds or float("inf")
        if status.network_seconds > limit:
            return f"the network has not answered for {status.network_seconds:.0f} s"
        if status.reader_seconds > limit:
            return f"a reader has been at work on one frame for {status.reader_seconds:.0f} s"
        return None

    def _describe(self, status: Status) -> str:
        """One line of others' words too, which neither breaks nor grows."""
        parts = [_count_states(status), self._rates(status)]
        if lost := [source.name for source in status.sources if source.state in ("lost", "failed")]:
            parts.append(f"away: {first_few(lost)}")
        if drops := [f"{count} {cause.replace('_', ' ')}" for cause, count in status.drops.items()]:
            parts.append(f"left out: {', '.join(drops)}")
        return shortened(printable(one_line("; ".join(parts))))

    def _rates(self, status: Status) -> str:
        frames = sum(source.frames for number, source in enumerate(status.sources) if number in self._pictures)
        windows = sum(source.windows for source in status.sources)
        seconds_before, frames_before, windows_before = self._before
        self._before = (status.seconds, frames, windows)
        seconds = status.seconds - seconds_before or 1.0
        rates = (
            f"{(frames - frames_before) / seconds:.1f} frames/s, {(windows - windows_before) / seconds:.1f} windows/s"
        )
        age = status.stages_ms.get("age")
        return rates + (f", label age p95 {age['p95']:.0f} ms" if age else "")


def _count_states(status: Status) -> str:
    playing = sum(source.state == "playing" for source in status.sources)
    return f"{playing} of {counted(len(status.sources), 'source')} playing"
