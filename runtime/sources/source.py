"""What a stream can be read from: files, addresses, cameras, FFmpeg's virtual device.

clip.mp4   clips/   'clips/*.avi'   list.txt     every window, one file after another
https://host/clip.mp4   -                        likewise: they can wait
rtsp://host/live   http://host/live.m3u8   …     live, and opened again when lost
/dev/video0   --camera 0                         likewise
lavfi:testsrc=size=640x480:rate=30               a made source that plays in real time, like a camera

FFmpeg's own options of a protocol follow an address behind a ``#``: ``rtsp://host/live#rtsp_transport=udp``.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Final
from urllib.parse import urlsplit
from urllib.request import url2pathname

import av
from av.format import ContainerFormat

from s2tf_edge.data.container import redacted
from s2tf_edge.data.files import list_files
from s2tf_edge.data.video_paths import VIDEO_SUFFIXES, is_folder
from s2tf_edge.errors import InputFileError, MissingExtraError, SourceError, UsageError

__all__ = ["OPEN_SECONDS", "READ_SECONDS", "Source", "camera", "parse_source"]

OPEN_SECONDS: Final = 10.0
"""Longest wait for a live source or an address to open."""
READ_SECONDS: Final = 5.0
"""Longest wait for each packet afterwards."""

_CAMERA_FORMATS: Final = {"linux": "v4l2", "darwin": "avfoundation", "win32": "dshow"}
_MICROSECONDS: Final = str(round(1e6 * READ_SECONDS))
_RTSP: Final = {
    # Packets that a network loses tear pictures apart; with TCP they are sent again.
    "rtsp_transport": "tcp",
    "timeout": _MICROSECONDS,
    # How much of a stream is looked at before its first frame; five seconds are FFmpeg's own choice.
    "analyzeduration": "1000000",
}
_TCP: Final = {"rw_timeout": _MICROSECONDS, "analyzeduration": "1000000"}
_UDP: Final = {"timeout": _MICROSECONDS, "overrun_nonfatal": "1", "analyzeduration": "1000000"}
_PROTOCOLS: Final[Mapping[str, Mapping[str, str]]] = {
    **dict.fromkeys(("rtsp", "rtsps"), _RTSP),
    **dict.fromkeys(("http", "https", "tcp", "rtmp", "rtmps"), _TCP),
    **dict.fromkeys(("udp", "rtp"), _UDP),
    "srt": {"analyzeduration": "1000000"},
}
"""FFmpeg's options for each protocol, by the scheme of its addresses."""
_ENDLESS_SUFFIXES: Final = (".ts", ".mts", ".m2ts", ".flv")
"""Files of these kinds have no end of their own, so that live streams are sent as them."""
_PLAYLIST_SUFFIXES: Final = (".m3u8", ".m3u", ".mpd")
_PLAYLIST_SECONDS: Final = 30.0
"""Longest wait for each packet of a playlist until it tells how long its segments are: three of ten seconds."""
_KINDS: Final = (
    "a video file, a folder or glob of videos, a list.txt of them, - for stdin, "
    f"{', '.join(f'{scheme}://' for scheme in _PROTOCOLS)}, /dev/videoN, lavfi:EXPR, or `camera(N)`"
)


@dataclass(frozen=True, kw_only=True)
class Source:
    """One thing to read frames from."""

    name: str
    """As the user knows it; shown and logged."""
    url: str = field(repr=False)
    """What FFmpeg opens; it may hold a password."""
    format: str | None = None
    """FFmpeg's input format; None lets it find out."""
    options: Mapping[str, str] = field(default_factory=dict, repr=False)
    """FFmpeg's options for the format."""
    live: bool = False
    """Whether frames come in real time and are lost if nobody takes them."""
    paced: bool = False
    """Whether to wait until a frame's time has come, where the source itself would hand it out at once."""
    ends: bool = False
    """Whether a live source may come to an end of its own, so that its end is no loss."""
    is_playlist: bool = False
    """Whether it is a playlist of segments, as of HLS, which come whole and at its own rhythm."""
    read_seconds: float = READ_SECONDS
    """Longest wait for each packet of a live source."""

    @property
    def is_remote(self) -> bool:
        """Whether it is read over a network."""
        return "://" in self.url and self.format is None

    @property
    def is_camera(self) -> bool:
        """Whether it is a camera of this machine."""
        return self.format in _CAMERA_FORMATS.values()


def parse_source(text: str) -> list[Source]:
    """The sources that ``text`` stands for: one, or the files of a folder, glob or list in order of their names.

    A file is not opened: one that is missing fails when its turn comes.

    Raises:
        UsageError: ``text`` is of a kind that cannot be read.
        MissingExtraError: it is one that FFmpeg was not built for.
        InputFileError: a folder, glob or list names no video.
    """
    if not text:
        msg = f"a source must not be empty; give {_KINDS}"
        raise UsageError(msg)
    if text.startswith("lavfi:"):
        expression = text.removeprefix("lavfi:")
        return [Source(name=text, url=expression, format="lavfi", live=True, paced=True, ends=True)]
    if text == "-":
        return [Source(name="stdin", url="pipe:0")]
    if text.startswith("file://"):
        text = url2pathname(urlsplit(text).path)
    if scheme := re.match(r"([A-Za-z][A-Za-z0-9+.-]*)://", text):
        return [_parse_address(text, scheme[1].lower())]
    if device := re.fullmatch(r"/dev/video(\d+)", text):
        return [_device(text, int(device[1]))]
    return [_file(path) for path in _find_files(text)]


def _file(path: Path) -> Source:
    _check_manifest(path.name)
    # FFmpeg would begin with the third segment from the end, where a playlist may still grow.
    options = {"live_start_index": "0"} if path.suffix.lower() in _PLAYLIST_SUFFIXES else {}
    return Source(name=str(path), url=str(path), options=options)


def _check_manifest(name: str) -> None:
    """Refuses DASH where FFmpeg was built without libxml2, which its demuxer needs."""
    if not name.lower().endswith(".mpd"):
        return
    try:
        ContainerFormat("dash", "r")
    except ValueError:
        msg = (
            "a DASH manifest (.mpd) cannot be read by the FFmpeg in PyAV's wheels; give the HLS address (.m3u8) of the "
            "same stream, or build PyAV with a system's FFmpeg that has libxml2: "
            "PIP_FORCE_REINSTALL=1 PIP_NO_BINARY=av pip install av"
        )
        raise MissingExtraError(msg) from None


def _parse_address(text: str, scheme: str) -> Source:
    if scheme not in _PROTOCOLS:
        # Only the scheme is repeated: an address may hold a password.
        msg = f"source {scheme}:// cannot be read; give {_KINDS}"
        raise UsageError(msg)
    url, options = _split_options(text)
    _check_manifest(urlsplit(url).path)
    suffix = PurePosixPath(urlsplit(url).path).suffix.lower()
    live = not scheme.startswith("http") or suffix not in VIDEO_SUFFIXES or suffix in _ENDLESS_SUFFIXES
    # A file goes on where it was when its connection breaks.
    resumed = {} if live else {"reconnect": "1", "reconnect_delay_max": "5"}
    is_playlist = scheme.startswith("http") and suffix in _PLAYLIST_SUFFIXES
    return Source(
        name=redacted(url),
        url=url,
        options={**_PROTOCOLS[scheme], **resumed, **options},
        live=live,
        is_playlist=is_playlist,
        read_seconds=_PLAYLIST_SECONDS if is_playlist else READ_SECONDS,
    )


def _split_options(text: str) -> tuple[str, dict[str, str]]:
    """The address, and FFmpeg's options behind its ``#``; a ``#`` within a password starts none."""
    match = re.fullmatch(r"(.+?)#(\w+=[^@#&]*(?:&\w+=[^@#&]*)*)", text)
    if not match:
        return text, {}
    return match[1], dict(pair.split("=", 1) for pair in match[2].split("&"))


def camera(index: int) -> Source:
    """The ``index``-th camera of this machine.

    Raises:
        UsageError: ``index`` is negative, or there is no way to open cameras on this platform.
        SourceError: there is no such camera, where they are opened by name.
    """
    if index < 0:
        msg = f"camera must be zero or more, got {index}"
        raise UsageError(msg)
    return _device(f"camera {index}", index)


def _device(name: str, index: int) -> Source:
    kind = _CAMERA_FORMATS.get(sys.platform)
    if kind is None:
        msg = f"{name} cannot be opened: cameras work on {', '.join(_CAMERA_FORMATS)}, not on {sys.platform}"
        raise UsageError(msg)
    if kind == "v4l2":
        return Source(name=name, url=f"/dev/video{index}", format=kind, live=True)
    if kind == "avfoundation":
        # It has no default frame rate that every camera accepts.
        return Source(name=name, url=str(index), format=kind, options={"framerate": "30"}, live=True)
    return Source(name=name, url=f"video={_dshow_name(index)}", format=kind, live=True)


def _dshow_name(index: int) -> str:
    """The name of the ``index``-th camera of Windows, which opens cameras by name only."""
    devices = [device for device in av.enumerate_input_devices("dshow") if "video" in device.media_types]
    if index >= len(devices):
        names = ", ".join(device.description for device in devices) or "none"
        msg = f"camera {index} is not there; cameras found: {names}"
        raise SourceError(msg)
    return devices[index].description


def _find_files(text: str) -> list[Path]:
    path, found = Path(text), list_files(text)
    if found == [path]:
        return found
    if not found:
        kind = "folder" if is_folder(path) else "list" if path.is_file() else "glob"
        msg = f"{kind} {text} holds no video; give {_KINDS}"
        raise InputFileError(msg)
    if path.is_file() and not any(item.is_file() for item in found):
        msg = f"{path} is no list of videos: none of its lines names a file that exists"
        raise InputFileError(msg)
    return found
