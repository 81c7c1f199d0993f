"""Streams end to end, with a network whose answers can be told beforehand."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest

from s2tf_edge.data.video import read_clip
from s2tf_edge.errors import InputFileError, SourceError, UsageError
from s2tf_edge.preprocess import preprocess
from s2tf_edge.runtime.session import Session, SessionOptions
from s2tf_edge.runtime.sources.parsing import parse_source
from s2tf_edge.runtime.sources.source import Source
from s2tf_edge.runtime.statistics import softmax
from s2tf_edge.runtime.streaming import coordinator, ledger, reader, zone_rings
from s2tf_edge.runtime.streaming.clip_ring import Window
from s2tf_edge.runtime.streaming.fair_queue import Ended, FairQueue
from s2tf_edge.runtime.streaming.inference import InferencePool
from s2tf_edge.runtime.streaming.recognize import recognize
from s2tf_edge.runtime.streaming.records import (
    STAGES,
    Event,
    Failure,
    Gap,
    Picture,
    Prediction,
    Record,
    Start,
    Status,
    Summary,
    to_json,
)
from s2tf_edge.runtime.streaming.smoothing import Smoothing
from s2tf_edge.runtime.streaming.stream_options import StreamOptions
from s2tf_edge.spec import ClipSpec

RecordT = TypeVar("RecordT", bound=Record)

RAW = StreamOptions(smoothing=Smoothing(kind="none"), hop=1, policy="every")
DARK, GRAY, BRIGHT = 25, 127, 230
PATIENCE_SECONDS = 60.0
"""For what comes in no time; a test that waits this long has failed."""
UNTIMED: Any = {"age_ms": 0.0, "infer_ms": 0.0, "stages_ms": {}}


def _of(kind: type[RecordT], records: Iterable[Record]) -> list[RecordT]:
    return [record for record in records if isinstance(record, kind)]


def _flat(color: str, *, seconds: float = 60.0) -> Source:
    return parse_source(f"lavfi:color={color}:size=64x48:rate=25:duration={seconds}")[0]


def _until(
    stop: threading.Event, records: Iterable[Record], enough: Callable[[Sequence[Record]], bool]
) -> list[Record]:
    """Takes records until there are enough, then stops the stream and takes the rest."""
    taken: list[Record] = []
    for record in records:
        taken.append(record)
        if enough(taken):
            stop.set()
    return taken


def _until_lost(url: str, session: Session) -> list[Record]:
    """The records of a live source whose server sends no more, which is an error where it might."""
    records: list[Record] = []
    with suppress(SourceError):
        for record in recognize(url, session, options=replace(RAW, reconnect=False)):
            records.append(record)  # noqa: PERF402  # kept whatever the end is
    return records


def test_labels_follow_the_video(make_video: Callable[..., Path], brightness: Session) -> None:
    path = make_video("steps.mp4", [DARK] * 50 + [GRAY] * 50 + [BRIGHT] * 50)
    records = list(recognize(path, brightness, options=RAW))
    assert isinstance(records[0], Start)
    assert isinstance(records[-1], Summary)
    events = _of(Event, records)
    assert [event.label for event in events] == ["dark", "gray", "bright"]
    # A window is 0.24 s long, so that a border is found within one.
    assert events[1].t_start == pytest.approx(2.0, abs=0.25)
    assert events[2].t_start == pytest.approx(4.0, abs=0.25)
    assert events[2].t_end == pytest.approx(149 / 25, abs=0.09)


def test_predictions_are_those_of_the_clips_read_from_the_file(
    make_video: Callable[..., Path], brightness: Session
) -> None:
    path = make_video("ramp.mp4", list(range(0, 250, 5)))
    predictions = _of(Prediction, recognize(path, brightness, options=RAW))
    # 50 frames with stride 2 are 25 samples: 22 windows of 4.
    assert [round(item.t_start * 12.5) for item in predictions] == list(range(22))
    first = preprocess(read_clip(path, brightness.info.spec, at=0), brightness.info.spec)
    scores = softmax(brightness.infer(first[None]).logits)[0]
    assert dict(predictions[0].topk) == pytest.approx(dict(zip(("dark", "gray", "bright"), scores, strict=True)))


def test_every_loses_nothing_and_latest_keeps_up(
    make_video: Callable[..., Path], spec: ClipSpec, brightness: Session
) -> None:
    path = make_video("a.mp4", [DARK] * 100)
    summary = _of(Summary, recognize(path, brightness, options=RAW))[0]
    assert (summary.frames_in, summary.windows, dict(summary.drops)) == (100, 47, {})
    latest = StreamOptions(hop=1, policy="latest")
    summary = _of(Summary, recognize(path, brightness, options=latest))[0]
    assert summary.windows + summary.drops.get("windows_superseded", 0) == 47


def test_scores_are_smoothed_over_windows(make_video: Callable[..., Path], brightness: Session) -> None:
    path = make_video("steps.mp4", [DARK] * 20 + [BRIGHT] * 20)
    options = StreamOptions(smoothing=Smoothing(kind="mean", value=3), hop=1)
    raw = [dict(item.topk) for item in _of(Prediction, recognize(path, brightness, options=RAW))]
    smooth = [dict(item.topk) for item in _of(Prediction, recognize(path, brightness, options=options))]
    for index in range(2, len(raw)):
        expected = {label: np.mean([scores[label] for scores in raw[index - 2 : index + 1]]) for label in raw[0]}
        assert smooth[index] == pytest.approx(expected)


def test_topk_names_the_best_first(make_video: Callable[..., Path], brightness: Session) -> None:
    (prediction,) = _of(Prediction, recognize(make_video("a.mp4", [200]), brightness, options=StreamOptions(topk=2)))
    assert [label for label, _ in prediction.topk] == ["bright", "gray"]
    assert prediction.topk[0] == (prediction.label, prediction.score)


def test_a_gap_of_a_live_source_ends_the_event_and_is_told(
    make_video: Callable[..., Path], serve_tcp: Callable[..., Any], brightness: Session
) -> None:
    times = [index / 25 for index in range(40)] + [8 + index / 25 for index in range(40)]
    data = make_video("gap.mkv", [BRIGHT] * 80, times=times).read_bytes()
    records = _until_lost(serve_tcp(lambda: [data]).url, brightness)
    (gap,) = _of(Gap, records)
    assert gap.cause == "pause"
    assert (gap.t_start, gap.t_end) == pytest.approx((39 / 25, 8.0), abs=2e-3)
    assert len(_of(Event, records)) == 2
    assert not any(item.t_start < gap.t_end < item.t_end for item in _of(Prediction, records))
    assert _of(Summary, records)[0].gaps == 1


def test_a_picture_that_is_held_in_a_file_is_no_gap(make_video: Callable[..., Path], brightness: Session) -> None:
    times = [index / 25 for index in range(40)] + [30 + index / 25 for index in range(40)]
    records = list(recognize(make_video("held.mkv", [BRIGHT] * 80, times=times), brightness, options=RAW))
    assert _of(Gap, records) == []
    (event,) = _of(Event, records)
    assert (event.t_start, event.t_end) == pytest.approx((0.0, 31.52), abs=0.1)


@pytest.mark.parametrize(
    ("start", "duration", "expected"),
    [
        (0.0, 10.0, [("dark", 0.0, 9.9)]),
        (10.0, 5.0, [("dark", 10.0, 14.9)]),
        (30.0, None, [("gray", 30.0, 39.9), ("bright", 39.9, 41.9)]),
    ],
)
def test_a_part_of_a_file_shows_what_is_held_within_it(
    make_video: Callable[..., Path],
    brightness: Session,
    start: float,
    duration: float | None,
    expected: list[tuple[str, float, float]],
) -> None:
    times = [*(index / 25 for index in range(5)), 20.0, *(40 + index / 25 for index in range(50))]
    path = make_video("screen.mkv", [DARK] * 5 + [GRAY] + [BRIGHT] * 50, times=times)
    options = replace(RAW, start_seconds=start, duration_seconds=duration)
    events = _of(Event, recognize(path, brightness, options=options))
    assert [event.label for event in events] == [label for label, _, _ in expected]
    for event, (_, t_start, t_end) in zip(events, expected, strict=True):
        assert (event.t_start, event.t_end) == pytest.approx((t_start, t_end), abs=0.35)


def test_parts_of_a_file_do_not_overlap(make_video: Callable[..., Path], brightness: Session) -> None:
    path = make_video("a.mp4", [GRAY] * 100)
    times: list[float] = []
    for start in range(4):
        options = replace(RAW, start_seconds=float(start), duration_seconds=1.0, pictures=True)
        times += [item.pts_seconds for item in _of(Picture, recognize(path, brightness, options=options))]
    assert times == pytest.approx([index / 25 for index in range(100)])


def test_short_actions_between_held_pictures_are_all_found(
    make_video: Callable[..., Path], brightness: Session
) -> None:
    times = [2.3 * burst + index / 25 for burst in range(6) for index in range(5)]
    # A window over two actions is between them in brightness as well.
    shades = (DARK, GRAY, BRIGHT, GRAY, DARK, GRAY)
    path = make_video("bursts.mp4", [shade for shade in shades for _ in range(5)], times=times)
    events = _of(Event, recognize(path, brightness, options=RAW))
    assert [event.label for event in events] == ["dark", "gray", "bright", "gray", "dark", "gray"]
    for burst, event in enumerate(events):
        assert event.t_start <= times[5 * burst] + 0.1
        assert event.t_end >= times[5 * burst + 4] - brightness.info.spec.period_seconds


def test_short_stretches_of_a_live_source_give_a_window_each(
    make_video: Callable[..., Path], serve_tcp: Callable[..., Any], brightness: Session
) -> None:
    times = [2.3 * burst + index / 25 for burst in range(6) for index in range(5)]
    levels = [level for burst in range(6) for level in [(DARK, GRAY, BRIGHT)[burst % 3]] * 5]
    data = make_video("bursts.mkv", levels, times=times).read_bytes()
    records = _until_lost(serve_tcp(lambda: [data]).url, brightness)
    assert [item.label for item in _of(Prediction, records)] == ["dark", "gray", "bright"] * 2
    assert len(_of(Gap, records)) == 5
    assert len(_of(Event, records)) == 6


@pytest.mark.parametrize("is_live", [False, True])
def test_recordings_strung_together_are_each_recognized(
    make_video: Callable[..., Path], serve_tcp: Callable[..., Any], brightness: Session, is_live: bool
) -> None:
    """Each begins its clock anew; times go on, and the source's own stand beside them."""
    levels = [(DARK, GRAY, BRIGHT)[part % 3] for part in range(9)]
    parts = [make_video(f"{part}.ts", [level] * 5).read_bytes() for part, level in enumerate(levels)]
    if is_live:
        records = _until_lost(serve_tcp(lambda: parts).url, brightness)
    else:
        path = make_video("whole.ts", [DARK])
        path.write_bytes(b"".join(parts))
        records = list(recognize(path, brightness, options=RAW))
    predictions = _of(Prediction, records)
    assert [item.label for item in predictions] == ["dark", "gray", "bright"] * 3
    ends = [item.t_end for item in predictions]
    assert ends == sorted(ends)
    if not is_live:
        first = predictions[0].t_start
        assert [item.t_start - first for item in predictions] == pytest.approx([0.2 * part for part in range(9)])
        assert predictions[0].source_t_start is None
    assert len({round(item.source_t_end or item.t_end, 3) for item in predictions}) == 1
    gaps = _of(Gap, records)
    assert [gap.cause for gap in gaps] == ["clock"] * 8
    assert all(gap.t_end > gap.t_start and gap.source_t_end != gap.t_end for gap in gaps)
    (summary,) = _of(Summary, records)
    assert (summary.frames_in, dict(summary.drops)) == (45, {})


def test_a_live_source_that_is_looped_ends_after_its_duration(
    make_video: Callable[..., Path], serve_tcp: Callable[..., Any], brightness: Session
) -> None:
    clip = make_video("clip.ts", [BRIGHT] * 20).read_bytes()
    options = replace(RAW, duration_seconds=5.0)
    records = list(recognize(serve_tcp(lambda: itertools.repeat(clip)).url, brightness, options=options))
    assert _of(Summary, records)[0].frames_in == pytest.approx(126, abs=30)
    assert {item.label for item in _of(Prediction, records)} == {"bright"}
    assert _of(Failure, records) == []


def test_a_part_of_recordings_strung_together_lies_where_it_is_read(
    make_video: Callable[..., Path], brightness: Session
) -> None:
    path = make_video("whole.ts", [DARK])
    path.write_bytes(b"".join(make_video(f"{n}.ts", [n * 20] * 25).read_bytes() for n in range(10)))
    options = replace(RAW, start_seconds=6.5, duration_seconds=2.0, pictures=True)
    pictures = _of(Picture, recognize(path, brightness, options=options))
    shown = [round(float(item.frame.to_ndarray(format="rgb24").mean()) / 20) for item in pictures]
    assert shown == [6] * 12 + [7] * 25 + [8] * 13


def test_a_video_shorter_than_a_clip_gives_one_prediction(make_video: Callable[..., Path], brightness: Session) -> None:
    (prediction,) = _of(Prediction, recognize(make_video("short.mp4", [GRAY]), brightness))
    assert (prediction.label, prediction.t_start, prediction.t_end) == ("gray", 0.0, 0.0)


def test_duration_ends_a_file(make_video: Callable[..., Path], brightness: Session) -> None:
    path = make_video("long.mp4", [GRAY] * 100)
    (summary,) = _of(Summary, recognize(path, brightness, options=StreamOptions(duration_seconds=1.0)))
    assert summary.frames_in == 25
    assert not summary.interrupted


def test_files_come_one_after_another(make_video: Callable[..., Path], brightness: Session) -> None:
    paths = [make_video(f"{name}.mp4", [level] * 20) for name, level in (("a", DARK), ("b", BRIGHT))]
    predictions = _of(Prediction, recognize(paths, brightness, options=RAW))
    assert [item.source for item in predictions] == sorted(item.source for item in predictions)
    assert {(item.source, item.label) for item in predictions} == {(0, "dark"), (1, "bright")}


def test_a_source_that_fails_does_not_stop_the_others(
    make_video: Callable[..., Path], tmp_path: Path, brightness: Session
) -> None:
    (tmp_path / "text.mp4").write_text("not a video")
    paths = [tmp_path / "gone.mp4", tmp_path / "text.mp4", make_video("good.mp4", [DARK] * 20)]
    records = list(recognize(paths, brightness))
    assert [(item.source, item.exit_code) for item in _of(Failure, records)] == [(0, 9), (1, 9)]
    assert {item.source for item in _of(Prediction, records)} == {2}
    (summary,) = _of(Summary, records)
    assert [source["error"] is None for source in summary.sources] == [False, False, True]


def test_a_source_that_breaks_in_an_unforeseen_way_does_not_stop_the_others(
    make_video: Callable[..., Path], brightness: Session
) -> None:
    thin = parse_source("lavfi:color=size=8192x2:rate=25:duration=1")[0]
    records = list(recognize([thin, make_video("good.mp4", [DARK] * 20)], brightness))
    (failure,) = _of(Failure, records)
    assert (failure.source, failure.exit_code) == (0, 8)
    assert failure.message.startswith(f"{thin.name} cannot be used: a picture of 8192×2")
    assert {item.source for item in _of(Prediction, records)} == {1}


@pytest.mark.parametrize("live", [False, True])
def test_an_error_of_no_known_kind_is_one_of_its_source(
    monkeypatch: pytest.MonkeyPatch, make_video: Callable[..., Path], brightness: Session, live: bool
) -> None:
    def broken(*_: object, **_options: object) -> None:
        raise MemoryError

    monkeypatch.setattr(zone_rings, "scale_frame", broken)
    source = _flat("white") if live else make_video("a.mp4", [DARK] * 20)
    with pytest.raises(SourceError if live else InputFileError, match="cannot be used: MemoryError"):
        list(recognize(source, brightness))


def test_where_all_fail_the_first_error_is_raised_after_the_summary(tmp_path: Path, brightness: Session) -> None:
    camera = Source(name="camera 99", url="/dev/video99", format="v4l2", live=True)
    records = recognize([camera, tmp_path / "gone.mp4"], brightness)
    assert isinstance(next(records), Start)
    assert {failure.exit_code for failure in (next(records), next(records)) if isinstance(failure, Failure)} == {8, 9}
    assert isinstance(next(records), Summary)
    with pytest.raises(SourceError, match="/dev/video99"):
        next(records)


def test_a_missing_file_is_an_error(tmp_path: Path, brightness: Session) -> None:
    with pytest.raises(InputFileError, match=r"gone\.mp4 does not exist"):
        list(recognize(tmp_path / "gone.mp4", brightness))


def test_a_file_that_claims_long_frames_gives_few_windows(make_video: Callable[..., Path], brightness: Session) -> None:
    path = make_video("slow.mp4", [DARK, GRAY, BRIGHT], times=[0.0, 20.0, 40.0])
    windows = _of(Prediction, recognize(path, brightness, options=RAW))
    assert 3 <= len(windows) <= 3 * brightness.info.spec.frames
    assert {item.label for item in windows} == {"dark", "gray"}


def test_every_window_of_a_live_source_is_run_however_slow_the_network_is(
    brightness: Session, instant_source: Callable[..., Source]
) -> None:
    records = list(recognize(instant_source("white", seconds=1), brightness, options=RAW))
    (summary,) = _of(Summary, records)
    assert (summary.frames_in, summary.windows, dict(summary.drops)) == (25, 10, {})
    assert _of(Failure, records) == []


def test_a_live_source_that_hangs_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
    brightness: Session,
    clock: Any,
    tap: Callable[..., None],
    instant_source: Callable[..., Source],
) -> None:
    monkeypatch.setattr(reader, "perf_counter", clock)
    released = threading.Event()

    def hang(number: int, _: object) -> None:
        if number == 1:
            clock.now += 100
            released.wait(PATIENCE_SECONDS)

    tap(hang)
    records = recognize(instant_source(), brightness, options=StreamOptions(reconnect=False))
    try:
        with pytest.raises(SourceError, match="gave no frame for 100 s; check that it is connected"):
            list(records)
    finally:
        released.set()


def test_live_sources_run_together_and_are_batched(
    spec: ClipSpec, make_session: Callable[..., Session], instant_source: Callable[..., Source]
) -> None:
    session = make_session(spec, batch=None)
    sources = [instant_source("black", seconds=1), instant_source("white", seconds=1)]
    options = StreamOptions(hop=1, policy="every")
    predictions = _of(Prediction, recognize(sources, session, options=options))
    assert {(item.source, item.label) for item in predictions} == {(0, "dark"), (1, "bright")}
    for source in (0, 1):
        starts = [item.t_start for item in predictions if item.source == source]
        assert starts == sorted(starts)
        assert len(starts) == 10


def test_a_slow_network_gets_the_newest_window_of_a_live_source(
    spec: ClipSpec, make_session: Callable[..., Any], tap: Callable[..., None], instant_source: Callable[..., Source]
) -> None:
    session, begun, posted = make_session(spec), threading.Event(), threading.Event()

    def hold_reader(number: int, _: object) -> None:
        # The first window is complete with frame 6.
        if number == 7:
            begun.wait(PATIENCE_SECONDS)
        if number == 25:
            posted.set()

    def hold_network() -> None:
        begun.set()
        posted.wait(PATIENCE_SECONDS)

    tap(hold_reader)
    records = recognize(instant_source(seconds=1), session, options=StreamOptions(hop=1))
    assert isinstance(next(records), Start)
    # Not before: the warm-up is a run too.
    session.before_run = hold_network
    rest = list(records)
    assert [item.t_end for item in _of(Prediction, rest)] == pytest.approx([6 / 25, 24 / 25])
    assert _of(Summary, rest)[0].drops == {"windows_superseded": 8}


def test_labels_do_not_wait_for_those_who_are_slow_to_draw(
    spec: ClipSpec,
    make_session: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    tap: Callable[..., None],
    instant_source: Callable[..., Source],
) -> None:
    all_posted, may_run, was_run = threading.Event(), threading.Event(), threading.Event()
    tap(lambda number, _: all_posted.set() if number == 25 else None)
    wake = FairQueue.wake

    def note_result(queue: FairQueue) -> None:
        wake(queue)
        was_run.set()

    monkeypatch.setattr(FairQueue, "wake", note_result)
    session = make_session(spec)
    records = recognize(instant_source(seconds=1), session, options=StreamOptions(hop=1, pictures=True))
    assert isinstance(next(records), Start)
    # Not before: the warm-up is a run too.
    session.before_run = lambda: may_run.wait(PATIENCE_SECONDS)
    # While the first picture is drawn all others come, and the newest window waits.
    assert isinstance(next(records), Picture)
    assert all_posted.wait(PATIENCE_SECONDS)
    # While the second is drawn the network runs.
    assert isinstance(next(records), Picture)
    may_run.set()
    assert was_run.wait(PATIENCE_SECONDS)
    # In turn with all pictures that wait the label would come behind 23 more of them.
    prediction = next(records)
    assert isinstance(prediction, Prediction)
    assert prediction.t_end == pytest.approx(24 / 25)
    records.close()


@pytest.mark.parametrize("policy", ["latest", "every"])
def test_stopping_ends_in_order(
    brightness: Session, tap: Callable[..., None], instant_source: Callable[..., Source], policy: str
) -> None:
    stop = threading.Event()
    tap(lambda number, _: stop.wait(PATIENCE_SECONDS) if number == 100 else None)
    records = _until(
        stop,
        recognize(instant_source("white"), brightness, options=StreamOptions(pictures=True, policy=policy), stop=stop),
        lambda taken: len(_of(Prediction, taken)) >= 1,
    )
    (summary,) = _of(Summary, records)
    assert records[-1] is summary
    assert summary.interrupted
    assert [event.label for event in _of(Event, records)] == ["bright"]
    pictures = len(_of(Picture, records)) + summary.drops.get("pictures_left_out", 0)
    # The last frame may have been read, but not posted any more.
    assert summary.frames_in - 1 <= pictures <= summary.frames_in


@pytest.fixture
def quick_network_slow_screen(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Record]]:
    """Runs a stream whose network takes no time, and whose first picture is drawn until its sources have ended."""
    put, run, wake = FairQueue.put, InferencePool.put, FairQueue.wake
    ended, was_run = threading.Semaphore(0), threading.Semaphore(0)

    def note_end(queue: FairQueue, *items: Any, wait: bool) -> None:
        put(queue, *items, wait=wait)
        if isinstance(items[0], Ended):
            ended.release()

    def run_at_once(pool: InferencePool, items: Sequence[Any]) -> None:
        run(pool, items)
        if any(isinstance(item, Window) for item in items):
            assert was_run.acquire(timeout=PATIENCE_SECONDS)

    def note_result(queue: FairQueue) -> None:
        was_run.release()
        wake(queue)

    monkeypatch.setattr(FairQueue, "put", note_end)
    monkeypatch.setattr(FairQueue, "wake", note_result)
    monkeypatch.setattr(InferencePool, "put", run_at_once)

    def run_all(sources: Sequence[Source], session: Session, options: StreamOptions) -> list[Record]:
        records = recognize(sources, session, options=options)
        taken = [next(records)]
        while not isinstance(taken[-1], Picture):
            taken.append(next(records))
        for _ in sources:
            assert ended.acquire(timeout=PATIENCE_SECONDS)
        return [*taken, *records]

    return run_all


def test_a_live_source_that_ends_by_itself_gives_all_its_pictures(
    brightness: Session,
    instant_source: Callable[..., Source],
    quick_network_slow_screen: Callable[..., list[Record]],
) -> None:
    source = instant_source("white", seconds=2)
    records = quick_network_slow_screen([source], brightness, StreamOptions(pictures=True))
    (summary,), pictures = _of(Summary, records), _of(Picture, records)
    assert len(pictures) + summary.drops["pictures_left_out"] == summary.frames_in == 50
    times = [picture.pts_seconds for picture in pictures]
    assert times == sorted(times)
    assert isinstance(records[-2], Event)


def test_files_that_do_not_wait_give_all_their_pictures(
    make_video: Callable[..., Path], brightness: Session, quick_network_slow_screen: Callable[..., list[Record]]
) -> None:
    paths = [make_video(f"{name}.mp4", [GRAY] * 12) for name in "ab"]
    sources = [source for path in paths for source in parse_source(str(path))]
    records = quick_network_slow_screen(sources, brightness, StreamOptions(pictures=True, policy="latest"))
    assert [picture.source for picture in _of(Picture, records)] == [0] * 12 + [1] * 12


def test_leaving_early_ends_the_threads(brightness: Session) -> None:
    before = set(threading.enumerate())
    for record in recognize(_flat("white", seconds=600), brightness):
        if isinstance(record, Prediction):
            break
    own = set(threading.enumerate()) - before
    for thread in own:
        thread.join(PATIENCE_SECONDS)
    assert not any(thread.is_alive() for thread in own)


def test_pictures_come_before_the_prediction_that_they_complete(
    make_video: Callable[..., Path], brightness: Session
) -> None:
    path = make_video("a.mp4", [GRAY] * 30)
    records = list(recognize(path, brightness, options=StreamOptions(pictures=True, hop=1)))
    assert len(_of(Picture, records)) == 30
    newest = -1.0
    for record in records:
        if isinstance(record, Picture):
            newest = record.pts_seconds
        elif isinstance(record, Prediction):
            assert record.t_end == newest


def test_the_summary_times_every_stage(make_video: Callable[..., Path], brightness: Session) -> None:
    (summary,) = _of(Summary, recognize(make_video("a.mp4", [GRAY] * 50), brightness, options=RAW))
    assert set(summary.stages_ms) == {"decode", "scale", *STAGES, "age"}
    for stage, count in {"infer": 22, "age": 22, "scale": 25}.items():
        times = summary.stages_ms[stage]
        assert times["n"] == count
        assert 0 < times["p50"] <= times["p95"] <= times["p99"] <= times["max"]
    assert summary.stages_ms["age"]["p50"] >= summary.stages_ms["infer"]["p50"]


def test_the_stages_of_a_labels_age_add_up_to_it(make_video: Callable[..., Path], brightness: Session) -> None:
    for prediction in _of(Prediction, recognize(make_video("a.mp4", [GRAY] * 50), brightness, options=RAW)):
        assert tuple(sorted(prediction.stages_ms)) == tuple(sorted(STAGES))
        assert min(prediction.stages_ms.values()) >= 0
        assert sum(prediction.stages_ms.values()) == pytest.approx(prediction.age_ms)


def test_a_window_that_is_too_old_is_not_run(
    monkeypatch: pytest.MonkeyPatch,
    brightness: Session,
    clock: Any,
    tap: Callable[..., None],
    instant_source: Callable[..., Source],
) -> None:
    def pass_a_second(number: int, _: object) -> None:
        clock.now = 1000.0 + number

    tap(pass_a_second)
    monkeypatch.setattr(coordinator, "perf_counter", lambda: 1030.0)
    # Like a file, which can wait: a frame counts as presented when it was read.
    source = replace(instant_source(seconds=1), live=False)
    options = StreamOptions(smoothing=RAW.smoothing, hop=1, max_age_seconds=10.0)
    records = list(recognize(source, brightness, options=options))
    # Windows end with every other frame from the 6th on; those before the 20th were read more than ten seconds ago.
    assert [round(25 * item.t_end) for item in _of(Prediction, records)] == [20, 22, 24]
    assert _of(Summary, records)[0].drops == {"windows_too_old": 7}


def test_status_records_come_at_regular_times(
    monkeypatch: pytest.MonkeyPatch, clock: Any, make_video: Callable[..., Path], brightness: Session
) -> None:
    monkeypatch.setattr(ledger, "perf_counter", clock)
    options = StreamOptions(smoothing=RAW.smoothing, hop=1, status_seconds=0.25)
    statuses: list[Status] = []
    for record in recognize(make_video("a.mp4", [BRIGHT] * 100), brightness, options=options):
        clock.now += 0.125 * isinstance(record, Prediction)
        statuses += _of(Status, [record])
    seconds = [status.seconds for status in statuses]
    # Of 47 windows at most two runs end at once, so that a Status may be late by as much.
    assert len(seconds) >= 47 * 0.125 / 0.5 - 1
    assert all(0.25 <= later - sooner <= 0.5 for sooner, later in zip([0.0, *seconds], seconds, strict=False))
    first, last = statuses[0].sources[0], statuses[-1].sources[0]
    # The reader cannot be far ahead: few windows may wait.
    assert (first.state, first.frames < 40) == ("playing", True)
    assert last.frames > first.frames
    assert to_json(statuses[0]) is None


def test_a_status_tells_how_much_was_read_of_a_part(make_video: Callable[..., Path], brightness: Session) -> None:
    options = replace(RAW, start_seconds=2.0, duration_seconds=1.0, status_seconds=1e-9)
    records = recognize(make_video("a.mp4", [BRIGHT] * 100), brightness, options=options)
    status = _of(Status, records)[-1].sources[0]
    assert (status.duration_seconds, status.first_seconds) == pytest.approx((1.0, 2.0))
    assert 0 < status.done_seconds <= 1.0


@pytest.mark.parametrize("requests", [1, 3])
def test_several_runs_side_by_side_keep_the_order(
    make_video: Callable[..., Path], make_session: Callable[..., Any], spec: ClipSpec, requests: int
) -> None:
    path = make_video("a.mp4", [40 + index for index in range(150)])
    session = make_session(spec)
    session.delay_seconds, session.is_uneven = 0.002, True
    expected = [replace(each, **UNTIMED) for each in _of(Prediction, recognize(path, session, options=RAW))]
    session.options = SessionOptions(requests=requests)
    got = [replace(each, **UNTIMED) for each in _of(Prediction, recognize(path, session, options=RAW))]
    assert len(got) == 72
    assert got == expected


def test_a_network_without_labels_has_numbered_classes(
    spec: ClipSpec, make_video: Callable[..., Path], make_session: Callable[..., Session]
) -> None:
    session = make_session(spec, labels=())
    (prediction,) = _of(Prediction, recognize(make_video("a.mp4", [BRIGHT]), session))
    assert prediction.label == "class 2"


def test_normalized_input_gives_what_preprocess_gives(
    make_video: Callable[..., Path], make_session: Callable[..., Session]
) -> None:
    spec = ClipSpec(frames=4, size=32, fps=25.0)
    session, path = make_session(spec), make_video("a.mp4", [DARK] * 4)
    (prediction,) = _of(Prediction, recognize(path, session, options=RAW))
    clip = preprocess(read_clip(path, spec, at=0), spec)
    assert prediction.score == pytest.approx(softmax(session.infer(clip[None]).logits).max())


def test_no_source_is_refused(brightness: Session) -> None:
    with pytest.raises(UsageError, match="no source to read"):
        list(recognize([], brightness))
