"""Which frames of a source that is opened again were given before."""

from __future__ import annotations

from collections.abc import Iterable

from av.packet import Packet

from s2tf_edge.runtime.sources.continuity import Continuity, Mark, mark_packet


def _give(continuity: Continuity, frames: Iterable[tuple[int, int]], *, held: int = 2) -> list[tuple[int, int]]:
    """Passes frames through a decoder that holds some, each a time and what its picture is; returns those given."""
    packets, given = list(frames), []
    for index in range(len(packets) + held):
        if index < len(packets):
            continuity.hold(packets[index][0], Mark(*packets[index]))
        if index >= held and continuity.give(packets[index - held][0], presented_at=0.0):
            given.append(packets[index - held])
    return given


def _frames(*times: int, picture: int = 0) -> list[tuple[int, int]]:
    return [(time, picture) for time in times]


def test_nothing_is_a_repeat_at_first() -> None:
    continuity = Continuity()
    assert not continuity.is_known
    # Within one opening a program may be sent over and over.
    assert len(_give(continuity, [*_frames(1, 2, 3), *_frames(1, 2, 3)])) == 6
    assert continuity.is_known


def test_what_comes_again_is_left_out_up_to_the_first_new_frame() -> None:
    before = Continuity()
    _give(before, _frames(*range(10)))
    assert _give(Continuity(before), _frames(*range(6, 14))) == _frames(10, 11, 12, 13)
    # What is new ends the repetition: a program that begins again is shown again.
    assert _give(Continuity(before), [*_frames(20), *_frames(*range(10))]) == [*_frames(20), *_frames(*range(10))]


def test_the_newest_frame_ends_the_repetition() -> None:
    before = Continuity()
    _give(before, _frames(*range(10)))
    assert _give(Continuity(before), [*_frames(8, 9), *_frames(0, 1, 2)]) == _frames(0, 1, 2)


def test_other_pictures_at_the_same_times_are_new() -> None:
    before = Continuity()
    _give(before, _frames(*range(10)))
    assert _give(Continuity(before), _frames(*range(5, 10), picture=1)) == _frames(*range(5, 10), picture=1)


def test_frames_that_a_decoder_still_held_are_new() -> None:
    before = Continuity()
    for time in (1, 4, 2, 3):
        before.hold(time, Mark(time, 0))
    for time in (1, 2):
        assert before.give(time, presented_at=0.0)
    after = Continuity(before)
    assert [after.hold(time, Mark(time, 0)) for time in (1, 4, 2, 3, 5)] == [True, False, True, False, False]
    assert [time for time in (1, 2, 3, 4, 5) if after.give(time, presented_at=0.0)] == [3, 4, 5]


def test_of_what_has_ended_only_what_comes_behind_the_newest_is_new() -> None:
    before = Continuity()
    _give(before, _frames(*range(5, 10)))
    assert _give(Continuity(before, has_ended=True), _frames(*range(12))) == _frames(10, 11)


def test_what_an_abandoned_reader_brings_later_changes_nothing() -> None:
    before = Continuity()
    _give(before, _frames(1, 2, 3))
    after = Continuity(before)
    _give(before, _frames(4, 5))
    before.clock.presented_at(5.0, arrived_at=1.0)
    assert _give(after, _frames(3, 4, 5)) == _frames(4, 5)
    assert after.clock.presented_at(0.0, arrived_at=7.0) == 7.0


def test_it_does_not_grow_for_ever() -> None:
    continuity = Continuity()
    _give(continuity, _frames(*range(20_000)))
    assert len(continuity._given) < 10_000
    for time in range(1000):
        continuity.hold(time, Mark(time, 0))
    assert len(continuity._held) < 100


def test_a_packet_is_known_by_its_time_and_its_bytes() -> None:
    packet, other = Packet(b"abc"), Packet(b"abd")
    assert mark_packet(packet) is None
    packet.pts = other.pts = 5
    assert mark_packet(packet) == mark_packet(packet) != mark_packet(other)
