"""What happens to live sources in the field, each with a real server or a real broken file."""

from __future__ import annotations

import http.server
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import av
import numpy as np
import pytest

from s2tf_edge.data.video import scale_frame
from s2tf_edge.errors import SourceError
from s2tf_edge.runtime.session import Session
from s2tf_edge.runtime.sources.decoder import Decoder
from s2tf_edge.runtime.sources.source import Source, parse_source
from s2tf_edge.runtime.sources.timing import StageTimes
from s2tf_edge.runtime.streaming import reader, window
from s2tf_edge.runtime.streaming.recognize import recognize
from s2tf_edge.runtime.streaming.records import Failure, Gap, Prediction, Record, Summary
from s2tf_edge.runtime.streaming.smoothing import Smoothing
from s2tf_edge.runtime.streaming.stream_options import StreamOptions

RecordT = TypeVar("RecordT", bound=Record)

DARK, GRAY, BRIGHT = 25, 127, 230
RAW = StreamOptions(smoothing=Smoothing(kind="none"), hop=1)
DEADLINE_SECONDS = 30.0


def _of(kind: type[RecordT], records: Iterable[Record]) -> list[RecordT]:
    return [record for record in records if isinstance(record, kind)]


def _labels(records: Iterable[Record], source: int = 0) -> list[str]:
    return [record.label for record in _of(Prediction, records) if record.source == source]


def _paced(data: bytes, *, seconds: float) -> Iterator[bytes]:
    """All of it at an even pace."""
    steps = max(1, round(seconds / 0.04))
    started = time.monotonic()
    for step in range(steps):
        yield data[len(data) * step // steps : len(data) * (step + 1) // steps]
        time.sleep(max(0.0, started + seconds * (step + 1) / steps - time.monotonic()))


def _watched(
    sources: str | Source | Sequence[str | Source],
    session: Session,
    *,
    enough: Callable[[Sequence[Record]], bool],
    options: StreamOptions = RAW,
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
    killed_at = 0.0

    def enough(records: Sequence[Record]) -> bool:
        nonlocal killed_at
        if not killed_at and len(_labels(records)) >= 3:
            rtsp_server.kill()
            killed_at = time.monotonic()
            threading.Timer(0.7, rtsp_server.start, [BRIGHT]).start()
        return _labels(records)[-3:] == ["bright"] * 3

    records = _watched(rtsp_server.url, brightness, enough=enough)
    outage_seconds = time.monotonic() - killed_at
    (gap,) = _of(Gap, records)
    predictions, (summary,) = _of(Prediction, records), _of(Summary, records)
    assert gap.cause == "lost"
    assert 0.7 < gap.t_end - gap.t_start < outage_seconds
    assert {item.label for item in predictions if item.t_end <= gap.t_start} == {"dark"}
    assert {item.label for item in predictions if item.t_start >= gap.t_end} == {"bright"}
    assert not any(item.t_start < gap.t_end < item.t_end for item in predictions)
    assert (summary.gaps, summary.sources[0]["reconnects"], summary.sources[0]["error"]) == (1, 1, None)


@pytest.mark.needs_rtsp_server
def test_a_server_that_stalls_is_opened_again(rtsp_server: Any, brightness: Session) -> None:
    rtsp_server.start(GRAY)
    resumed: list[threading.Timer] = []

    def enough(records: Sequence[Record]) -> bool:
        if not resumed and len(_labels(records)) >= 3:
            os.kill(rtsp_server.process.pid, signal.SIGSTOP)
            resumed.append(threading.Timer(3.5, os.kill, [rtsp_server.process.pid, signal.SIGCONT]))
            resumed[0].start()
        return bool(gaps := _of(Gap, records)) and _of(Prediction, records)[-1].t_start > gaps[-1].t_end

    records = _watched(f"{rtsp_server.url}#timeout=1000000", brightness, enough=enough)
    gap = _of(Gap, records)[0]
    assert gap.cause == "lost"
    # A second of patience is followed by waits of half a second and more.
    assert gap.t_end - gap.t_start > 1.3
    assert set(_labels(records)) == {"gray"}


def test_the_end_of_a_live_source_is_a_loss(
    make_video: Callable[..., Path], serve_tcp: Callable[..., Any], brightness: Session
) -> None:
    data = make_video("a.ts", [DARK] * 25, gop=12).read_bytes()
    server = serve_tcp(partial(_paced, data, seconds=1.0))
    records = _watched(server.url, brightness, enough=lambda records: len(_of(Gap, records)) >= 2)
    assert [gap.cause for gap in _of(Gap, records)] == ["lost", "lost"]
    starts = [item.t_start for item in _of(Prediction, records)]
    assert starts == sorted(starts)


def test_a_source_that_stays_away_is_given_up(
    make_video: Callable[..., Path], serve_tcp: Callable[..., Any], brightness: Session
) -> None:
    data = make_video("a.ts", [DARK] * 25).read_bytes()
    server = serve_tcp(partial(_paced, data, seconds=0.5))
    options = StreamOptions(smoothing=RAW.smoothing, hop=1, max_outage_seconds=1.0)
    records: list[Record] = []

    def take_all() -> None:
        for record in recognize(server.url, brightness, options=options):
            records.append(record)
            server.close()

    with pytest.raises(SourceError, match=r"cannot open tcp://127.0.0.1:\d+ \(Connection refused\)"):
        take_all()
    (failure,) = _of(Failure, records)
    (summary,) = _of(Summary, records)
    assert failure.exit_code == 8
    assert isinstance(records[-1], Summary)
    assert summary.windows >= 3
    assert summary.seconds < 10


@pytest.mark.parametrize("options", [{}, {"reconnect": False, "max_outage_seconds": 60.0}])
def test_a_wrong_address_fails_at_once(brightness: Session, options: dict[str, Any]) -> None:
    with pytest.raises(SourceError, match=r"cannot open rtsp://\*\*\*@127.0.0.1:1/a \(Connection refused\)"):
        list(recognize("rtsp://user:hunter2@127.0.0.1:1/a", brightness, options=StreamOptions(**options)))


@pytest.mark.needs_rtsp_server
def test_a_source_may_come_up_later(rtsp_server: Any, brightness: Session) -> None:
    threading.Timer(0.5, rtsp_server.start, [BRIGHT]).start()
    options = StreamOptions(max_outage_seconds=DEADLINE_SECONDS)
    records = _watched(rtsp_server.url, brightness, options=options, enough=lambda found: bool(_labels(found)))
    assert _labels(records)[:1] == ["bright"]
    assert _of(Gap, records) == []


def test_garbage_is_left_out(
    make_video: Callable[..., Path], serve_tcp: Callable[..., Any], brightness: Session
) -> None:
    data = bytearray(make_video("a.ts", [DARK] * 50 + [BRIGHT] * 50, gop=12).read_bytes())
    third = len(data) // 3
    data[third : third + 4000] = np.random.default_rng(0).bytes(4000)
    server = serve_tcp(partial(_paced, bytes(data), seconds=4.0))
    records = _watched(server.url, brightness, enough=lambda records: _labels(records)[-5:] == ["bright"] * 5)
    assert _labels(records)[0] == "dark"
    assert _of(Failure, records) == []


def test_the_picture_may_change_its_size_midway(
    make_video: Callable[..., Path], serve_tcp: Callable[..., Any], brightness: Session
) -> None:
    small = make_video("small.ts", [DARK] * 50).read_bytes()
    large = make_video("large.ts", [BRIGHT] * 50, size=144).read_bytes()

    def sent() -> Iterator[bytes]:
        yield from _paced(small, seconds=2.0)
        yield from _paced(large, seconds=2.0)
        time.sleep(5.0)

    server = serve_tcp(sent)
    records = _watched(server.url, brightness, enough=lambda records: _labels(records)[-3:] == ["bright"] * 3)
    assert _labels(records)[0] == "dark"
    assert server.connections == 1
    assert _of(Summary, records)[0].sources[0]["reconnects"] == 0


def test_two_of_four_may_die(
    make_video: Callable[..., Path], serve_tcp: Callable[..., Any], make_session: Callable[..., Session], spec: Any
) -> None:
    data = make_video("a.ts", [DARK] * 25).read_bytes()
    dying = [serve_tcp(partial(_paced, data, seconds=0.5)).url for _ in range(2)]
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
    make_video: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, brightness: Session
) -> None:
    # As a driver that gives some frames, then blocks until it is reset: FFmpeg cannot be told to stop waiting for it.
    monkeypatch.setattr(reader, "_HANG_SECONDS", 1.0)
    device = tmp_path / "device"
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
        if labels[-1:] == ["bright"] and "woken" not in done:
            # The thread that was left behind gets what it waited for; nothing may come of it.
            writers[0].write((tmp_path / f"{DARK}.ts").read_bytes())
            done.append("woken")
        return labels[-5:] == ["bright"] * 5

    plug_in(DARK)
    source = Source(name="device", url=f"file:{device}", format="mpegts", live=True)
    records = _watched(source, brightness, enough=enough)
    for writer in writers:
        writer.close()
    labels = _labels(records)
    assert [gap.cause for gap in _of(Gap, records)] == ["lost"]
    assert labels == ["dark"] * labels.count("dark") + ["bright"] * labels.count("bright")
    assert _of(Summary, records)[0].sources[0]["reconnects"] == 1


def test_a_slow_reader_catches_up(make_video: Callable[..., Path], serve_tcp: Callable[..., Any]) -> None:
    data = make_video("a.ts", [DARK] * 250, gop=25).read_bytes()
    server = serve_tcp(partial(_paced, data, seconds=10.0))
    lags, shown, stop = [], [], threading.Event()
    with Decoder(parse_source(server.url)[0], stop=stop, times=StageTimes()) as decoder:
        started = time.perf_counter()
        for decoded in decoder.frames():
            # Thrice as slow as the source.
            time.sleep(0.12)
            lags.append(time.perf_counter() - decoded.presented_at)
            shown.append(decoded)
            if time.perf_counter() - started > 7.5:
                break
    assert decoder.behind > 25
    assert max(lags) > 1
    # Without leaving frames out the lag would be five seconds by now.
    assert max(lags) < 4.5
    assert any(decoded.follows_cut for decoded in shown)


def test_a_slow_reader_of_a_made_source_catches_up() -> None:
    (source,) = parse_source("lavfi:testsrc=size=64x48:rate=25")
    lags = []
    with Decoder(source, stop=threading.Event(), times=StageTimes()) as decoder:
        for decoded in decoder.frames():
            time.sleep(0.2)
            lags.append(time.perf_counter() - decoded.presented_at)
            if decoded.follows_cut:
                break
    assert decoder.behind > 25
    assert lags[-1] < 1.5 < max(lags) < 4


def test_frames_that_are_behind_are_a_gap_and_counted(
    make_video: Callable[..., Path],
    serve_tcp: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    brightness: Session,
) -> None:
    def slow_scale(*arguments: Any) -> Any:
        time.sleep(0.24)
        return scale_frame(*arguments)

    monkeypatch.setattr(window, "scale_frame", slow_scale)
    data = make_video("a.ts", [DARK] * 250, gop=25).read_bytes()
    server = serve_tcp(partial(_paced, data, seconds=10.0))
    records = _watched(server.url, brightness, enough=lambda records: len(_of(Gap, records)) >= 1)
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
            time.sleep(0.1)

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
    serve_http: Callable[..., str], brightness: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_Mjpeg, "pictures", (_jpeg(BRIGHT),) * 60)
    records = _watched(
        f"{serve_http(_Mjpeg)}/video.cgi", brightness, enough=lambda records: len(_labels(records)) >= 10
    )
    (summary,) = _of(Summary, records)
    # Ten a second, where FFmpeg would assume twenty-five.
    shown_seconds = _of(Prediction, records)[9].t_end
    assert shown_seconds == pytest.approx(summary.frames_in * 0.1, rel=0.5)
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
