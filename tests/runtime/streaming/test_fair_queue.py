"""The queue between reading and running cannot grow, and says what it lost."""

from __future__ import annotations

import threading

import av
import numpy as np

from s2tf_edge.runtime.streaming.clip_ring import Window
from s2tf_edge.runtime.streaming.fair_queue import Ended, FairQueue
from s2tf_edge.runtime.streaming.records import Gap, Picture


def _window(number: float, *, source: int = 0) -> Window:
    return Window(
        source=source, frames=np.zeros((1, 1, 1, 3), np.uint8), t_start=number, t_end=number, presented_at=0.0
    )


def _feeder(queue: FairQueue, count: int) -> threading.Thread:
    def feed() -> None:
        for number in range(count):
            queue.put(_window(number), wait=True)

    return threading.Thread(target=feed)


def _starts(queue: FairQueue, *, windows: int = 100) -> list[tuple[int, float]]:
    taken = queue.take(windows=windows)
    return [(item.source, item.t_start) for item in taken if isinstance(item, Window)]


def _pictures(queue: FairQueue) -> list[Picture]:
    taken: list[Picture] = []
    while picture := queue.take_picture():
        taken.append(picture)
    return taken


def test_a_live_source_keeps_its_newest_window() -> None:
    queue = FairQueue()
    for number in range(5):
        queue.put(_window(number), wait=False)
        queue.put(_window(number, source=1), wait=False)
    assert _starts(queue) == [(0, 4), (1, 4)]
    assert queue.drops == {"windows_superseded": 8}


def test_a_file_waits_and_loses_nothing() -> None:
    queue = FairQueue()
    feeder = _feeder(queue, 20)
    feeder.start()
    feeder.join(0.05)
    assert feeder.is_alive()
    taken: list[tuple[int, float]] = []
    while len(taken) < 20:
        queue.wait(lambda: not queue.is_empty, timeout_seconds=60)
        waiting = queue.take(windows=100)
        assert len(waiting) <= 2
        taken += [(item.source, item.t_start) for item in waiting if isinstance(item, Window)]
    feeder.join(60)
    assert taken == [(0, number) for number in range(20)]
    assert not queue.drops


def test_pictures_wait_by_their_size() -> None:
    frame = av.VideoFrame(3840, 2160, "yuv420p")
    picture = Picture(source=0, pts_seconds=0.0, frame=frame)
    queue = FairQueue()
    for _ in range(20):
        queue.put(picture, wait=False)
    held = len(_pictures(queue))
    assert held == 128 * 2**20 // picture.nbytes == 10
    assert queue.drops == {"pictures_left_out": 20 - held}


def test_few_pictures_go_past_however_small_they_are() -> None:
    queue = FairQueue()
    frame = av.VideoFrame(16, 16, "yuv420p")
    for _ in range(2):
        for number in range(100):
            queue.put(Picture(source=0, pts_seconds=number, frame=frame), wait=False)
        assert [picture.pts_seconds for picture in _pictures(queue)] == [*range(30)]
    assert queue.drops == {"pictures_left_out": 140}


def test_a_picture_larger_than_the_share_is_taken_alone() -> None:
    queue = FairQueue()
    picture = Picture(source=0, pts_seconds=0.0, frame=av.VideoFrame(16000, 9000, "yuv420p"))
    assert picture.nbytes > 128 * 2**20
    for _ in range(2):
        queue.put(picture, wait=False)
        queue.put(picture, wait=False)
        assert _pictures(queue) == [picture]


def test_take_stops_after_as_many_windows_as_one_run_takes() -> None:
    queue = FairQueue()
    gap = Gap(source=0, t_start=0.0, t_end=9.0)
    for item in (_window(0), gap, _window(9), Ended(source=0)):
        queue.put(item, wait=True)
    assert len(queue.take(windows=1)) == 1
    assert queue.take(windows=1)[0] is gap
    assert queue.take(windows=1) == [Ended(source=0)]
    assert queue.take(windows=1) == []


def test_closing_lets_nobody_wait() -> None:
    queue = FairQueue()
    feeder = _feeder(queue, 9)
    feeder.start()
    queue.close()
    feeder.join(60)
    assert not feeder.is_alive()


def test_sources_take_turns_however_fast_they_come() -> None:
    queue = FairQueue()
    served = []
    for number in range(30):
        # Of the first source three windows come for each that is taken, of the others one.
        for source in (0, 0, 0, 1, 2):
            queue.put(_window(number, source=source), wait=False)
        served += [source for source, _ in _starts(queue, windows=1)]
    assert served[:6] == [0, 1, 2, 0, 1, 2]
    assert [served.count(source) for source in range(3)] == [10, 10, 10]


def test_sources_that_are_read_one_after_another_keep_their_order() -> None:
    queue = FairQueue([[0, 1], [2]])
    for source in (0, 1):
        queue.put(_window(0, source=source), wait=True)
        queue.put(_window(0, source=2), wait=False)
    assert [source for source, _ in _starts(queue)] == [0, 2, 1]


def test_many_short_files_wait_as_one_long_one_does() -> None:
    queue = FairQueue([range(20)])

    def feed() -> None:
        for source in range(20):
            queue.put(_window(0, source=source), wait=True)
            queue.put(Ended(source=source), wait=True)

    feeder = threading.Thread(target=feed)
    feeder.start()
    feeder.join(0.05)
    assert feeder.is_alive()
    taken: list[int] = []
    while len(taken) < 20:
        queue.wait(lambda: not queue.is_empty, timeout_seconds=60)
        waiting = _starts(queue)
        assert len(waiting) <= 2
        taken += [source for source, _ in waiting]
    feeder.join(60)
    assert taken == [*range(20)]


def test_of_many_short_files_that_do_not_wait_the_newest_windows_are_kept() -> None:
    queue = FairQueue([range(20)])
    for source in range(20):
        queue.put(_window(0, source=source), wait=False)
    assert [source for source, _ in _starts(queue)] == [18, 19]
    assert queue.drops == {"windows_superseded": 18}


def test_pictures_of_a_source_that_cannot_wait_go_past_its_windows() -> None:
    queue = FairQueue()
    picture = Picture(source=0, pts_seconds=0.0, frame=av.VideoFrame(64, 48, "yuv420p"))
    queue.put(_window(0), wait=False)
    assert not queue.has_pictures
    queue.put(picture, wait=False)
    assert queue.has_pictures
    assert _pictures(queue) == [picture]
    assert not queue.has_pictures
    queue.put(picture, wait=True)
    assert _pictures(queue) == []
    assert len(queue.take(windows=2)) == 2
    assert queue.is_empty


def test_what_comes_after_closing_changes_nothing() -> None:
    queue = FairQueue()
    queue.put(_window(1), wait=False)
    queue.close()
    queue.put(_window(2), wait=False)
    assert _starts(queue) == [(0, 1)]
    assert not queue.drops
