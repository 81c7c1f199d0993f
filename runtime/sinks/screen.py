"""A window with the newest pictures of a stream, drawn with tkinter, which comes with Python.

Of all sources those that are playing share it:

    ┌──────────┬──────────┐
    │ camera 0 │ camera 1 │
    ├──────────┼──────────┤
    │ a.mp4    │          │    files play one after another: one cell serves them all
    └──────────┴──────────┘

Zones of one source share its pictures, and so its cell.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable
from time import perf_counter
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from s2tf_edge.data.frames import shown_size
from s2tf_edge.errors import MissingExtraError, UsageError
from s2tf_edge.runtime.sinks.annotator import Annotator, drawable
from s2tf_edge.runtime.sinks.glyphs import draw_text
from s2tf_edge.runtime.streaming.records import Failure, Picture, Record, Start, Status, Summary

if TYPE_CHECKING:
    import tkinter

__all__ = ["Screen"]

_TITLE: Final = "s2tf-stream"
_PIXELS: Final = 960 * 540
"""Of the window, unless the user makes it larger: tkinter takes 6 ms for as many, and 21 ms for twice as many."""
_SMALLEST: Final = (640, 480)
"""Width or height that a small picture is scaled up to."""
_PERIOD_SECONDS: Final = 1 / 30
_IDLE: Final = 2.0
"""Time left to the stream after each drawing, as a multiple of what drawing took."""
_GONE: Final = ("ended", "failed")
_NAME_LINE: Final = 16
_DIMMED: Final = 3


class Screen:
    """A sink that shows pictures with their labels, and their saliency if asked for.

    It never holds up a stream: of the pictures that come faster than they can be drawn it shows the newest. ``q``, Esc
    and closing the window set ``stop``. It belongs to the main thread, as all of tkinter does. Which sources share it
    it learns from Status records; without any it shows the first.

    Args:
        stop: set when the user has seen enough.
        saliency: whether the masks that predictions carry are drawn as a heat map.

    Raises:
        MissingExtraError: this Python has no tkinter.
        UsageError: there is no display.
    """

    def __init__(self, *, stop: threading.Event, saliency: bool = False) -> None:
        self._stop = stop
        self._saliency = saliency
        self._start: Start | None = None
        self._cells: dict[int, _Cell] = {}
        self._shown: list[int] = []
        self._due_at = 0.0
        self._canvas = np.zeros((0, 0, 3), np.uint8)
        self.window = _window()
        """The tkinter window."""
        self._photo, self._is_open = _prepare(self.window, self._quit), True

    def write(self, record: Record) -> None:
        """Takes any record, and draws if it is time."""
        if not self._is_open:
            return
        if isinstance(record, Start):
            self._start = record
            shown = {record.picture_of(index) for index in range(len(record.sources))}
            self._cells = {index: _Cell(index, self._saliency) for index in sorted(shown)}
        elif isinstance(record, Status):
            self._share([index for index in self._cells if record.sources[index].state not in _GONE])
        elif isinstance(record, Picture):
            self._show(record)
        elif isinstance(record, Failure):
            self._find_cell(record.source).picture = None
        source = getattr(record, "source", None)
        for cell in self._cells.values() if source is None else (self._find_cell(source),):
            cell.follow(record)
        started = perf_counter()
        if started >= self._due_at:
            self.draw()
            took_seconds = perf_counter() - started
            self._due_at = started + took_seconds + max(_PERIOD_SECONDS - took_seconds, _IDLE * took_seconds)

    def draw(self) -> None:
        """Brings the window up to date now, and lets it answer to its user."""
        if not self._is_open:
            return
        self.window.update()
        if not self._is_open:
            return
        width, height = self.window.winfo_width(), self.window.winfo_height()
        if self._canvas.shape[:2] != (height, width):
            self._canvas = np.zeros((height, width, 3), np.uint8)
            self._touch()
        if self._draw_cells():
            self._photo.configure(data=b"P6 %d %d 255 " % (width, height) + self._canvas.tobytes(), format="ppm")
            self.window.update_idletasks()

    def close(self) -> None:
        """Closes the window."""
        if self._is_open:
            self._is_open = False
            self.window.destroy()

    def _find_cell(self, source: int) -> _Cell:
        return self._cells[self._start.picture_of(source) if self._start else source]

    def _quit(self) -> None:
        self._stop.set()
        self.close()

    def _share(self, indices: Iterable[int]) -> None:
        """Gives a cell to each of these sources that has a picture; keeps the last picture where there is none."""
        shown = [index for index in indices if self._cells[index].picture is not None]
        for index in set(self._shown) - set(shown):
            # A frame may be large, and a folder may hold many files.
            if shown:
                self._cells[index].picture = None
        if shown and shown != self._shown:
            self._shown = shown
            self._canvas[:] = 0
            self._touch()

    def _show(self, picture: Picture) -> None:
        if not self._shown:
            self._shown = [picture.source]
            self._resize(picture)
        self._cells[picture.source].picture = picture

    def _resize(self, picture: Picture) -> None:
        """Makes the window as large as the first picture, within limits; of several sources as large as can be."""
        height, width = shown_size(picture.frame)
        widest, highest = self.window.winfo_screenwidth() * 4 // 5, self.window.winfo_screenheight() * 4 // 5
        largest = min(math.sqrt(_PIXELS / (width * height)), widest / width, highest / height)
        enough = max(1.0, _SMALLEST[0] / width, _SMALLEST[1] / height)
        scale = largest if len(self._cells) > 1 else min(largest, enough)
        self.window.geometry(f"{round(width * scale)}x{round(height * scale)}")

    def _touch(self) -> None:
        for cell in self._cells.values():
            cell.is_drawn = False

    def _draw_cells(self) -> bool:
        """Draws what has changed; returns whether anything has."""
        places = _grid(len(self._shown), height=self._canvas.shape[0], width=self._canvas.shape[1])
        stale = [
            (self._cells[index], place)
            for index, place in zip(self._shown, places, strict=True)
            if not self._cells[index].is_drawn
        ]
        for cell, (rows, columns) in stale:
            name = self._start.picture_name(cell.source) if self._start and len(self._cells) > 1 else ""
            cell.draw(self._canvas[rows, columns], name=name)
        return bool(stale)


class _Cell:
    """The part of the window that shows one source."""

    def __init__(self, source: int, saliency: bool) -> None:
        self.source = source
        self.picture: Picture | None = None
        self.is_drawn = True
        self._annotator = Annotator(source=source, saliency=saliency)
        self._is_lost = False

    def follow(self, record: Record) -> None:
        self._annotator.follow(record)
        if isinstance(record, Status):
            lost = record.sources[self.source].state == "lost"
            self.is_drawn = self.is_drawn and lost == self._is_lost
            self._is_lost = lost
        elif not isinstance(record, Start | Summary):
            self.is_drawn = False

    def draw(self, place: NDArray[np.uint8], *, name: str) -> None:
        """Draws the newest picture into the middle of ``place``, uint8 [H, W, 3]."""
        self.is_drawn = True
        place[:] = 0
        if self.picture is None:
            return
        image = _fit(self.picture, height=place.shape[0], width=place.shape[1])
        if self._is_lost:
            image //= _DIMMED
        else:
            zones = self.picture.zones
            self._annotator.draw_saliency(image, pts_seconds=self.picture.pts_seconds, zones=zones)
            self._annotator.draw_labels(image, zones=zones)
        height, width = image.shape[:2]
        top, left = (place.shape[0] - height) // 2, (place.shape[1] - width) // 2
        place[top : top + height, left : left + width] = image
        if name or self._is_lost:
            _caption(place, " · ".join(filter(None, (name, "no signal" if self._is_lost else ""))))


def _window() -> tkinter.Tk:
    try:
        import tkinter
    except ImportError as error:
        msg = (
            f"showing pictures needs Python's tkinter ({error}); it comes with most Pythons, on Debian and Ubuntu "
            "install it with: apt install python3-tk"
        )
        raise MissingExtraError(msg) from error
    try:
        return tkinter.Tk(className=_TITLE)
    except tkinter.TclError as error:
        others = "save them with `VideoSink`, or watch from a browser with `WebSink`"
        msg = f"showing pictures needs a display ({error}); {others}"
        raise UsageError(msg) from error


def _prepare(window: tkinter.Tk, leave: Callable[[], None]) -> tkinter.PhotoImage:
    """Sets up an empty window; returns the image that fills it."""
    import tkinter

    photo = tkinter.PhotoImage(master=window)
    tkinter.Label(window, image=photo, background="black", borderwidth=0).place(x=0, y=0, relwidth=1, relheight=1)
    window.title(_TITLE)
    window.configure(background="black")
    window.geometry(f"{_SMALLEST[0]}x{_SMALLEST[1]}")
    window.minsize(_SMALLEST[0] // 4, _SMALLEST[1] // 4)
    window.protocol("WM_DELETE_WINDOW", leave)
    for key in ("<Key-q>", "<Escape>"):
        window.bind(key, lambda _event: leave())
    return photo


def _grid(count: int, *, height: int, width: int) -> list[tuple[slice, slice]]:
    """Rows and columns of each of ``count`` cells, row by row; at least as many columns as rows."""
    across = math.ceil(math.sqrt(count))
    down = math.ceil(count / max(across, 1))
    return [
        (_part(index // across, of=down, length=height), _part(index % across, of=across, length=width))
        for index in range(count)
    ]


def _part(index: int, *, of: int, length: int) -> slice:
    return slice(length * index // of, length * (index + 1) // of)


def _fit(picture: Picture, *, height: int, width: int) -> NDArray[np.uint8]:
    """The picture, scaled in one step to fit a place of this size."""
    own_height, own_width = shown_size(picture.frame)
    scale = min(height / own_height, width / own_width)
    return drawable(picture.frame, short_side=max(1, int(min(own_height, own_width) * scale)))[:height, :width]


def _caption(place: NDArray[np.uint8], text: str) -> None:
    """White on a darkened strip, at the upper left; of a long text the end."""
    ink = draw_text(text, height=_NAME_LINE)
    while ink.shape[1] > place.shape[1] - _NAME_LINE and len(text) > 1:
        text = text[1:]
        ink = draw_text(f"…{text}", height=_NAME_LINE)
    strip = place[: _NAME_LINE + 6, : ink.shape[1] + _NAME_LINE]
    strip //= _DIMMED
    lines = strip[3 : 3 + _NAME_LINE, _NAME_LINE // 2 : _NAME_LINE // 2 + ink.shape[1]]
    np.maximum(lines, ink[: lines.shape[0], : lines.shape[1], None], out=lines)
