"""The queue between reading and running cannot grow, and says what it lost."""

from __future__ import annotations

import threading

import av
import numpy as np

from s2tf_edge.runtime.mailbox import Ended, Mailbox
from s2tf_edge.runtime.predictions import Gap, Picture
from s2tf_edge.runtime.window import Window


def _window(number: float, *, source: int = 0) -> Window:
    return Window(
        source=source, frames=np.zeros((1, 1, 1, 3), np.uint8), t_start=number, t_end=number, presented_at=0.0
    )


def _feeder(mailbox: Mailbox, count: int) -> threading.Thread:
    def feed() -> None:
        for number in range(count):
            mailbox.put(_window(number), wait=True)

    return threading.Thread(target=feed)


def _starts(mailbox: Mailbox, *, windows: int = 100) -> list[tuple[int, float]]:
    taken = mailbox.take(windows=windows)
    return [(item.source, item.t_start) for item in taken if isinstance(item, Window)]


def _pictures(mailbox: Mailbox) -> list[Picture]:
    taken: list[Picture] = []
    while picture := mailbox.take_picture():
        taken.append(picture)
    return taken


def test_a_live_source_keeps_its_newest_window() -> None:
    mailbox = Mailbox()
    for number in range(5):
        mailbox.put(_window(number), wait=False)
        mailbox.put(_window(number, source=1), wait=False)
    assert _starts(mailbox) == [(0, 4), (1, 4)]
    assert mailbox.drops == {"windows_superseded": 8}


def test_a_file_waits_and_loses_nothing() -> None:
    mailbox = Mailbox()
    feeder = _feeder(mailbox, 20)
    feeder.start()
    feeder.join(0.05)
    assert feeder.is_alive()
    taken: list[tuple[int, float]] = []
    while len(taken) < 20:
        mailbox.wait(lambda: not mailbox.is_empty, timeout_seconds=5)
        waiting = mailbox.take(windows=100)
        assert len(waiting) <= 2
        taken += [(item.source, item.t_start) for item in waiting if isinstance(item, Window)]
    feeder.join(5)
    assert taken == [(0, number) for number in range(20)]
    assert not mailbox.drops


def test_pictures_wait_by_their_size() -> None:
    frame = av.VideoFrame(3840, 2160, "yuv420p")
    picture = Picture(source=0, pts_seconds=0.0, frame=frame)
    mailbox = Mailbox()
    for _ in range(20):
        mailbox.put(picture, wait=False)
    held = len(_pictures(mailbox))
    assert held == 128 * 2**20 // picture.nbytes == 10
    assert mailbox.drops == {"pictures_left_out": 20 - held}


def test_few_pictures_go_past_however_small_they_are() -> None:
    mailbox = Mailbox()
    frame = av.VideoFrame(16, 16, "yuv420p")
    for _ in range(2):
        for number in range(100):
            mailbox.put(Picture(source=0, pts_seconds=number, frame=frame), wait=False)
        assert [picture.pts_seconds for picture in _pictures(mailbox)] == [*range(30)]
    assert mailbox.drops == {"pictures_left_out": 140}


def test_a_picture_larger_than_the_share_is_taken_alone() -> None:
    mailbox = Mailbox()
    picture = Picture(source=0, pts_seconds=0.0, frame=av.VideoFrame(16000, 9000, "yuv420p"))
    assert picture.nbytes > 128 * 2**20
    for _ in range(2):
        mailbox.put(picture, wait=False)
        mailbox.put(picture, wait=False)
        assert _pictures(mailbox) == [picture]


def test_take_stops_after_as_many_windows_as_one_run_takes() -> None:
    mailbox = Mailbox()
    gap = Gap(source=0, t_start=0.0, t_end=9.0)
    for item in (_window(0), gap, _window(9), Ended(source=0)):
        mailbox.put(item, wait=True)
    assert len(mailbox.take(windows=1)) == 1
    assert mailbox.take(windows=1)[0] is gap
    assert mailbox.take(windows=1) == [Ended(source=0)]
    assert mailbox.take(windows=1) == []


def test_closing_lets_nobody_wait() -> None:
    mailbox = Mailbox()
    feeder = _feeder(mailbox, 9)
    feeder.start()
    mailbox.close()
    feeder.join(5)
    assert not feeder.is_alive()


def test_sources_take_turns_however_fast_they_come() -> None:
    mailbox = Mailbox()
    served = []
    for number in range(30):
        # Of the first source three windows come for each that is taken, of the others one.
        for source in (0, 0, 0, 1, 2):
            mailbox.put(_window(number, source=source), wait=False)
        served += [source for source, _ in _starts(mailbox, windows=1)]
    assert served[:6] == [0, 1, 2, 0, 1, 2]
    assert [served.count(source) for source in range(3)] == [10, 10, 10]


def test_sources_that_are_read_one_after_another_keep_their_order() -> None:
    mailbox = Mailbox([[0, 1], [2]])
    for source in (0, 1):
        mailbox.put(_window(0, source=source), wait=True)
        mailbox.put(_window(0, source=2), wait=False)
    assert [source for source, _ in _starts(mailbox)] == [0, 2, 1]


def test_many_short_files_wait_as_one_long_one_does() -> None:
    mailbox = Mailbox([range(20)])

    def feed() -> None:
        for source in range(20):
            mailbox.put(_window(0, source=source), wait=True)
            mailbox.put(Ended(source=source), wait=True)

    feeder = threading.Thread(target=feed)
    feeder.start()
    feeder.join(0.05)
    assert feeder.is_alive()
    taken: list[int] = []
    while len(taken) < 20:
        mailbox.wait(lambda: not mailbox.is_empty, timeout_seconds=5)
        waiting = _starts(mailbox)
        assert len(waiting) <= 2
        taken += [source for source, _ in waiting]
    feeder.join(5)
    assert taken == [*range(20)]


def test_of_many_short_files_that_do_not_wait_the_newest_windows_are_kept() -> None:
    mailbox = Mailbox([range(20)])
    for source in range(20):
        mailbox.put(_window(0, source=source), wait=False)
    assert [source for source, _ in _starts(mailbox)] == [18, 19]
    assert mailbox.drops == {"windows_superseded": 18}


def test_pictures_of_a_source_that_cannot_wait_go_past_its_windows() -> None:
    mailbox = Mailbox()
    picture = Picture(source=0, pts_seconds=0.0, frame=av.VideoFrame(64, 48, "yuv420p"))
    mailbox.put(_window(0), wait=False)
    assert not mailbox.has_pictures
    mailbox.put(picture, wait=False)
    assert mailbox.has_pictures
    assert _pictures(mailbox) == [picture]
    assert not mailbox.has_pictures
    mailbox.put(picture, wait=True)
    assert _pictures(mailbox) == []
    assert len(mailbox.take(windows=2)) == 2
    assert mailbox.is_empty


def test_what_comes_after_closing_changes_nothing() -> None:
    mailbox = Mailbox()
    mailbox.put(_window(1), wait=False)
    mailbox.close()
    mailbox.put(_window(2), wait=False)
    assert _starts(mailbox) == [(0, 1)]
    assert not mailbox.drops
