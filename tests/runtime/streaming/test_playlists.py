"""HLS as servers have it, live and recorded: every frame is recognized once, in order, however it is handed out."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from time import perf_counter
from typing import Final, TypeVar

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from s2tf_edge.runtime.session import Session
from s2tf_edge.runtime.sources.decoder import Decoder
from s2tf_edge.runtime.sources.parsing import parse_source
from s2tf_edge.runtime.sources.timing import StageTimes
from s2tf_edge.runtime.streaming.recognize import recognize
from s2tf_edge.runtime.streaming.records import Gap, Picture, Record, Summary
from s2tf_edge.runtime.streaming.smoothing import Smoothing
from s2tf_edge.runtime.streaming.stream_options import StreamOptions
from s2tf_edge.spec import ClipSpec

RecordT = TypeVar("RecordT", bound=Record)

FPS: Final = 25
SECONDS: Final = 0.4
FRAMES: Final = 10
"""Of a segment that is as long."""
BITS: Final = 16
LATEST: Final = StreamOptions(smoothing=Smoothing(kind="none"), hop=1)
EVERY: Final = replace(LATEST, policy="every", pictures=True)
DEADLINE_SECONDS: Final = 120.0
"""By which everything is over, were it ever so slow; a test that takes as long fails."""
VIDEO: Final = "/live.m3u8"


def _draw_number(number: int) -> NDArray[np.uint8]:
    """A picture whose 4 × 4 blocks are the bits of a number, uint8 [64, 64, 3]."""
    bits = np.array([number >> bit & 1 for bit in range(BITS)], np.uint8).reshape(4, 4)
    return np.repeat(np.kron(255 * bits, np.ones((16, 16), np.uint8))[:, :, None], 3, axis=2)


def _read_number(frame: av.VideoFrame) -> int:
    """The number of a picture, as it comes out of a decoder."""
    blocks = frame.to_ndarray(format="gray").reshape(4, 16, 4, 16).mean(axis=(1, 3)).reshape(-1)
    return sum(1 << bit for bit in range(BITS) if blocks[bit] > 127)


def _write_segments(folder: Path, *, count: int, seconds: float = SECONDS, first: int = 0) -> list[bytes]:
    """Segments of MPEG-TS by FFmpeg's own muxer of HLS: numbered frames, some of which refer to later ones.

    Args:
        folder: for the files of the muxer, and for the playlist of all, ``all.m3u8``.
        count: of segments.
        seconds: of each.
        first: number of the first frame.
    """
    folder.mkdir()
    options = {"hls_time": str(seconds), "hls_list_size": "0", "hls_segment_filename": f"{folder}/%05d.ts"}
    frames = round(seconds * FPS)
    with av.open(f"{folder}/all.m3u8", "w", format="hls", options=options) as container:
        codec = {"g": str(frames), "sc_threshold": "0", "crf": "18", "preset": "ultrafast", "bf": "2"}
        stream = container.add_stream("libx264", rate=FPS, options=codec)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for index in range(count * frames):
            frame = av.VideoFrame.from_ndarray(_draw_number(first + index), format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, FPS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    segments = [path.read_bytes() for path in sorted(folder.glob("*.ts"))]
    assert len(segments) == count
    return segments


@dataclass(kw_only=True)
class Channel:
    """A playlist that grows at its end, is cut at its beginning, and tells when all was sent."""

    segments: Sequence[bytes]
    complete: Callable[[], int] | None = None
    """How many segments are there; by default one more than were asked for, at least three."""
    seconds: float = SECONDS
    listed: int = 5
    """How many segments are listed at most."""
    breaks: frozenset[int] = frozenset()
    """Positions of segments before which the source's clock starts anew."""
    fails: frozenset[str] = frozenset()
    """What is not there when it is asked for the first time, but when it is asked again."""
    tells_length: bool = True
    """Whether answers say how long they are; otherwise the end of the connection is theirs."""
    others: dict[str, bytes] = field(default_factory=dict)
    """What there is besides, by path."""
    asked: list[str] = field(default_factory=list)
    """Every path that was asked for."""

    def answer(self, path: str) -> bytes | None:
        """What is under a path; None where there is nothing."""
        self.asked.append(path)
        if path in self.fails and self.asked.count(path) == 1:
            return None
        if path in self.others:
            return self.others[path]
        if path == VIDEO:
            complete = self.complete() if self.complete else max(3, self._count_asked() + 1)
            return self._list(min(complete, len(self.segments))).encode()
        return self.segments[int(path.removeprefix("/").removesuffix(".ts"))]

    def _count_asked(self) -> int:
        """How many segments were asked for, and those before them."""
        own = [path for path in self.asked if path.endswith(".ts") and path not in self.others]
        return max((int(path[1:-3]) + 1 for path in own), default=0)

    def _list(self, complete: int) -> str:
        first = max(0, complete - self.listed)
        lines = ["#EXTM3U", "#EXT-X-VERSION:3", f"#EXT-X-TARGETDURATION:{max(1, round(self.seconds))}"]
        lines += [f"#EXT-X-MEDIA-SEQUENCE:{first}"]
        for number in range(first, complete):
            lines += ["#EXT-X-DISCONTINUITY"] * (number in self.breaks)
            lines += [f"#EXTINF:{self.seconds:.6f},", f"{number}.ts"]
        return "\n".join(lines + ["#EXT-X-ENDLIST"] * (complete == len(self.segments)) + [""])


@pytest.fixture
def serve() -> Iterator[Callable[..., str]]:
    """Serves a channel by HTTP; gives the address of what is under a path."""
    servers: list[http.server.ThreadingHTTPServer] = []

    def serve(channel: Channel, *, path: str = VIDEO) -> str:
        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                content = channel.answer(self.path)
                self.send_response(404 if content is None else 200)
                is_segment = self.path.endswith(".ts")
                self.send_header("Content-Type", "video/mp2t" if is_segment else "application/vnd.apple.mpegurl")
                if channel.tells_length:
                    self.send_header("Content-Length", str(len(content or b"")))
                else:
                    self.send_header("Connection", "close")
                    self.close_connection = True
                self.end_headers()
                self.wfile.write(content or b"")

            def log_message(self, *_: object) -> None:
                pass

        servers.append(http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler))
        threading.Thread(target=servers[-1].serve_forever, args=(0.01,), daemon=True).start()
        return f"http://user:hunter2@127.0.0.1:{servers[-1].server_port}{path}"

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What came of a stream."""

    numbers: list[int]
    """Of its pictures."""
    gaps: list[Gap]
    summary: Summary

    @property
    def reconnects(self) -> int:
        return int(self.summary.sources[0]["reconnects"])


def _of(kind: type[RecordT], records: Iterable[Record]) -> list[RecordT]:
    return [record for record in records if isinstance(record, kind)]


def _watch(source: str | Path, session: Session, *, options: StreamOptions = EVERY) -> Seen:
    """Takes all that is said of a stream, to its end."""
    numbers, rest, stop = [], [], threading.Event()
    timer = threading.Timer(DEADLINE_SECONDS, stop.set)
    timer.start()
    try:
        for record in recognize(source, session, options=options, stop=stop):
            if isinstance(record, Picture):
                numbers.append(_read_number(record.frame))
            else:
                rest.append(record)
    finally:
        timer.cancel()
    (summary,) = _of(Summary, rest)
    assert not summary.interrupted
    assert "hunter2" not in str(rest)
    return Seen(numbers=numbers, gaps=_of(Gap, rest), summary=summary)


@pytest.mark.parametrize(
    ("options", "tells_length"), [(EVERY, True), (EVERY, False), (LATEST, True)], ids=["every", "lengthless", "latest"]
)
def test_segments_that_come_whole_are_not_behind(
    tmp_path: Path, brightness: Session, serve: Callable[..., str], options: StreamOptions, tells_length: bool
) -> None:
    url = serve(Channel(segments=_write_segments(tmp_path / "a", count=9), tells_length=tells_length))
    seen = _watch(url, brightness, options=options)
    assert seen.summary.frames_in == 9 * FRAMES
    assert seen.numbers == list(range(9 * FRAMES if options is EVERY else 0))
    assert "frames_behind" not in seen.summary.drops
    assert (seen.gaps, seen.reconnects) == ([], 0)


class RealTime:
    """How many segments are complete by now, if three were when it was asked first."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._began_at: float | None = None

    def __call__(self) -> int:
        self._began_at = self._began_at or perf_counter()
        return 3 + int((perf_counter() - self._began_at) / self._seconds)


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [1.0, 2.0, 4.0, 6.0])
def test_a_live_channel_is_followed_at_its_own_rhythm(
    tmp_path: Path, make_session: Callable[..., Session], spec: ClipSpec, serve: Callable[..., str], seconds: float
) -> None:
    count, size = round(40 / seconds) + 3, round(seconds * FPS)
    segments = _write_segments(tmp_path / "a", count=count, seconds=seconds)

    def watch(options: StreamOptions) -> Seen:
        channel = Channel(segments=segments, seconds=seconds, complete=RealTime(seconds))
        return _watch(serve(channel), make_session(spec), options=options)

    with ThreadPoolExecutor() as pool:
        every, latest = pool.map(watch, [EVERY, LATEST])
    # On a busy machine the channel may have gone on before it was opened.
    first = every.numbers[0]
    assert first in range(0, 3 * size, size)
    assert every.numbers == list(range(first, count * size))
    assert dict(every.summary.drops) == {}
    assert latest.summary.frames_in in range((count - 2) * size, count * size + 1, size)
    for seen in (every, latest):
        assert (seen.gaps, seen.reconnects) == ([], 0)
        assert "frames_behind" not in seen.summary.drops


def test_a_segment_that_comes_late_is_waited_for(
    tmp_path: Path, brightness: Session, serve: Callable[..., str]
) -> None:
    class Late(Channel):
        left = 5

        def answer(self, path: str) -> bytes | None:
            if path == VIDEO and "/4.ts" in self.asked and self.left:
                self.left -= 1
                return self._list(5).encode()
            return super().answer(path)

    # FFmpeg itself gives up at the third request without news.
    channel = Late(segments=_write_segments(tmp_path / "a", count=8))
    seen = _watch(serve(channel), brightness)
    assert channel.left == 0
    assert seen.numbers == list(range(8 * FRAMES))
    assert (seen.gaps, seen.reconnects, dict(seen.summary.drops)) == ([], 0, {})


def test_a_segment_that_fails_once_is_asked_for_again(
    tmp_path: Path, brightness: Session, serve: Callable[..., str]
) -> None:
    segments = _write_segments(tmp_path / "a", count=8)
    seen = _watch(serve(Channel(segments=segments, fails=frozenset({"/5.ts"}))), brightness)
    assert seen.numbers == list(range(8 * FRAMES))
    assert (seen.gaps, seen.reconnects) == ([], 0)


@dataclass(kw_only=True)
class Flaky(Channel):
    """Does not give its playlist once the fifth segment was sent, some times."""

    losses: int = 3
    lost: int = 0
    after: Sequence[bytes] | None = None
    """The segments that it has when it is back, if they are others."""

    def answer(self, path: str) -> bytes | None:
        if path == VIDEO and "/4.ts" in self.asked and self.lost < self.losses:
            self.lost += 1
            return None
        if self.lost == self.losses and self.after is not None:
            self.segments, self.after, self.asked = self.after, None, ["/4.ts"]
        return super().answer(path)


def test_what_is_handed_out_twice_is_recognized_once(
    tmp_path: Path, brightness: Session, serve: Callable[..., str]
) -> None:
    channel = Flaky(segments=_write_segments(tmp_path / "a", count=9))
    seen = _watch(serve(channel), brightness)
    assert seen.numbers == list(range(9 * FRAMES))
    # It was read again what had been read, or this tests nothing.
    assert channel.asked.count("/4.ts") > 1
    (gap,) = seen.gaps
    assert (gap.cause, seen.reconnects) == ("lost", 1)
    # Nothing is missing: by the source's clock, which goes on, the next frame follows at once.
    assert gap.t_end - gap.t_start == pytest.approx(1 / FPS, abs=0.01)


def test_what_was_missed_is_fetched_while_it_is_listed(
    tmp_path: Path, brightness: Session, serve: Callable[..., str]
) -> None:
    segments = _write_segments(tmp_path / "a", count=25)
    # Two and a half seconds and more, so that six segments are missed: twice what FFmpeg goes back by itself.
    channel = Flaky(segments=segments, complete=RealTime(SECONDS), listed=25, losses=6)
    seen = _watch(serve(channel), brightness)
    assert seen.numbers == list(range(seen.numbers[0], 25 * FRAMES))
    assert (channel.lost, seen.reconnects) == (6, 1)
    (gap,) = seen.gaps
    assert gap.t_end - gap.t_start == pytest.approx(1 / FPS, abs=0.01)


def test_an_encoder_that_was_restarted_repeats_nothing(
    tmp_path: Path, brightness: Session, serve: Callable[..., str]
) -> None:
    # Its times are those of before, and its pictures are not.
    old = _write_segments(tmp_path / "old", count=6)
    new = _write_segments(tmp_path / "new", count=8, first=1000)
    channel = Flaky(segments=old, after=new)
    seen = _watch(serve(channel), brightness)
    assert seen.numbers[: 5 * FRAMES] == list(range(5 * FRAMES))
    # How far back it is read depends on how long it was away, which is at least to the third segment from the end.
    rest = seen.numbers[5 * FRAMES :]
    assert rest == list(range(rest[0], 1000 + 8 * FRAMES))
    assert 1000 <= rest[0] <= 1000 + 3 * FRAMES
    assert seen.reconnects == 1


def test_a_clock_that_starts_anew_costs_no_frame(
    tmp_path: Path, brightness: Session, serve: Callable[..., str]
) -> None:
    parts = [_write_segments(tmp_path / str(first), count=4, first=first) for first in (0, 4 * FRAMES)]
    seen = _watch(serve(Channel(segments=[*parts[0], *parts[1]], breaks=frozenset({4}))), brightness)
    assert seen.numbers == list(range(8 * FRAMES))
    assert seen.reconnects == 0


def test_frames_of_a_live_channel_are_as_old_as_what_is_listed_behind_them(
    tmp_path: Path, serve: Callable[..., str]
) -> None:
    url = serve(Channel(segments=_write_segments(tmp_path / "a", count=5)))
    with Decoder(parse_source(url)[0], stop=threading.Event(), times=StageTimes()) as decoder:
        decoded = [(perf_counter() - each.presented_at, each.pts_seconds) for each in decoder.frames()]
    assert len(decoded) == 5 * FRAMES
    # The third segment was complete when the first frame came, which is as much older as three of them last.
    assert all(age >= 3 * SECONDS - seconds for age, seconds in decoded[: 3 * FRAMES])


@pytest.mark.parametrize("options", [EVERY, replace(EVERY, policy="auto")], ids=["every", "auto"])
def test_a_recording_is_read_like_a_file(
    tmp_path: Path, brightness: Session, serve: Callable[..., str], options: StreamOptions
) -> None:
    segments = _write_segments(tmp_path / "a", count=12)
    url = serve(Channel(segments=segments, complete=lambda: 12, listed=12))
    seen = _watch(url, brightness, options=options)
    assert seen.numbers == list(range(12 * FRAMES))
    assert (seen.summary.windows, dict(seen.summary.drops), seen.gaps, seen.reconnects) == (57, {}, [], 0)
    started = _watch(url, brightness, options=replace(options, start_seconds=2.0))
    assert started.numbers == list(range(50, 12 * FRAMES))


@pytest.mark.parametrize("ends", [True, False])
def test_a_playlist_on_disk_is_read_from_its_first_frame(tmp_path: Path, brightness: Session, ends: bool) -> None:
    _write_segments(tmp_path / "ä b", count=6)
    path = tmp_path / "ä b/all.m3u8"
    if not ends:
        # As a recorder leaves it that was killed.
        path.write_text(path.read_text().replace("#EXT-X-ENDLIST", ""))
    seen = _watch(path, brightness, options=replace(EVERY, policy="auto"))
    assert seen.numbers == list(range(6 * FRAMES))
    assert (seen.gaps, dict(seen.summary.drops)) == ([], {})


def test_of_several_variants_the_first_is_fetched(
    tmp_path: Path, brightness: Session, serve: Callable[..., str]
) -> None:
    main = """#EXTM3U
#EXT-X-STREAM-INF:BANDWIDTH=200000,CODECS="avc1.42c00a"
live.m3u8
#EXT-X-STREAM-INF:BANDWIDTH=100000,CODECS="avc1.42c00a"
small.m3u8
"""
    small = "".join(f"#EXTINF:{SECONDS},\nsmall/{number}.ts\n" for number in range(40))
    others = {"/main.m3u8": main.encode(), "/small.m3u8": f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n{small}".encode()}
    segments = _write_segments(tmp_path / "a", count=8)
    others |= {f"/small/{number}.ts": segments[number % 8] for number in range(40)}
    channel = Channel(segments=segments, others=others)
    seen = _watch(serve(channel, path="/main.m3u8"), brightness)
    assert seen.numbers == list(range(8 * FRAMES))
    assert seen.reconnects == 0
    # The other was looked at when it was opened, no more.
    assert len({path for path in channel.asked if path.startswith("/small/")}) <= 2


def test_a_playlist_is_known_by_its_content(tmp_path: Path, brightness: Session, serve: Callable[..., str]) -> None:
    class Nameless(Channel):
        def answer(self, path: str) -> bytes | None:
            return super().answer(VIDEO if path == "/watch?channel=1" else path)

    channel = Nameless(segments=_write_segments(tmp_path / "a", count=8))
    seen = _watch(serve(channel, path="/watch?channel=1"), brightness)
    assert seen.numbers[0] in (0, FRAMES)
    assert seen.numbers == list(range(seen.numbers[0], 8 * FRAMES))
    assert (seen.gaps, seen.reconnects) == ([], 0)
