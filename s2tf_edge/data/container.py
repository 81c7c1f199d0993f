"""Opening videos, cameras and streams with FFmpeg (PyAV), its errors turned into this package's; encoding videos."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO, Final, cast

import av
from av.codec.hwaccel import HWAccel
from av.container import InputContainer, OutputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from s2tf_edge.data.frames import has_times
from s2tf_edge.errors import InputFileError, S2TFError, SourceError

__all__ = [
    "DEVICE_FORMATS",
    "add_video_stream",
    "open_container",
    "reason",
    "redacted",
    "rewind",
    "seek",
    "video_stream",
]

DEVICE_FORMATS: Final = frozenset({"avfoundation", "dshow", "lavfi", "v4l2"})
"""FFmpeg's input formats that are no files': what is opened in them is a device or an expression."""
_NOTHING_ELSE: Final = {"protocol_whitelist": "crypto,data"}
"""Bytes from anywhere may be a playlist, which names files of this machine or addresses that only it reaches."""
_SECRET: Final = re.compile(
    r"([/?&;#][^=&;/?#]*(?:pas|pwd|psw|token|secret|key|auth|sig|use|usr|cred)[^=&;/?#]*=)[^&;#]*", re.IGNORECASE
)


def open_container(
    path_or_url: str | Path,
    *,
    format: str | None = None,
    options: Mapping[str, str] | None = None,
    timeout_seconds: float | tuple[float, float] | None = None,
    hwaccel: HWAccel | None = None,
    file: BinaryIO | None = None,
) -> InputContainer:
    """Opens what holds a video; close it, or use it in a with statement.

    Args:
        path_or_url: a file, which a ``Path`` always is, or what FFmpeg opens: a URL, a device, ``pipe:0`` or ``fd:``,
            both of which are stdin, an expression for ``lavfi``.
        format: FFmpeg's input format, needed for devices (``v4l2``) and ``lavfi``; None to recognize it.
        options: FFmpeg's options for the format.
        timeout_seconds: longest wait for opening, and for each read afterwards: one for both, or one each; None waits
            for ever.
        hwaccel: what decodes in place of the processor; its frames arrive in main memory.
        file: gives the bytes of what ``path_or_url`` names, open for reading; whoever opened it closes it.

    Raises:
        InputFileError: a file that is missing, not readable, empty or not a video, or has no video stream; or stdin
            that brings none.
        SourceError: a device or URL that cannot be opened or has no video stream.
    """
    name = str(path_or_url)
    is_pipe = file is None and not isinstance(path_or_url, Path) and name.startswith(("pipe:", "fd:"))
    is_named = is_pipe or name.startswith("/dev/") or "://" in name
    on_disk = file is None and format not in DEVICE_FORMATS and (isinstance(path_or_url, Path) or not is_named)
    if on_disk:
        _check_file(Path(name))
    try:
        # The prefix keeps FFmpeg from taking a colon in a file's name for a protocol.
        container = av.open(
            (f"file:{name}" if on_disk else name) if file is None else file,
            mode="r",
            format=format,
            options=dict(options or {}) | ({} if file is None else _NOTHING_ELSE),
            timeout=timeout_seconds,
            hwaccel=hwaccel,
            # HMDB51's AVIs have metadata that is not UTF-8, on which PyAV raises otherwise.
            metadata_errors="replace",
        )
    except (av.FFmpegError, OSError, ValueError) as error:
        if on_disk or is_pipe or file is not None:
            shown = "stdin" if is_pipe else redacted(name)
            msg = f"{shown} is not a video that FFmpeg can read ({reason(error)}); give a video such as an .mp4 or .avi"
            raise InputFileError(msg) from error
        msg = f"cannot open {redacted(name)} ({reason(error)}); check the address, and that the device is on"
        # PyAV's error quotes the URL with its password, which a traceback in the log would show.
        raise SourceError(msg) from None
    try:
        video_stream(container)
    except InputFileError as error:
        container.close()
        kind: type[S2TFError] = SourceError if file is None and not (on_disk or is_pipe) else InputFileError
        msg = f"{redacted(name)} {error}"
        raise kind(msg) from None
    if on_disk and _is_animated_webp(container, Path(name)):
        container.close()
        msg = f"{name} is an animated WebP, which this FFmpeg cannot decode; convert it: magick {name} {name}.gif"
        raise InputFileError(msg)
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


def seek(container: InputContainer, stream: VideoStream, seconds: float) -> bool:
    """Goes to the last key frame at or before ``seconds``; false where that is the beginning, or cannot be found."""
    if (
        not has_times(stream)
        or stream.start_time is None
        or stream.time_base is None
        or seconds <= stream.start_time * stream.time_base
    ):
        return False
    try:
        container.seek(int(seconds / stream.time_base), stream=stream)
    except av.FFmpegError:
        return False
    return True


def rewind(container: InputContainer, stream: VideoStream) -> None:
    """Goes back to the first frame, after a seek."""
    start = stream.start_time or 0
    try:
        # A transport stream has no index: a seek to its very first frame may land behind it.
        container.seek(start - (int(1 / stream.time_base) if stream.time_base else 0), stream=stream)
    except av.FFmpegError:
        container.seek(start, stream=stream)


def redacted(url: str) -> str:
    """``url`` without its user, password, and values of its query that may be secret: fit for a log."""
    return _SECRET.sub(r"\1***", re.sub(r"(?<=://).*@", "***@", url)) if "://" in url else url


def _is_animated_webp(container: InputContainer, path: Path) -> bool:
    """Whether it is one that FFmpeg reads as a single picture: its frames lie in chunks that are passed over."""
    if container.format.name not in {"webp_pipe", "image2"}:
        return False
    with path.open("rb") as file:
        head = file.read(21)
    return head[:4] == b"RIFF" and head[8:16] == b"WEBPVP8X" and len(head) == 21 and bool(head[20] & 2)


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


def reason(error: Exception) -> str:
    """What went wrong, without the address that PyAV's errors quote: it may hold a password."""
    if isinstance(error, av.ExitError):
        # How FFmpeg puts it that PyAV's timeout interrupted it.
        return "it did not answer in time"
    return getattr(error, "strerror", None) or (type(error).__name__ if "://" in str(error) else str(error))
