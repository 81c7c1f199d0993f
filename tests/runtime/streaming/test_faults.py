"""What happens to live sources in the field, each with a real server or a real broken file."""

from __future__ import annotations

import http.server
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any, TypeVar

import av
import numpy as np
import pytest
from av.packet import Packet
from av.video.stream import VideoStream

from s2tf_edge.data.video import scale_frame
from s2tf_edge.errors import SourceError
from s2tf_edge.runtime.session import Session
from s2tf_edge.runtime.sources import packets
from s2tf_edge.runtime.sources.decoder import Decoder
from s2tf_edge.runtime.sources.parsing import parse_source
from s2tf_edge.runtime.sources.source import Source
from s2tf_edge.runtime.sources.timing import StageTimes
from s2tf_edge.runtime.streaming import reader, zone_rings
from s2tf_edge.runtime.streaming.recognize import recognize
from s2tf_edge.runtime.streaming.records import Failure, Gap, Picture, Prediction, Record, Status, Summary
from s2tf_edge.runtime.streaming.smoothing import Smoothing
from s2tf_edge.runtime.streaming.stream_options import StreamOptions

RecordT = TypeVar("RecordT", bound=Record)

DARK, GRAY, BRIGHT = 25, 127, 230
RAW = StreamOptions(smoothing=Smoothing(kind="none"), hop=1)
EVERY = replace(RAW, policy="every", status_seconds=0.02)
"""Loses no frame and no window, however slow the machine is, and tells soon how things stand."""
DEADLINE_SECONDS = 120.0
"""By which everything is over, were it ever so slow; a test that takes as long fails."""


def _of(kind: type[RecordT], records: Iterable[Record]) -> list[RecordT]:
    return [record for record in records if isinstance(record, kind)]


def _labels(records: Iterable[Record], source: int = 0) -> list[str]:
    return [record.label for record in _of(Prediction, records) if record.source == source]


def _state(records: Sequence[Record]) -> str:
    """What the newest record says of the first source, if it is a Status."""
    return records[-1].sources[0].state if isinstance(records[-1], Status) else ""


def _in_real_time(clock: Any) -> Callable[[int, Packet[VideoStream]], None]:
    """Has every packet arrive when its time has come, by a clock that nothing else moves but the test."""
    offset: list[float] = []

    def arrive(_: int, packet: Packet[VideoStream]) -> None:
        if packet.dts is not None and packet.time_base is not None:
            seconds = float(packet.dts * packet.time_base)
            offset.append(clock.now - seconds)
            clock.now = max(clock.now, offset[0] + seconds)

    return arrive


def _watched(
    sources: str | Source | Sequence[str | Source],
    session: Session,
    *,
    enough: Callable[[Sequence[Record]], bool],
    options: StreamOptions = EVERY,
) -> list[Record]:
    """What a stream says until there is enough of it, or time is up."""
    stop = threading.Event()
    timer = threading.Timer(DEADLINE_SECONDS, stop.set)
    timer.start()
    records: list[Record] = []
    try:
        for record in recognize(sources, session, options=options, stop=stop):
            records.append(record)
            if not stop.is_set() and enough(records):
                stop.set()
    finally:
        timer.cancel()
    return records


@pytest.mark.needs_rtsp_server
def test_a_server_that_is_restarted_is_found_again(rtsp_server: Any, brightness: Session) -> None:
    rtsp_server.start(DARK)
    began_at, lost_at, restarted_at = perf_counter(), 0.0, 0.0

    def enough(records: Sequence[Record]) -> bool:
        nonlocal lost_at, restarted_at
        if not lost_at and rtsp_server.process and len(_labels(records)) >= 3:
            rtsp_server.kill()
        if not lost_at and _state(records) == "lost":
            lost_at = perf_counter()
            restarted_at = perf_counter()
            rtsp_server.start(BRIGHT)
        return _labels(records)[-3:] == ["bright"] * 3

    records = _watched(rtsp_server.url, brightness, enough=enough)
    (gap,) = _of(Gap, records)
    predictions, (summary,) = _of(Prediction, records), _of(Summary, records)
    assert gap.cause == "lost"
    assert restarted_at - lost_at < gap.t_end - gap.t_start < perf_counter() - began_at
    assert {item.label for item in predictions if item.t_end <= gap.t_start} == {"dark"}
    assert {item.label for item in predictions if item.t_start >= gap.t_end} == {"bright"}
    assert not any(item.t_start < gap.t_end < item.t_end for item in predictions)
    assert (summary.gaps, summary.sources[0]["reconnects"], summary.sources[0]["error"]) == (1, 1, None)


@pytest.mark.needs_rtsp_server
def test_a_server_that_stalls_is_opened_again(rtsp_server: Any, brightness: Session) -> None:
    rtsp_server.start(GRAY)
    signals: list[signal.Signals] = []

    def enough(records: Sequence[Record]) -> bool:
        if not signals and len(_labels(records)) >= 3:
            signals.append(signal.SIGSTOP)
            os.kill(rtsp_server.process.pid, signals[-1])
        if signals[-1:] == [signal.SIGSTOP] and _state(records) == "lost":
            signals.append(signal.SIGCONT)
            os.kill(rtsp_server.process.pid, signals[-1])
        return bool(gaps := _of(Gap, records)) and _of(Prediction, records)[-1].t_start > gaps[-1].t_end

    records = _watched(f"{rtsp_server.url}#timeout=1000000", brightness, enough=enough)
    gap = _of(Gap, records)[0]
    assert gap.cause == "lost"
    # A second of patience is followed by waits of half a second, less a third, and more.
    assert gap.t_end - gap.t_start > 1.3
    assert set(_labels(records)) == {"gray"}


def test_the_end_of_a_live_source_is_a_loss(
    make_video: Callable[..., Path], serve_tcp: Callable[..., Any], brightness: Session
) -> None:
    data = make_video("a.ts", [DARK] * 25, gop=12).read_bytes()
    server = serve_tcp(lambda: [data])
    records = _watched(server.url, brightness, enough=lambda records: len(_of(Gap, records)) >= 2)
    assert [gap.cause for gap in _of(Gap, records)] == ["lost", "lost"]
    starts = [item.t_start for item in _of(Prediction, records)]
    assert starts == sorted(starts)


def test_a_source_that_stays_away_is_given_up(
    make_video: Callable[..., Path], serve_tcp: Callable[..., Any], brightness: Session
) -> None:
    data = make_video("a.ts", [DARK] * 25).read_bytes()

    def sent() -> Iterator[bytes]:
        yield data
        server.close()

    server = serve_tcp(sent)
    options = replace(EVERY, max_outage_seconds=1.0)
    records: list[Record] = []

    def take_all() -> None:
        for record in recognize(server.url, brightness, options=options):
            records.append(record)  # noqa: PERF402  # what comes before the error is kept

    with pytest.raises(SourceError, match=r"cannot open tcp://127.0.0.1:\d+ \(Connection refused\)"):
        take_all()
    (failure,) = _of(Failure, records)
    (summary,) = _of(Summary, records)
    assert failure.exit_code == 8
    assert isinstance(records[-1], Summary)
    # 25 frames are 13 samples.
    assert summary.windows == 10


@pytest.mark.parametrize("options", [{}, {"reconnect": False, "max_outage_seconds": 60.0}])
def test_a_wrong_address_fails_at_once(brightness: Session, options: dict[str, Any]) -> None:
    with pytest.raises(SourceError, match=r"cannot open rtsp://\*\*\*@127.0.0.1:1/a \(Connection refused\)"):
        list(recognize("rtsp://user:hunter2@127.0.0.1:1/a", brightness, options=StreamOptions(**options)))


@pytest.mark.needs_rtsp_server
def test_a_source_may_come_up_later(rtsp_server: Any, brightness: Session) -> None:
    def enough(records: Sequence[Record]) -> bool:
        if rtsp_server.process is None and _state(records) == "lost":
            rtsp_server.start(BRIGHT)
        return bool(_labels(records))

    options = replace(EVERY, max_outage_seconds=DEADLINE_SECONDS)
    records = _watched(rtsp_server.url, brightness, options=options, enough=enough)
    assert _labels(records)[:1] == ["bright"]
    assert _of(Gap, records) == []


def test_garbage_is_left_out(
    make_video: Callable[..., Path], serve_tcp: Callable[..., Any], brightness: Session
) -> None:
    data = bytearray(make_video("a.ts", [DARK] * 50 + [BRIGHT] * 50, gop=12).read_bytes())
    third = len(data) // 3
    data[third : third + 4000] = np.random.default_rng(0).bytes(4000)
    server = serve_tcp(lambda: [bytes(data)])
    records = _watched(server.url, brightness, enough=lambda records: _labels(records)[-5:] == ["bright"] * 5)
    assert _labels(records)[0] == "dark"
    assert _of(Failure, records) == []


def test_the_picture_may_change_its_size_midway(
    make_video: Callable[..., Path], serve_tcp: Callable[..., Any], brightness: Session
) -> None:
    small = make_video("small.ts", [DARK] * 50).read_bytes()
    large = make_video("large.ts", [BRIGHT] * 50, size=144).read_bytes()
    over = threading.Event()

    def sent() -> Iterator[bytes]:
        yield small
        yield large
        over.wait(DEADLINE_SECONDS)

    server = serve_tcp(sent)
    records = _watched(server.url, brightness, enough=lambda records: _labels(records)[-3:] == ["bright"] * 3)
    over.set()
    assert _labels(records)[0] == "dark"
    assert server.connections == 1
    assert _of(Summary, records)[0].sources[0]["reconnects"] == 0


def test_two_of_four_may_die(
    make_video: Callable[..., Path], serve_tcp: Callable[..., Any], make_session: Callable[..., Session], spec: Any
) -> None:
    data = make_video("a.ts", [DARK] * 25).read_bytes()
    dying = [serve_tcp(lambda: [data]).url for _ in range(2)]
    living = [f"lavfi:color={color}:size=64x48:rate=25" for color in ("gray", "white")]
    options = StreamOptions(smoothing=RAW.smoothing, hop=1, reconnect=False)
    after: list[int] = []

    def enough(records: Sequence[Record]) -> bool:
        if len(_of(Failure, records)) == 2 and isinstance(records[-1], Prediction):
            after.append(records[-1].source)
        return min(after.count(1), after.count(2)) >= 5

    records = _watched([dying[0], *living, dying[1]], make_session(spec, batch=None), options=options, enough=enough)
    assert {failure.source for failure in _of(Failure, records)} == {0, 3}
    assert min(after.count(1), after.count(2)) >= 5
    assert (set(_labels(records, 1)), set(_labels(records, 2))) == ({"gray"}, {"bright"})
    assert [source["error"] is None for source in _of(Summary, records)[0].sources] == [False, True, True, False]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes are of Unix")
def test_a_read_that_never_returns_is_left_behind(
    make_video: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, brightness: Session, clock: Any
) -> None:
    # As a driver that gives some frames, then blocks until it is reset: FFmpeg cannot be told to stop waiting for it.
    monkeypatch.setattr(reader, "perf_counter", clock)
    device, threads = tmp_path / "device", set(threading.enumerate())
    writers: list[Any] = []
    done: list[str] = []

    def plug_in(level: int) -> None:
        device.unlink(missing_ok=True)
        os.mkfifo(device)
        data = make_video(f"{level}.ts", [level] * 25).read_bytes()

        def write() -> None:
            writers.append(device.open("wb", buffering=0))
            writers[-1].write(data)

        threading.Thread(target=write, daemon=True).start()

    def enough(records: Sequence[Record]) -> bool:
        labels = _labels(records)
        if labels[-3:] == ["dark"] * 3 and "reset" not in done:
            plug_in(BRIGHT)
            done.append("reset")
        if "reset" in done and isinstance(records[-1], Status):
            (source,) = records[-1].sources
            # As long as it has not been found that the read hangs; whoever reads after that has no time to hang.
            clock.now += 40 * ((source.state, source.reconnects) == ("playing", 0))
        if labels[-1:] == ["bright"] and "woken" not in done:
            # The thread that was left behind gets what it waited for; nothing may come of it.
            # It may leave before it has read all of that.
            with suppress(BrokenPipeError):
                writers[0].write((tmp_path / f"{DARK}.ts").read_bytes())
            done.append("woken")
        return labels[-5:] == ["bright"] * 5

    plug_in(DARK)
    source = Source(name="device", url=str(device), format="mpegts", live=True)
    records = _watched(source, brightness, enough=enough)
    for writer in writers:
        writer.close()
    for thread in set(threading.enumerate()) - threads:
        thread.join(DEADLINE_SECONDS)
        assert not thread.is_alive()
    labels = _labels(records)
    assert [gap.cause for gap in _of(Gap, records)] == ["lost"]
    assert labels == ["dark"] * labels.count("dark") + ["bright"] * labels.count("bright")
    assert _of(Summary, records)[0].sources[0]["reconnects"] == 1


def test_a_slow_reader_catches_up(
    make_video: Callable[..., Path],
    serve_tcp: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    tap: Callable[..., None],
    clock: Any,
) -> None:
    monkeypatch.setattr(packets, "perf_counter", clock)
    tap(_in_real_time(clock))
    data = make_video("a.ts", [DARK] * 250, gop=25).read_bytes()
    server = serve_tcp(lambda: [data])
    lags, shown, started = [], [], clock.now
    with Decoder(parse_source(server.url)[0], stop=threading.Event(), times=StageTimes()) as decoder:
        for decoded in decoder.frames():
            # Thrice as slow as the source.
            clock.now += 0.12
            lags.append(clock.now - decoded.presented_at)
            shown.append(decoded)
            if clock.now - started > 7.5:
                break
    assert decoder.behind > 25
    assert max(lags) > 1
    # Without leaving frames out the lag would be five seconds by now.
    assert max(lags) < 4.5
    assert any(decoded.follows_cut for decoded in shown)


def test_a_slow_reader_of_a_made_source_catches_up(
    monkeypatch: pytest.MonkeyPatch, clock: Any, virtual_stop: Any
) -> None:
    monkeypatch.setattr(packets, "perf_counter", clock)
    (source,) = parse_source("lavfi:testsrc=size=64x48:rate=25")
    lags = []
    with Decoder(source, stop=virtual_stop, times=StageTimes()) as decoder:
        for decoded in decoder.frames():
            clock.now += 0.2
            lags.append(clock.now - decoded.presented_at)
            if decoded.follows_cut:
                break
    assert decoder.behind > 25
    assert lags[-1] < 1.5 < max(lags) < 4


def test_a_made_source_that_is_slow_to_make_is_behind(
    monkeypatch: pytest.MonkeyPatch, clock: Any, virtual_stop: Any, tap: Callable[..., None]
) -> None:
    monkeypatch.setattr(packets, "perf_counter", clock)
    # Each frame takes five times as long to be made and decoded as it lasts, most of it inside a read.
    tap(lambda *_: setattr(clock, "now", clock.now + 0.15))
    (source,) = parse_source("lavfi:testsrc=size=64x48:rate=25")
    lags = []
    with Decoder(source, stop=virtual_stop, times=StageTimes()) as decoder:
        for decoded in decoder.frames():
            clock.now += 0.16
            lags.append(clock.now - decoded.presented_at)
            if decoder.behind or len(lags) > 100:
                break
    assert decoder.behind > 0
    assert max(lags) < 4


def test_frames_that_are_behind_are_a_gap_and_counted(
    make_video: Callable[..., Path],
    serve_tcp: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    tap: Callable[..., None],
    clock: Any,
    brightness: Session,
) -> None:
    def slow_scale(*arguments: Any, **options: Any) -> Any:
        clock.now += 0.24
        return scale_frame(*arguments, **options)

    monkeypatch.setattr(packets, "perf_counter", clock)
    monkeypatch.setattr(zone_rings, "scale_frame", slow_scale)
    tap(_in_real_time(clock))
    data = make_video("a.ts", [DARK] * 250, gop=25).read_bytes()
    server = serve_tcp(lambda: [data])
    records = _watched(server.url, brightness, options=RAW, enough=lambda records: len(_of(Gap, records)) >= 1)
    assert _of(Gap, records)[0].cause == "behind"
    assert _of(Summary, records)[0].drops["frames_behind"] > 10


class _Mjpeg(http.server.BaseHTTPRequestHandler):
    """A network camera as many are: JPEG after JPEG, without times."""

    pictures: tuple[bytes, ...] = ()

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        for picture in self.pictures:
            self.wfile.write(b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(picture))
            self.wfile.write(picture + b"\r\n")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def serve_http() -> Iterator[Callable[..., str]]:
    servers: list[http.server.ThreadingHTTPServer] = []

    def serve(handler: Callable[..., Any]) -> str:
        servers.append(http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        return f"http://user:hunter2@127.0.0.1:{servers[-1].server_port}"

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


def _jpeg(level: int) -> bytes:
    encoder = av.CodecContext.create("mjpeg", "w")
    encoder.width, encoder.height, encoder.pix_fmt = 64, 48, "yuvj420p"
    encoder.time_base = Fraction(1, 10)
    frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), level, np.uint8), format="rgb24")
    return b"".join(bytes(packet) for packet in [*encoder.encode(frame), *encoder.encode(None)])


def test_pictures_without_times_count_from_their_arrival(
    serve_http: Callable[..., str],
    brightness: Session,
    monkeypatch: pytest.MonkeyPatch,
    tap: Callable[..., None],
    clock: Any,
) -> None:
    monkeypatch.setattr(_Mjpeg, "pictures", (_jpeg(BRIGHT),) * 60)
    monkeypatch.setattr(packets, "perf_counter", clock)
    # Ten a second, where FFmpeg would assume twenty-five.
    tap(lambda *_: setattr(clock, "now", clock.now + 0.1))
    records = _watched(
        f"{serve_http(_Mjpeg)}/video.cgi",
        brightness,
        options=replace(EVERY, pictures=True),
        enough=lambda records: len(_labels(records)) >= 10,
    )
    times = [picture.pts_seconds for picture in _of(Picture, records)][:10]
    assert times == pytest.approx([index * 0.1 for index in range(10)])
    assert set(_labels(records)) == {"bright"}


def test_a_file_over_http_loses_nothing(
    make_video: Callable[..., Path], serve_http: Callable[..., str], tmp_path: Path, brightness: Session
) -> None:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    make_video("a.mkv", [DARK] * 100)
    url = f"{serve_http(partial(Quiet, directory=str(tmp_path)))}/a.mkv"
    (summary,) = _of(Summary, recognize(url, brightness, options=RAW))
    assert (summary.frames_in, summary.windows, dict(summary.drops)) == (100, 47, {})
    assert "hunter2" not in str(summary)
