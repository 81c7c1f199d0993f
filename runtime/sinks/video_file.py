"""Saves the pictures of a source as a video with the labels, and the saliency if asked for, drawn on them."""

from __future__ import annotations

import logging
import os
from collections import deque
from pathlib import Path
from typing import Final

import av
import numpy as np
from av.video.reformatter import Colorspace
from numpy.typing import NDArray

from s2tf_edge.errors import InputFileError, UsageError
from s2tf_edge.runtime.sinks.annotator import Annotator, drawable
from s2tf_edge.runtime.sinks.recording import FORMATS, TIME_BASE, Recording
from s2tf_edge.runtime.streaming.records import Gap, Picture, Prediction, Record, Start, Summary

__all__ = ["VideoSink"]

logger = logging.getLogger(__name__)

_MAX_HELD_BYTES: Final = 128 * 2**20
_MAX_PAUSE_SECONDS: Final = 3600.0
"""FFmpeg writes no MP4 in which a frame stays for ten hours, as after a camera's night without power."""


class VideoSink:
    """Writes every picture of one source, at its time and in its size, with the label that is current then.

    Where zones share the pictures, all of them are drawn.

    Pictures that come before the first prediction are held back until it is there (128 MiB of them at most), so that
    even a video shorter than a clip shows its label from the start. A pause of more than an hour is saved as one of an
    hour. Until it is whole the file is called ``labeled.part.mp4``. What a run that failed or a full disk has left of
    it stays there.

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
        if path.exists() and not path.is_file():
            msg = f"{path} is no file; a video is saved into a file, not into a folder or pipe"
            raise InputFileError(msg)
        if not os.access(path.parent, os.W_OK):
            msg = f"cannot write {path}; choose a file in a folder that exists and may be written to"
            raise InputFileError(msg)
        self._path = path
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
        self._is_broken = False

    def write(self, record: Record) -> None:
        """Takes a picture, or what is drawn on the pictures that follow.

        Raises:
            InputFileError: the disk is full or gone; the message names what is kept of the video.
        """
        if self._is_broken:
            return
        try:
            self._take(record)
        except InputFileError:
            self._is_broken, self._writer = True, None
            self._held.clear()
            raise

    def close(self) -> None:
        """Ends the file and gives it its name, or says under which name a run that failed leaves it.

        Raises:
            InputFileError: the disk is full or gone; the message names what is kept of the video.
        """
        writer, self._writer = self._writer, None
        if writer is None:
            return
        path = writer.close(is_whole=self._is_complete)
        if self._is_complete:
            logger.info("saved %s", path)
        else:
            logger.warning("%s keeps what was saved before the run failed", path)

    def _take(self, record: Record) -> None:
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
        elif isinstance(record, Summary):
            self._release()
            self._is_complete = True

    def _hold(self, picture: Picture) -> None:
        self._held.append(picture)
        self._held_bytes += picture.nbytes
        if not self._unlabeled or self._held_bytes > _MAX_HELD_BYTES:
            self._release()

    def _release(self) -> None:
        while self._held:
            picture = self._held.popleft()
            self._writer = self._writer or _Writer(self._path, self._annotator)
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
    """Draws on pictures and records them, in the size of the first."""

    def __init__(self, path: Path, annotator: Annotator) -> None:
        self._path = path
        self._recording: Recording | None = None
        self._size = 0, 0
        self._annotator = annotator
        self._last_ticks = -(2**63)

    def write(self, picture: Picture, *, at_seconds: float) -> None:
        ticks = round(at_seconds / TIME_BASE)
        if ticks <= self._last_ticks:
            return
        self._last_ticks = ticks
        image = drawable(picture.frame)
        self._annotator.draw_saliency(image, pts_seconds=picture.pts_seconds, zones=picture.zones)
        if picture.zones:
            # In places of the picture, whatever size the video has.
            self._annotator.draw_labels(image, zones=picture.zones)
        if self._recording is None:
            self._size = image.shape[0] // 2 * 2, image.shape[1] // 2 * 2
            self._recording = Recording(self._path, size=self._size)
        image = _fit(image, height=self._size[0], width=self._size[1])
        if not picture.zones:
            self._annotator.draw_labels(image)
        frame = av.VideoFrame.from_ndarray(image, format="rgb24")
        self._recording.write(frame.reformat(format="yuv420p", dst_colorspace=Colorspace.ITU709), ticks=ticks)

    def close(self, *, is_whole: bool) -> Path:
        assert self._recording is not None
        return self._recording.close(is_whole=is_whole)


def _fit(image: NDArray[np.uint8], *, height: int, width: int) -> NDArray[np.uint8]:
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
