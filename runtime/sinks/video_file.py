"""Saves the pictures of a source as a video with the labels, and the saliency if asked for, drawn on them."""

from __future__ import annotations

import logging
import os
from collections import deque
from fractions import Fraction
from pathlib import Path
from typing import Final

import av
import numpy as np
from av.container import OutputContainer
from av.video.reformatter import Colorspace
from av.video.stream import VideoStream
from numpy.typing import NDArray

from s2tf_edge.data.container import add_video_stream
from s2tf_edge.errors import InputFileError, UsageError
from s2tf_edge.runtime.sinks.annotator import Annotator, drawable
from s2tf_edge.runtime.streaming.records import Gap, Picture, Prediction, Record, Start, Summary

__all__ = ["FORMATS", "VideoSink"]

logger = logging.getLogger(__name__)

FORMATS: Final = {".mp4": "mp4", ".mov": "mov", ".mkv": "matroska"}
"""FFmpeg's name of the container for each suffix that can be saved."""

# As fine as MPEG-4 takes, with a whole number of ticks for a frame at each usual rate.
_TIME_BASE: Final = Fraction(1, 60_000)
_MAX_HELD_BYTES: Final = 128 * 2**20
_STEP_SECONDS: Final = 0.04
_MAX_PAUSE_SECONDS: Final = 3600.0
"""FFmpeg writes no MP4 in which a frame stays for ten hours, as after a camera's night without power."""
_BT709: Final = 1


class VideoSink:
    """Writes every picture of one source, at its time and in its size, with the label that is current then.

    Where zones share the pictures, all of them are drawn.

    Pictures that come before the first prediction are held back until it is there (128 MiB of them at most), so that
    even a video shorter than a clip shows its label from the start. Where the source's clock goes back, as in files
    strung together, what follows is saved behind what came before; a pause of more than an hour is saved as one of an
    hour. The file is written under another name and gets its
    own on closing, if the Summary has come: a run that failed leaves none.

    Args:
        path: the file; its suffix says the container.
        source: which one is saved.
        saliency: whether the masks that predictions carry are drawn as a heat map.

    Raises:
        UsageError: the suffix is none of ``FORMATS``.
        InputFileError: the file cannot be written.
    """

    def __init__(self, path: Path, *, source: int = 0, saliency: bool = False) -> None:
        if path.suffix.lower() not in FORMATS:
            msg = f"cannot save a video as {path.name!r}; its name must end in {', '.join(FORMATS)}"
            raise UsageError(msg)
        if not os.access(path.parent, os.W_OK) or path.is_dir():
            msg = f"cannot write {path}; choose a file in a folder that exists and may be written to"
            raise InputFileError(msg)
        self._path = path
        self._aside = path.with_name(f".{path.name}.{os.getpid()}.part")
        self._source = source
        self._shift_seconds = 0.0
        self._last_seconds: float | None = None
        self._held: deque[Picture] = deque()
        self._held_bytes = 0
        self._annotator = Annotator(source=source, saliency=saliency)
        self._unlabeled = {source}
        """Sources that are seen in the pictures and have had no prediction yet."""
        self._writer: _Writer | None = None
        self._is_complete = False

    def write(self, record: Record) -> None:
        """Takes a picture, or what is drawn on the pictures that follow."""
        if isinstance(record, Picture):
            if record.source == self._source:
                self._hold(record)
            return
        if isinstance(record, Gap) and record.source == self._source:
            # Nothing from behind the gap may show before it.
            self._release()
        self._annotator.follow(record)
        if isinstance(record, Start):
            self._unlabeled = {each for each in range(len(record.sources)) if record.picture_of(each) == self._source}
        elif isinstance(record, Prediction) and record.source in self._unlabeled:
            self._unlabeled.remove(record.source)
            if not self._unlabeled:
                self._release()
        elif isinstance(record, Gap) and record.source == self._source:
            if record.t_end <= record.t_start:
                self._shift_seconds += record.t_start - record.t_end + _STEP_SECONDS
        elif isinstance(record, Summary):
            self._release()
            self._is_complete = True

    def close(self) -> None:
        """Completes the file and gives it its name, or removes what a failed run has written."""
        if self._writer is None:
            return
        try:
            self._writer.close()
            if self._is_complete:
                self._aside.replace(self._path)
                logger.info("saved %s", self._path)
        finally:
            self._aside.unlink(missing_ok=True)

    def _hold(self, picture: Picture) -> None:
        self._held.append(picture)
        self._held_bytes += picture.nbytes
        if not self._unlabeled or self._held_bytes > _MAX_HELD_BYTES:
            self._release()

    def _release(self) -> None:
        while self._held:
            picture = self._held.popleft()
            self._writer = self._writer or _Writer(self._aside, FORMATS[self._path.suffix.lower()], self._annotator)
            self._writer.write(picture, at_seconds=self._find_place(picture.pts_seconds))
        self._held_bytes = 0

    def _find_place(self, pts_seconds: float) -> float:
        """Where in the saved video a picture goes: a long pause before it is cut short."""
        # Not told by the Gap: pictures of a live source go past it.
        if self._last_seconds is not None:
            self._shift_seconds -= max(0.0, pts_seconds - self._last_seconds - _MAX_PAUSE_SECONDS)
        self._last_seconds = pts_seconds
        return pts_seconds + self._shift_seconds


class _Writer:
    """The encoder, set up by the first picture."""

    def __init__(self, path: Path, format: str, annotator: Annotator) -> None:
        self._container: OutputContainer = av.open(str(path), "w", format=format)
        self._stream: VideoStream | None = None
        self._annotator = annotator
        self._last_ticks = -(2**63)

    def write(self, picture: Picture, *, at_seconds: float) -> None:
        ticks = round(at_seconds / _TIME_BASE)
        if ticks <= self._last_ticks:
            return
        self._last_ticks = ticks
        image = drawable(picture.frame)
        self._annotator.draw_saliency(image, pts_seconds=picture.pts_seconds, zones=picture.zones)
        if picture.zones:
            # In places of the picture, whatever size the video has.
            self._annotator.draw_labels(image, zones=picture.zones)
        if self._stream is None:
            self._stream = self._open(image.shape[1] // 2 * 2, image.shape[0] // 2 * 2)
        image = _fit(image, self._stream.width, self._stream.height)
        if not picture.zones:
            self._annotator.draw_labels(image)
        frame = av.VideoFrame.from_ndarray(image, format="rgb24")
        frame = frame.reformat(format="yuv420p", dst_colorspace=Colorspace.ITU709)
        frame.pts, frame.time_base = ticks, _TIME_BASE
        self._container.mux(self._stream.encode(frame))

    def close(self) -> None:
        if self._stream is not None:
            self._container.mux(self._stream.encode(None))
        self._container.close()

    def _open(self, width: int, height: int) -> VideoStream:
        stream = add_video_stream(self._container, fps=30, size=(height, width), preset="veryfast")
        stream.time_base = stream.codec_context.time_base = _TIME_BASE
        context = stream.codec_context
        context.colorspace = context.color_primaries = context.color_trc = context.color_range = _BT709
        return stream


def _fit(image: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """``image`` in the size of the video: an odd row or column goes; another size midway is fitted between bars."""
    if (image.shape[1] // 2 * 2, image.shape[0] // 2 * 2) == (width, height):
        return np.ascontiguousarray(image[:height, :width])
    scale = min(width / image.shape[1], height / image.shape[0])
    inner_width, inner_height = max(1, int(image.shape[1] * scale)), max(1, int(image.shape[0] * scale))
    frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(inner_width, inner_height)
    canvas = np.zeros((height, width, 3), np.uint8)
    left, top = (width - inner_width) // 2, (height - inner_height) // 2
    canvas[top : top + inner_height, left : left + inner_width] = frame.to_ndarray()
    return canvas
