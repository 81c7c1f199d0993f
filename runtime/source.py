"""What a stream can be read from: files, folders and globs of them, FFmpeg's virtual device, cameras.

clip.mp4   clips/   'clips/*.avi'   list.txt     every window, one file after another
lavfi:testsrc=size=640x480:rate=30               a made source that plays in real time, like a camera
/dev/video0   --camera 0                         live
"""

from __future__ import annotations

import glob
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import av

from s2tf_edge.data.files import VIDEO_SUFFIXES, list_lines
from s2tf_edge.errors import InputFileError, SourceError, UsageError

__all__ = ["Source", "camera", "parse_source"]

_KINDS: Final = "a video file, a folder or glob of videos, a list.txt of them, /dev/videoN, lavfi:EXPR, or --camera N"
_CAMERA_FORMATS: Final = {"linux": "v4l2", "darwin": "avfoundation", "win32": "dshow"}


@dataclass(frozen=True, kw_only=True)
class Source:
    """One thing to read frames from."""

    name: str
    """As the user knows it; shown and logged."""
    url: str
    """What FFmpeg opens."""
    format: str | None = None
    """FFmpeg's input format; None lets it find out."""
    options: Mapping[str, str] = field(default_factory=dict)
    """FFmpeg's options for the format."""
    live: bool = False
    """Whether frames come in real time and are lost if nobody takes them."""
    paced: bool = False
    """Whether to wait until a frame's time has come, where the source itself would hand it out at once."""


def parse_source(text: str) -> list[Source]:
    """The sources that ``text`` stands for: one, or the files of a folder, glob or list in order of their names.

    A file is not opened: one that is missing fails when its turn comes.

    Raises:
        UsageError: ``text`` is of a kind that cannot be read.
        InputFileError: a folder, glob or list names no video.
    """
    if not text:
        msg = f"a source must not be empty; give {_KINDS}"
        raise UsageError(msg)
    if text.startswith("lavfi:"):
        expression = text.removeprefix("lavfi:")
        return [Source(name=text, url=expression, format="lavfi", live=True, paced=True)]
    if text == "-" or re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", text):
        # Only the scheme is repeated: an address may hold a password.
        msg = f"source {text.partition('://')[0]!r} cannot be read; give {_KINDS}"
        raise UsageError(msg)
    if device := re.fullmatch(r"/dev/video(\d+)", text):
        return [_device(text, int(device[1]))]
    return [Source(name=str(path), url=str(path)) for path in _files(text)]


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


def _files(text: str) -> list[Path]:
    path = Path(text)
    if path.is_dir():
        return _some((item for item in sorted(path.rglob("*")) if _is_video(item)), f"folder {text}")
    if path.suffix == ".txt" and path.is_file():
        return _listed(path)
    if glob.has_magic(text) and not path.exists():
        # Path.glob takes no absolute pattern.
        matches = (Path(match) for match in sorted(glob.glob(text, recursive=True)))  # noqa: PTH207
        return _some((match for match in matches if match.is_file()), f"glob {text}")
    return [path]


def _listed(path: Path) -> list[Path]:
    listed = [path.parent / line for _, line in list_lines(path)]
    if not any(item.is_file() for item in listed):
        msg = f"{path} is no list of videos: none of its lines names a file that exists"
        raise InputFileError(msg)
    return listed


def _is_video(path: Path) -> bool:
    return path.suffix.lower() in VIDEO_SUFFIXES and path.is_file()


def _some(paths: Iterable[Path], name: str) -> list[Path]:
    found = list(paths)
    if not found:
        msg = f"{name} holds no video; give {_KINDS}"
        raise InputFileError(msg)
    return found
