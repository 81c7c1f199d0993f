"""Made videos and a network whose answers can be told beforehand."""

from __future__ import annotations

import itertools
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream
from numpy.typing import NDArray

from s2tf_edge.data.container import open_container
from s2tf_edge.runtime.session import Clips, ModelInfo, Outputs, Session, SessionOptions
from s2tf_edge.runtime.sources import packets
from s2tf_edge.runtime.sources.parsing import parse_source
from s2tf_edge.runtime.sources.source import Source
from s2tf_edge.spec import ClipSpec

LABELS = ("dark", "gray", "bright")
LEVELS = np.array([0.1, 0.5, 0.9], np.float32)
TIME_BASE = Fraction(1, 90_000)


class BrightnessSession(Session):
    """Tells dark, gray and bright clips apart by their mean, as slowly as asked for."""

    backend = "brightness"
    delay_seconds = 0.0
    is_uneven = False
    """Whether the delay differs from clip to clip."""
    before_run: Callable[[], object] = staticmethod(lambda: None)
    """Called when a run begins; may let it wait."""

    def _open(self) -> None:
        pass

    def _run(self, clips: Clips) -> Outputs:
        mean = clips.reshape(len(clips), -1).mean(axis=1, dtype=np.float64) / 255
        self.before_run()
        time.sleep(self.delay_seconds * (int(255 * mean[0]) % 3 if self.is_uneven else 1))
        return Outputs(logits=(-20 * np.abs(mean[:, None] - LEVELS)).astype(np.float32))

    def _close(self) -> None:
        pass


def open_brightness(spec: ClipSpec, *, batch: int | None = 1, labels: tuple[str, ...] = LABELS) -> BrightnessSession:
    info = ModelInfo(
        name="brightness", network="mean", target="numpy", precision="fp32", spec=spec, labels=labels, batch=batch
    )
    session = BrightnessSession(Path("brightness"), info, SessionOptions())
    session.open()
    return session


def write_video(
    path: Path,
    levels: Sequence[float],
    *,
    fps: float = 25.0,
    times: Sequence[float] | None = None,
    size: int = 64,
    gop: int = 250,
    rotation_degrees: int = 0,
) -> Path:
    """A video of flat gray frames.

    Args:
        path: decides on the container by its suffix.
        levels: brightness of each frame, from 0 to 255.
        fps: frames a second, unless ``times`` are given.
        times: presentation time of each frame in seconds.
        size: pixels of the short side; the long one is half as long again.
        gop: frames from one key frame to the next, at most.
        rotation_degrees: counter-clockwise, by which the file asks to be turned.
    """
    with av.open(str(path), "w") as container:
        stream = container.add_stream(
            "libx264", rate=Fraction(fps).limit_denominator(1001), options={"crf": "4", "g": str(gop)}
        )
        stream.width, stream.height, stream.pix_fmt = size * 3 // 2, size, "yuv420p"
        if rotation_degrees:
            stream.set_display_rotation(rotation_degrees)
        stream.time_base = stream.codec_context.time_base = TIME_BASE
        for index, level in enumerate(levels):
            image: NDArray[np.uint8] = np.full((size, size * 3 // 2, 3), level, np.uint8)
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            seconds = index / fps if times is None else times[index]
            frame.pts, frame.time_base = round(seconds / TIME_BASE), TIME_BASE
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.fixture
def spec() -> ClipSpec:
    return ClipSpec(frames=4, stride=2, fps=25.0, size=32, layout="NTHWC", dtype="uint8")


@pytest.fixture
def brightness(spec: ClipSpec) -> BrightnessSession:
    return open_brightness(spec)


@pytest.fixture
def make_session() -> Callable[..., BrightnessSession]:
    return open_brightness


@pytest.fixture
def make_video(tmp_path: Path) -> Callable[..., Path]:
    def make(name: str, levels: Sequence[float], **options: object) -> Path:
        return write_video(tmp_path / name, levels, **options)  # type: ignore[arg-type]

    return make


class Clock:
    """Stands for ``perf_counter``: hours pass in no time, and no time passes while a test waits."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


class VirtualStop(threading.Event):
    """Whoever waits for it to be set passes the time on a clock, not in the test."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    def wait(self, timeout: float | None = None) -> bool:
        self._clock.now += timeout or 0.0
        return self.is_set()


@pytest.fixture
def virtual_stop(clock: Clock) -> VirtualStop:
    return VirtualStop(clock)


Hook = Callable[[int, "Packet[VideoStream]"], object]


class TappedContainer:
    """A real container that calls a hook with the number of each packet, and the packet, before it hands it out."""

    def __init__(self, container: InputContainer, hook: Hook) -> None:
        self._container = container
        self._hook = hook

    def __getattr__(self, name: str) -> Any:
        return getattr(self._container, name)

    def demux(self, stream: VideoStream) -> Iterator[Packet[VideoStream]]:
        for number, packet in enumerate(self._container.demux(stream)):
            self._hook(number, packet)
            yield packet


@pytest.fixture
def tap(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Lets a hook look at the packets of each source that is opened; the last one serves all further ones.

    The next packet is asked for once all that comes of the last one was posted: a hook that waits holds the reader at a
    place that the test knows.
    """

    def install(*hooks: Hook) -> None:
        numbers = itertools.count()

        def open_tapped(*arguments: Any, **options: Any) -> TappedContainer:
            hook = hooks[min(next(numbers), len(hooks) - 1)]
            return TappedContainer(open_container(*arguments, **options), hook)

        monkeypatch.setattr(packets, "open_container", open_tapped)

    return install


@pytest.fixture
def instant_source(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> Callable[..., Source]:
    """A live source of 25 frames a second that are there at once, each with its packet.

    Its times of arrival are those of ``clock``, so that it is never late, however slow the machine is.
    """
    monkeypatch.setattr(packets, "perf_counter", clock)

    def make(color: str = "gray", *, seconds: float = 60.0) -> Source:
        (source,) = parse_source(f"lavfi:color={color}:size=64x48:rate=25:duration={seconds}")
        return replace(source, paced=False)

    return make


class TcpServer:
    """Hands each connection what its part of a script says, then closes it; the last part serves all further ones.

    Args:
        parts: for each connection the function that makes what is sent, which may take its time.
    """

    def __init__(self, parts: Sequence[Callable[[], Iterable[bytes]]]) -> None:
        self._parts = parts
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"
        self.connections = 0
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        """Refuses connections from now on."""
        # Closing alone would not wake the thread that accepts: it would take one connection more.
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            part = self._parts[min(self.connections, len(self._parts) - 1)]
            self.connections += 1
            threading.Thread(target=self._send, args=(connection, part), daemon=True).start()

    def _send(self, connection: socket.socket, part: Callable[[], Iterable[bytes]]) -> None:
        with connection:
            try:
                for data in part():
                    connection.sendall(data)
            except OSError:
                return


@pytest.fixture
def serve_tcp() -> Iterator[Callable[..., TcpServer]]:
    servers: list[TcpServer] = []

    def serve(*parts: Callable[[], Iterable[bytes]]) -> TcpServer:
        servers.append(TcpServer(parts))
        return servers[-1]

    yield serve
    for server in servers:
        server.close()


class RtspServer:
    """A live picture of one gray level at ``url``, from a process of its own."""

    def __init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._port = free.getsockname()[1]
        self.url = f"rtsp://user:hunter2@127.0.0.1:{self._port}/live"
        self.process: subprocess.Popen[str] | None = None

    def start(self, level: int) -> None:
        """Returns once it can be connected to."""
        line = ["/usr/bin/python3", str(Path(__file__).with_name("rtsp_server.py")), str(self._port), str(level)]
        self.process = subprocess.Popen(line, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"

    def kill(self) -> None:
        """Ends it at once, without a goodbye to those connected."""
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None


@pytest.fixture
def rtsp_server() -> Iterator[RtspServer]:
    server = RtspServer()
    yield server
    server.kill()
