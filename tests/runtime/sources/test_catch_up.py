"""Which packets of a source that is behind are decoded."""

from __future__ import annotations

from s2tf_edge.runtime.sources.catch_up import CatchUp


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


def test_a_reader_that_is_busy_is_not_idle() -> None:
    catch_up = CatchUp()
    assert not any(catch_up.is_idle(1.5, waited_seconds=0.001, arrived_at=0.04 * index) for index in range(200))
    assert not any(catch_up.is_idle(0.5, waited_seconds=0.04, arrived_at=8 + 0.04 * index) for index in range(200))
