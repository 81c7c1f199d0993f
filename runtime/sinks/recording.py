"""A video file that can be played up to its last seconds, whatever ends the writing of it.

    labeled.part.mp4   ftyp │ moov moof mdat │ moof mdat │ moof mdat │ …
                            └───── 2 s ──────┴─── 2 s ───┴─── 2 s ───┘

Each part begins with a key frame and is told to the disk; nothing of one that was written is kept in memory.
"""

from __future__ import annotations

import errno
import itertools
import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from typing import Final

import av
from av.container import OutputContainer
from av.video.frame import PictureType
from av.video.stream import VideoStream

from s2tf_edge.data.container import add_video_stream, reason
from s2tf_edge.errors import InputFileError

__all__ = ["FORMATS", "TIME_BASE", "Recording", "add_part"]

logger = logging.getLogger(__name__)

FORMATS: Final = {".mp4": "mp4", ".mov": "mov", ".mkv": "matroska"}
"""FFmpeg's name of the container for each suffix that can be saved."""
# As fine as MPEG-4 takes, with a whole number of ticks for a frame at each usual rate.
TIME_BASE: Final = Fraction(1, 60_000)
_PART_SECONDS: Final = 2.0
# `delay_moov`: the header knows when the first frame is shown. `skip_trailer`: no index, which would grow in memory.
_FRAGMENTS: Final = "frag_keyframe+empty_moov+default_base_moof+delay_moov+skip_trailer"
_OPTIONS: Final = {
    "mp4": {"movflags": _FRAGMENTS},
    "mov": {"movflags": _FRAGMENTS},
    "matroska": {"cluster_time_limit": str(round(1000 * _PART_SECONDS))},
}
_BT709: Final = 1
_sync = getattr(os, "fdatasync", os.fsync)


def add_part(path: Path, number: int = 1) -> Path:
    """What the file is called until it is whole: ``labeled.part.mp4`` for ``labeled.mp4``, or its n-th."""
    return path.with_name(f"{path.stem}.part{f'-{number}' if number > 1 else ''}{path.suffix}")


class Recording:
    """Encodes frames into a file under the name of ``add_part``; it gets its own name once it is whole.

    A part that another run could not finish is left alone.

    Args:
        path: the file's own name; its suffix is one of ``FORMATS``.
        size: height and width in pixels, both even.

    Raises:
        InputFileError: the file cannot be written.
    """

    def __init__(self, path: Path, *, size: tuple[int, int]) -> None:
        self._path = path
        self._first_ticks: int | None = None
        self._key_seconds = float("-inf")
        self._kept_seconds = 0.0
        self._container: OutputContainer | None = None
        self._disk: _Disk | None = None
        with self._telling():
            self._part = _create_part(path)
            self._disk = _Disk(self._part)
            format = FORMATS[path.suffix.lower()]
            # The prefix keeps FFmpeg from taking a colon in the name for a protocol.
            self._container = av.open(
                f"file:{self._part}", "w", format=format, options={"flush_packets": "1", **_OPTIONS[format]}
            )
            self._stream = _add_stream(self._container, size)

    def write(self, frame: av.VideoFrame, *, ticks: int) -> None:
        """Encodes the next frame, yuv420p of the recording's size, at a time in ticks of ``TIME_BASE``.

        Raises:
            InputFileError: the disk is full or gone; the message names what is kept of the video.
        """
        seconds = float(ticks * TIME_BASE)
        if seconds - self._key_seconds >= _PART_SECONDS:
            frame.pict_type = PictureType.I
            self._key_seconds = seconds
        frame.pts, frame.time_base = ticks, TIME_BASE
        with self._telling():
            self._encode(frame)

    def close(self, *, is_whole: bool) -> Path:
        """Ends the file and, if it is whole, gives it its own name; returns the name.

        Raises:
            InputFileError: the disk is full or gone; the message names what is kept of the video.
        """
        with self._telling():
            assert self._container is not None
            assert self._disk is not None
            self._encode(None)
            self._container.close()
            self._disk.close()
        if not is_whole:
            return self._part
        try:
            return self._part.replace(self._path)
        except OSError as error:
            msg = f"cannot write {self._path} ({reason(error)}); {self._part} keeps the whole video"
            raise InputFileError(msg) from error

    def _encode(self, frame: av.VideoFrame | None) -> None:
        assert self._container is not None
        for packet in self._stream.encode(frame):
            self._container.mux(packet)
            if packet.pts is None or packet.time_base is None:
                continue
            ticks = round(packet.pts * packet.time_base / TIME_BASE)
            self._first_ticks = ticks if self._first_ticks is None else self._first_ticks
            if packet.is_keyframe:
                # With it the part before it was written.
                self._kept_seconds = float((ticks - self._first_ticks) * TIME_BASE)
                assert self._disk is not None
                self._disk.tell()

    @contextmanager
    def _telling(self) -> Iterator[None]:
        """Gives up where something cannot be written, and says what is kept."""
        try:
            yield
        except (OSError, av.FFmpegError) as error:
            self._give_up()
            kept = "nothing of it is kept"
            if self._kept_seconds:
                kept = f"{self._part} keeps its first {self._kept_seconds:.1f} s"
            msg = f"cannot write {self._path} ({reason(error)}); {kept}"
            raise InputFileError(msg) from error

    def _give_up(self) -> None:
        for box in (self._container, self._disk):
            if box is not None:
                with suppress(OSError, av.FFmpegError):
                    box.close()
        with suppress(OSError, AttributeError):
            if self._kept_seconds:
                _cut(self._part)
            else:
                self._part.unlink()


def _create_part(path: Path) -> Path:
    """Makes an empty file under the first name that is free."""
    for number in itertools.count(1):
        part = add_part(path, number)
        try:
            part.touch(exist_ok=False)
        except FileExistsError:
            continue
        if number > 1:
            logger.warning("%s, which another run has not finished, is left as it is", add_part(path, number - 1))
        return part
    raise AssertionError


def _add_stream(container: OutputContainer, size: tuple[int, int]) -> VideoStream:
    stream = add_video_stream(container, fps=30, size=size, preset="veryfast")
    context = stream.codec_context
    stream.time_base = context.time_base = TIME_BASE
    # Frames are told which of them are key frames, by their time.
    context.gop_size = 600
    context.colorspace = context.color_primaries = context.color_trc = context.color_range = _BT709
    return stream


def _cut(path: Path) -> None:
    """Takes away what follows the last whole ``mdat`` of an MPEG-4 file: players differ in what they make of it."""
    if FORMATS[path.suffix.lower()] == "matroska":
        return
    with path.open("r+b") as file:
        size, at, whole = path.stat().st_size, 0, 0
        while len(head := file.read(8)) == 8:
            length, name = int.from_bytes(head[:4], "big"), head[4:]
            if length < 8 or at + length > size:
                break
            at += length
            whole = at if name == b"mdat" else whole
            file.seek(at)
        file.truncate(whole or size)


class _Disk:
    """Has the disk take what was written, in a thread of its own: what is in memory alone, a power cut takes."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDONLY)
        self._is_due = threading.Event()
        self._is_over = False
        self._error: OSError | None = None
        self._thread = threading.Thread(target=self._run, name="sync the video", daemon=True)
        self._thread.start()

    def tell(self) -> None:
        """Something was written.

        Raises:
            OSError: the disk could not take what was written before.
        """
        if self._error is not None:
            raise self._error
        self._is_due.set()

    def close(self) -> None:
        """Waits until the disk has all that was written."""
        if self._is_over:
            return
        self._is_over = True
        self._is_due.set()
        self._thread.join()
        os.close(self._file)
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        is_last = False
        while not is_last and self._error is None:
            self._is_due.wait()
            self._is_due.clear()
            is_last = self._is_over
            try:
                _sync(self._file)
            except OSError as error:
                # Some file systems, such as those of a network, have no such thing.
                self._error = None if error.errno in {errno.EINVAL, errno.ENOTSUP} else error
