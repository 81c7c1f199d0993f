"""Opening videos, cameras and streams with FFmpeg (PyAV), its errors turned into this package's; encoding videos."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import av
from av.container import InputContainer, OutputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from s2tf_edge.errors import InputFileError, S2TFError, SourceError

__all__ = ["add_video_stream", "open_container", "redacted", "video_stream"]


def open_container(
    path_or_url: str | Path,
    *,
    format: str | None = None,
    options: Mapping[str, str] | None = None,
    timeout_seconds: float | None = None,
) -> InputContainer:
    """Opens what holds a video; close it, or use it in a with statement.

    Args:
        path_or_url: a file, or what FFmpeg opens: a URL, a device, ``pipe:0``, an expression for ``lavfi``.
        format: FFmpeg's input format, needed for devices (``v4l2``) and ``lavfi``; None to recognise it.
        options: FFmpeg's options for the format.
        timeout_seconds: longest wait for opening, and for each read afterwards; None waits for ever.

    Raises:
        InputFileError: a file that is missing, not readable, empty or not a video, or has no video stream.
        SourceError: a device or URL that cannot be opened or has no video stream.
    """
    name = str(path_or_url)
    is_file = format is None and not name.startswith(("pipe:", "/dev/")) and "://" not in name
    if is_file:
        _check_file(Path(name))
    try:
        # The prefix keeps FFmpeg from taking a colon in a file's name for a protocol.
        container = av.open(
            f"file:{name}" if is_file else name,
            mode="r",
            format=format,
            options=dict(options or {}),
            timeout=timeout_seconds,
            # HMDB51's AVIs have metadata that is not UTF-8, on which PyAV raises otherwise.
            metadata_errors="replace",
        )
    except (av.FFmpegError, OSError, ValueError) as error:
        if is_file:
            msg = f"{name} is not a video that FFmpeg can read ({_reason(error)}); give a video such as an .mp4 or .avi"
            raise InputFileError(msg) from error
        msg = f"cannot open {redacted(name)} ({_reason(error)}); check the address, and that the device is on"
        # PyAV's error quotes the URL with its password, which a traceback in the log would show.
        raise SourceError(msg) from None
    try:
        video_stream(container)
    except InputFileError as error:
        container.close()
        kind: type[S2TFError] = InputFileError if is_file else SourceError
        msg = f"{redacted(name)} {error}"
        raise kind(msg) from None
    return container


def video_stream(container: InputContainer) -> VideoStream:
    """The first stream of moving pictures; the cover of a sound file is none.

    Raises:
        InputFileError: there is none, or FFmpeg has no decoder for it.
    """
    streams = [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]
    if not streams:
        kinds = " and ".join(sorted({stream.type for stream in container.streams})) or "no stream at all"
        msg = f"has no video stream, only {kinds}; give a file or source with pictures"
        raise InputFileError(msg)
    if streams[0].codec_context is None:
        msg = "has a video stream of a codec that FFmpeg cannot decode; convert it to H.264"
        raise InputFileError(msg)
    return streams[0]


def add_video_stream(
    container: OutputContainer, *, fps: int, size: tuple[int, int], preset: str = "medium"
) -> VideoStream:
    """Adds what a video is encoded in: H.264 where FFmpeg was built with x264, MPEG-4 where it was not.

    Args:
        container: open for writing.
        fps: frames a second, unless frames bring their own times.
        size: height and width in pixels, both even.
        preset: of x264, which trades time for size.
    """
    codec, options = "mpeg4", {"qscale:v": "3"}
    if "libx264" in av.codecs_available:
        codec, options = "libx264", {"preset": preset, "crf": "20"}
    stream = cast(VideoStream, container.add_stream(codec, rate=fps, options=options))
    stream.height, stream.width = size
    stream.pix_fmt = "yuv420p"
    return stream


def redacted(url: str) -> str:
    """``url`` without its user and password, fit for a log."""
    return re.sub(r"(?<=://).*@", "***@", url)


def _check_file(path: Path) -> None:
    if not path.exists():
        msg = f"{path} does not exist"
    elif path.is_dir():
        msg = f"{path} is a folder; give a video file"
    elif not os.access(path, os.R_OK):
        msg = f"no permission to read {path}"
    elif path.is_file() and not path.stat().st_size:
        msg = f"{path} is empty"
    else:
        return
    raise InputFileError(msg)


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
