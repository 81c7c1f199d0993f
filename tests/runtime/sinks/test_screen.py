"""The window with the pictures, as an X server without a screen shows it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from s2tf_edge.data.video import probe
from s2tf_edge.errors import MissingExtraError, UsageError
from s2tf_edge.runtime.session import Session
from s2tf_edge.runtime.sinks.screen import Screen
from s2tf_edge.runtime.streaming.recognize import recognize
from s2tf_edge.runtime.streaming.records import Picture, Prediction, SourceStatus, Start, Status
from s2tf_edge.runtime.streaming.regions import Region
from s2tf_edge.runtime.streaming.stream_options import StreamOptions
from s2tf_edge.runtime.streaming.zones import Zone
from s2tf_edge.spec import ClipSpec

Shot = Callable[[], NDArray[np.uint8]]
RED, GREEN, BLUE = (200, 0, 0), (0, 200, 0), (0, 0, 200)

pytestmark = pytest.mark.needs_display


@pytest.fixture(scope="module")
def display(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """Name and pixels of a display; one for all tests, as Tk never leaves one that it has been on."""
    folder = tmp_path_factory.mktemp("display")
    read, write = os.pipe()
    command = ["Xvfb", "-displayfd", str(write), "-screen", "0", "1000x700x24", "-fbdir", str(folder)]
    with subprocess.Popen([*command, "-nolisten", "tcp"], pass_fds=(write,), stderr=subprocess.DEVNULL) as server:
        os.close(write)
        with os.fdopen(read) as lines:
            name = f":{lines.readline().strip()}"
        yield name, folder / "Xvfb_screen0"
        server.terminate()


@pytest.fixture
def shot(display: tuple[str, Path], monkeypatch: pytest.MonkeyPatch) -> Shot:
    """Says what the display of 1000×700 pixels shows now, uint8 [700, 1000, 3]."""
    name, pixels = display
    monkeypatch.setenv("DISPLAY", name)
    return lambda: _framebuffer(pixels)


def _framebuffer(path: Path) -> NDArray[np.uint8]:
    """The pixels of an X window dump: a header of big-endian numbers, a table of colors, then BGRX."""
    data = path.read_bytes()
    header = np.frombuffer(data, ">u4", 25)
    offset = int(header[0] + 12 * header[19])
    rows = np.frombuffer(data, np.uint8, int(header[5] * header[12]), offset).reshape(int(header[5]), -1)
    return rows[:, : 4 * int(header[4])].reshape(int(header[5]), -1, 4)[..., 2::-1]


def _start(*sources: str) -> Start:
    return Start(
        artifact="a",
        network="n",
        target="onnx",
        precision="fp32",
        clip=ClipSpec(frames=4, size=32),
        labels=2,
        hop=1,
        policy="auto",
        smooth="none",
        threshold=0.5,
        sources=sources,
    )


def _picture(color: tuple[int, int, int], *, source: int = 0, height: int = 480, width: int = 640) -> Picture:
    image = np.full((height, width, 3), color, np.uint8)
    return Picture(source=source, pts_seconds=0.0, frame=av.VideoFrame.from_ndarray(image, format="rgb24"))


def _prediction() -> Prediction:
    mask = np.ones((4, 4), np.float32)
    mask[1, 1] = 3
    topk = (("walk", 0.9), ("run", 0.1))
    return Prediction(
        source=0, t_start=0, t_end=1, label="walk", score=0.9, topk=topk, age_ms=1.0, infer_ms=1.0, mask=mask
    )


def _status(*states: str) -> Status:
    sources = tuple(
        SourceStatus(
            name="x",
            state=state,
            frames=1,
            windows=1,
            gaps=0,
            reconnects=0,
            position_seconds=1.0,
            duration_seconds=None,
            message=None,
        )
        for state in states
    )
    return Status(seconds=1.0, drops={}, stages_ms={}, sources=sources)


class _Shown:
    """Records written until the window has had time to draw each of them."""

    def __init__(self, screen: Screen) -> None:
        self.screen = screen

    def __call__(self, *records: Start | Picture | Prediction | Status) -> None:
        for record in records:
            self.screen.write(record)
            self.settle()

    def settle(self) -> None:
        for _ in range(3):
            self.screen.draw()
            self.screen.window.update()


@pytest.fixture
def show(shot: Shot) -> Iterator[_Shown]:
    del shot
    screen = Screen(stop=threading.Event())
    yield _Shown(screen)
    screen.close()


def test_a_picture_fills_a_window_of_its_size(show: _Shown, shot: Shot) -> None:
    show(_start("x"), _picture(RED))
    screen = shot()
    assert (screen[:480, :640] == RED).all()
    assert (screen[480:] == 0).all()


def test_the_newest_picture_is_shown(show: _Shown, shot: Shot) -> None:
    show(_start("x"), _picture(RED), _picture(BLUE))
    assert (shot()[:480, :640] == BLUE).all()


@pytest.mark.parametrize(("height", "width"), [(2160, 3840), (3840, 2160), (1080, 1920)])
def test_a_large_picture_is_scaled_to_the_screen(show: _Shown, shot: Shot, height: int, width: int) -> None:
    show(_start("x"), _picture(RED, height=height, width=width))
    rows, columns = np.nonzero(shot()[..., 0] > 150)
    assert 500 < max(rows.max(), columns.max()) < 800
    assert (rows.max() + 1) / (columns.max() + 1) == pytest.approx(height / width, rel=0.02)


def test_labels_are_drawn_and_saliency_only_where_it_was_asked_for(show: _Shown, shot: Shot) -> None:
    show(_start("x"), _picture(RED), _prediction())
    screen = shot()
    assert (screen[:240, :640] == RED).all()
    assert (screen[240:480, :640] != RED).any()


def test_saliency(shot: Shot) -> None:
    screen = Screen(stop=threading.Event(), saliency=True)
    _Shown(screen)(_start("x"), _picture(RED), _prediction())
    assert (shot()[:240, :640] != RED).any()
    screen.close()


def test_sources_share_the_window_while_they_play(show: _Shown, shot: Shot) -> None:
    show(_start("x", "y", "z"))
    show(*(_picture(color, source=index) for index, color in enumerate((RED, GREEN, BLUE))))
    show(_status("playing", "playing", "playing"))
    height, width = show.screen.window.winfo_height(), show.screen.window.winfo_width()
    screen = shot()[:height, :width]
    quarters = (screen[y * height // 4, x * width // 4] for y, x in ((1, 1), (1, 3), (3, 1), (3, 3)))
    assert [tuple(quarter.tolist()) for quarter in quarters] == [RED, GREEN, BLUE, (0, 0, 0)]
    show(_status("ended", "playing", "failed"))
    assert (shot()[height // 2, : width // 2] == GREEN).all(axis=1).mean() > 0.9


def test_files_one_after_another_have_the_window_for_themselves(show: _Shown, shot: Shot) -> None:
    show(_start("a", "b"), _picture(RED), _status("playing", "waiting"), _picture(BLUE, source=1))
    show(_status("ended", "playing"))
    assert (shot()[200, :300] == BLUE).all()
    show(_status("ended", "ended"))
    assert (shot()[200, :300] == BLUE).all()


def test_zones_of_a_source_share_its_picture_and_are_drawn_into_it(show: _Shown, shot: Shot) -> None:
    regions = Region("door", (0.0, 0.0, 0.5, 1.0)), Region("till", (0.5, 0.0, 0.5, 1.0))
    zones = tuple(Zone(index, region.name, None, region.box) for index, region in enumerate(regions))
    show(replace(_start("x [door]", "x [till]"), regions=regions, pictures=(0, 0)))
    show(replace(_picture(RED), zones=zones), _status("playing", "playing"))
    screen = shot()[:480, :640]
    # One picture that fills the window, and where the frames of the two meet each has its own color.
    assert (screen[300, [160, 480]] == RED).all()
    door, till = screen[300, 319], screen[300, 320]
    assert not (door == RED).all()
    assert not (till == RED).all()
    assert not (door == till).all()
    show(replace(_prediction(), source=1, region="till"), replace(_picture(RED), zones=zones))
    labeled = shot()[:480, :640]
    np.testing.assert_array_equal(labeled[:, :320], screen[:, :320])
    assert (labeled[:, 320:] != screen[:, 320:]).any()


def test_a_lost_source_is_dimmed_and_says_so(show: _Shown, shot: Shot) -> None:
    show(_start("x"), _picture(RED), _prediction(), _status("lost"))
    screen = shot()[:480, :640]
    assert (screen[100:] == (RED[0] // 3, 0, 0)).all()
    assert (screen[:30] > 150).all(axis=2).any()


def test_the_user_may_resize_it(show: _Shown, shot: Shot) -> None:
    show(_start("x"), _picture(RED))
    show.screen.window.geometry("900x300")
    show.settle()
    screen = shot()
    assert (screen[150, 450] == RED).all()
    assert (screen[150, 10] == 0).all()
    assert (screen[:300].max(axis=(0, 2)) > 150).sum() == pytest.approx(400, abs=2)


@pytest.mark.needs_shared
def test_a_picture_that_is_turned_fits(show: _Shown, shot: Shot, shared: Path) -> None:
    path = shared / "clips/odd/video_90.mov"
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
    show(_start("x"), Picture(source=0, pts_seconds=0.0, frame=frame))
    window = show.screen.window
    info = probe(path)
    assert window.winfo_width() / window.winfo_height() == pytest.approx(info.width / info.height, rel=0.01)
    assert shot()[: window.winfo_height(), : window.winfo_width()].any(axis=(0, 2)).mean() > 0.9


@pytest.mark.parametrize(("width", "height"), [(160, 500), (900, 120), (161, 121)])
def test_a_window_of_any_size(show: _Shown, width: int, height: int) -> None:
    show(_start("x", "y"), _picture(RED, height=97), _picture(GREEN, source=1, width=1000))
    show.screen.window.geometry(f"{width}x{height}")
    show(_status("playing", "lost"), _prediction())
    assert (show.screen.window.winfo_width(), show.screen.window.winfo_height()) == (width, height)


@pytest.mark.parametrize("key", ["q", "Escape"])
def test_a_key_ends_the_stream(shot: Shot, key: str) -> None:
    del shot
    stop = threading.Event()
    screen = Screen(stop=stop)
    _Shown(screen)(_start("x"), _picture(RED))
    screen.window.focus_force()
    screen.window.update()
    screen.window.event_generate(f"<Key-{key}>")
    screen.draw()
    assert stop.is_set()
    screen.write(_picture(BLUE))
    screen.close()


def test_a_stream_is_shown(shot: Shot, make_video: Callable[..., Path], brightness: Session) -> None:
    stop = threading.Event()
    screen = Screen(stop=stop)
    path = make_video("gray.mp4", [128] * 60)
    for record in recognize(path, brightness, options=StreamOptions(pictures=True), stop=stop):
        screen.write(record)
    screen.draw()
    assert (np.abs(shot()[:200, :600].astype(int) - 128) < 4).all()
    screen.close()
    assert not stop.is_set()


def test_without_a_display_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    with pytest.raises(UsageError, match=r"needs a display \(.*; save them with `VideoSink`"):
        Screen(stop=threading.Event())


def test_without_tkinter_it_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tkinter", None)
    with pytest.raises(MissingExtraError, match=r"needs Python's tkinter .*apt install python3-tk$"):
        Screen(stop=threading.Event())
