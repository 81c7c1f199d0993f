"""Which packets of a source that is behind are decoded."""

from __future__ import annotations

import pytest

from s2tf_edge.runtime.sources.catch_up import CatchUp
from s2tf_edge.runtime.sources.presentation import PresentationClock


def test_near_real_time_everything_is_decoded() -> None:
    catch_up = CatchUp()
    assert all(catch_up.takes(0.9, is_key=False, arrived_at=0.0) for _ in range(100))
    assert not catch_up.skips


def test_a_second_behind_frames_that_no_other_needs_are_left_out_until_it_is_near() -> None:
    catch_up = CatchUp()
    told = []
    for lag_seconds in (0.9, 1.1, 0.8, 0.4):
        assert catch_up.takes(lag_seconds, is_key=False, arrived_at=0.0)
        told.append(catch_up.skips)
    assert told == [False, True, True, False]


def test_two_seconds_behind_nothing_is_decoded_up_to_a_key_frame_near_real_time() -> None:
    catch_up = CatchUp()
    packets = [(1.9, False), (2.1, False), (2.0, True), (0.4, False), (0.4, True), (0.4, False)]
    taken = [catch_up.takes(lag_seconds, is_key=is_key, arrived_at=0.0) for lag_seconds, is_key in packets]
    assert taken == [True, False, False, False, True, True]


def test_a_source_without_key_frames_is_waited_for_ten_seconds() -> None:
    catch_up = CatchUp()
    assert not catch_up.takes(2.1, is_key=False, arrived_at=100.0)
    taken = [catch_up.takes(0.0, is_key=False, arrived_at=100.0 + second) for second in range(13)]
    assert taken == [False] * 11 + [True] * 2


def test_a_reader_that_waits_for_late_packets_is_idle() -> None:
    catch_up = CatchUp()
    idle = [catch_up.is_idle(1.5, waited_seconds=0.03, arrived_at=0.04 * index) for index in range(60)]
    assert not any(idle[:50])
    assert all(idle[52:])


def test_segments_that_are_asked_for_too_early_are_no_other_clock() -> None:
    catch_up = CatchUp(slack_seconds=6.0)
    assert not any(catch_up.is_idle(3.5, waited_seconds=0.03, arrived_at=0.04 * index) for index in range(500))
    assert any(catch_up.is_idle(7.5, waited_seconds=0.03, arrived_at=100 + 0.04 * index) for index in range(60))


def test_a_reader_that_is_busy_is_not_idle() -> None:
    catch_up = CatchUp()
    assert not any(catch_up.is_idle(1.5, waited_seconds=0.001, arrived_at=0.04 * index) for index in range(200))
    assert not any(catch_up.is_idle(0.5, waited_seconds=0.04, arrived_at=8 + 0.04 * index) for index in range(200))


FPS = 25


class Stream:
    """Frames of 25 a second that reach a reader by a clock of its own.

    Args:
        decode_seconds: what the reader takes for each of them.
    """

    def __init__(self, decode_seconds: float) -> None:
        self._decode_seconds = decode_seconds
        self._catch_up = CatchUp()
        self._presentation = PresentationClock()
        self.now = 1000.0
        self.frames = 0
        self.lags: list[float] = []
        self.skips = self.left_out = 0

    def read(self, *, at: float) -> None:
        """Reads the next frame, which is there from ``at`` on, and decodes it."""
        asked_at, seconds = self.now, self.frames / FPS
        self.now, self.frames = max(self.now, 1000.0 + at), self.frames + 1
        times = {"waited_seconds": self.now - asked_at, "arrived_at": self.now}
        late_seconds = self.now - self._presentation.presented_at(seconds, arrived_at=self.now)
        if self._catch_up.is_idle(late_seconds, **times):
            self._presentation.reset()
            late_seconds = self.now - self._presentation.presented_at(seconds, arrived_at=self.now)
        self.lags.append(self._catch_up.lag(seconds, late_seconds=late_seconds, **times))
        is_taken = self._catch_up.takes(self.lags[-1], is_key=self.frames % FPS == 0, arrived_at=self.now)
        self.left_out += not is_taken
        self.skips += self._catch_up.skips
        self.now += self._decode_seconds * is_taken

    def read_segments(self, seconds: float, *, count: int, first_at: float = 0.0) -> None:
        """Reads segments each of which is there whole once its last frame is."""
        for index in range(count):
            for _ in range(round(FPS * seconds)):
                self.read(at=first_at + (index + 1) * seconds)


@pytest.mark.parametrize("seconds", [1.0, 2.0, 4.0, 6.0, 10.0])
@pytest.mark.parametrize("load", [0.02, 0.5, 0.85])
def test_segments_that_come_whole_are_not_behind(seconds: float, load: float) -> None:
    stream = Stream(load / FPS)
    stream.read_segments(seconds, count=20)
    assert (stream.left_out, stream.skips) == (0, 0)


def test_a_reader_that_is_too_slow_for_segments_is_behind() -> None:
    stream = Stream(1.5 / FPS)
    stream.read_segments(4.0, count=10)
    assert stream.left_out > 100
    assert max(stream.lags) < 5


def test_what_a_network_held_back_is_not_behind() -> None:
    stream = Stream(0.3 / FPS)
    for index in range(4000):
        # Every 20 seconds nothing comes for five, then all of it.
        seconds = index / FPS
        stream.read(at=max(seconds, 20 * (seconds // 20) + 5))
    assert (stream.left_out, stream.skips) == (0, 0)


def test_a_reader_that_is_too_slow_after_a_stall_is_behind() -> None:
    stream = Stream(0.3 / FPS)
    for index in range(500):
        stream.read(at=max(index / FPS, 5.0))
    stream._decode_seconds = 1.5 / FPS
    for index in range(500, 1000):
        stream.read(at=index / FPS)
    assert stream.left_out > 25
    assert max(stream.lags) < 3


def test_long_reads_of_a_machine_that_is_too_slow_excuse_it_for_a_minute() -> None:
    stream = Stream(0.0)
    for _ in range(3000):
        seconds = stream.frames / FPS
        # Each second one read takes 0.2 s, for want of a processor; all in all it is a tenth too slow.
        stream._decode_seconds = 0.9 / FPS
        is_long = stream.frames % FPS == 0
        stream.read(at=(stream.now - 1000.0 + 0.2) if is_long else seconds)
    assert stream.left_out > 0
