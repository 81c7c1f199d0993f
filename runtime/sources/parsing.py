"""What a stream can be read from: files, addresses, cameras, FFmpeg's virtual device.

clip.mp4   clips/   'clips/*.avi'   list.txt     every window, one file after another
shots/   shots/%04d.png                          numbered pictures, likewise
https://host/clip.mp4   -                        likewise: they can wait
rtsp://host/live   http://host/live.m3u8   …     live, and opened again when lost
/dev/video0   0                                  likewise
lavfi:testsrc=size=640x480:rate=30               a made source that plays in real time, like a camera

FFmpeg's own options follow behind a ``#``: ``rtsp://host/live#rtsp_transport=udp``. One of them is ours: ``format``
names the input format where FFmpeg cannot guess it, as of ``x.raw#format=h264``.
"""

from __future__ import annotations

import glob
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Final
from urllib.parse import urlsplit
from urllib.request import url2pathname

import av
from av.format import ContainerFormat, Flags

from s2tf_edge.data.container import redacted
from s2tf_edge.data.files import list_files
from s2tf_edge.data.video_paths import VIDEO_SUFFIXES, is_folder
from s2tf_edge.errors import InputFileError, MissingExtraError, UsageError
from s2tf_edge.file_kinds import VIDEOS, check_kind
from s2tf_edge.runtime.sources.cameras import camera
from s2tf_edge.runtime.sources.picture_files import PictureFiles, find_folder, find_pattern, group, is_picture
from s2tf_edge.runtime.sources.source import READ_SECONDS, Source

__all__ = ["file_source", "names_path", "names_source", "parse_source"]

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
    "a video file, a folder or glob of videos or of numbered pictures, a list.txt of them, - for stdin, "
    f"{', '.join(f'{scheme}://' for scheme in _PROTOCOLS)}, /dev/videoN, lavfi:EXPR, or `camera(N)`"
)
_OWN_FILE: Final[int] = Flags.no_file.value  # type: ignore[assignment]  # the stub gives the flag itself
"""Of formats that open what they read themselves: devices, and a filter graph would be run."""


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
    plain, options = _split_options(text)
    if not options and os.path.isfile(plain):  # noqa: PTH113  # as in _is_there
        check_kind(plain, VIDEOS)
    return [_add_options(source, options) for source in _parse_plain(plain)]


def names_source(text: str) -> bool:
    """Whether ``text`` is more than a name of nothing: whatever ``parse_source`` takes, missing videos included."""
    plain, _ = _split_options(text)
    path = Path(plain)
    is_file = path.suffix.lower() in (*VIDEO_SUFFIXES, ".txt") or is_picture(path)
    return not names_path(text) or is_file or glob.has_magic(plain) or _is_there(plain)


def names_path(text: str) -> bool:
    """Whether ``text`` is a path of files, a glob or pattern included, and no address, device or stdin."""
    plain, _ = _split_options(text)
    is_special = plain == "-" or "://" in plain or plain.startswith(("lavfi:", "/dev/")) or _is_number(plain)
    return not is_special


def _parse_plain(text: str) -> list[Source]:
    if text == "-":
        return [_stdin()]
    if text.startswith("file://"):
        return _parse_files(url2pathname(urlsplit(text).path))
    if scheme := re.match(r"([A-Za-z][A-Za-z0-9+.-]*)://", text):
        return [_parse_address(text, scheme[1].lower())]
    if video := re.fullmatch(r"/dev/video(\d+)", text):
        return [camera(int(video[1]), name=text)]
    if _is_number(text) and not _is_there(text):
        return [camera(int(text))]
    return _parse_files(text)


def _is_number(text: str) -> bool:
    return re.fullmatch("[0-9]{1,4}", text) is not None


def _is_there(text: str) -> bool:
    # Path.exists raises where a name is too long for a file, as an address may be.
    return os.path.exists(text)  # noqa: PTH110


def _stdin() -> Source:
    """Where it is a file, FFmpeg may go back in it, as to the frames of an MP4 whose index lies at its end."""
    try:
        is_file = stat.S_ISREG(os.fstat(0).st_mode)
    except OSError:
        is_file = False
    return Source(name="stdin", url="fd:", options={"fd": "0"}) if is_file else Source(name="stdin", url="pipe:0")


def _parse_files(text: str) -> list[Source]:
    pattern = find_pattern(text)
    if pattern is not None:
        if not pattern.paths:
            msg = f"pattern {text} holds no video, nor numbered pictures; give {_KINDS}"
            raise InputFileError(msg)
        return [_read_pictures(pattern)]
    # Beside videos, pictures are their covers: they count only where there is no video.
    if is_folder(Path(text)) and not list_files(text) and (found := find_folder(Path(text))):
        return [_read_pictures(pictures) for pictures in found]
    paths = _find_files(text)
    if len(paths) > 1 and all(is_picture(path) for path in paths):
        sequences = group(paths)
        # As of a glob. Pictures without numbers stay what they are: videos of one frame.
        if sum(len(pictures.paths) for pictures in sequences) == len(paths):
            return [_read_pictures(pictures) for pictures in sequences]
    return [file_source(path) for path in paths]


def _read_pictures(pictures: PictureFiles) -> Source:
    name = pictures.name
    return Source(name=name, url=name, pictures=pictures.paths, picture_numbers=pictures.numbers)


def file_source(path: Path) -> Source:
    """The file of that name, whatever else the name could stand for; it is not opened.

    Raises:
        MissingExtraError: it is one that FFmpeg was not built for.
    """
    _check_manifest(path.name)
    # FFmpeg would begin with the third segment from the end, where a playlist may still grow.
    options = {"live_start_index": "0"} if path.suffix.lower() in _PLAYLIST_SUFFIXES else {}
    # A file named fd:… or pipe:… is not to be taken for stdin.
    return Source(name=str(path), url=os.path.join(os.curdir, path), options=options)  # noqa: PTH118


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
    _check_manifest(urlsplit(text).path)
    suffix = PurePosixPath(urlsplit(text).path).suffix.lower()
    live = not scheme.startswith("http") or suffix not in VIDEO_SUFFIXES or suffix in _ENDLESS_SUFFIXES
    # A file goes on where it was when its connection breaks.
    resumed = {} if live else {"reconnect": "1", "reconnect_delay_max": "5"}
    is_playlist = scheme.startswith("http") and suffix in _PLAYLIST_SUFFIXES
    return Source(
        name=redacted(text),
        url=text,
        options={**_PROTOCOLS[scheme], **resumed},
        live=live,
        is_playlist=is_playlist,
        read_seconds=_PLAYLIST_SECONDS if is_playlist else READ_SECONDS,
    )


def _split_options(text: str) -> tuple[str, dict[str, str]]:
    """What is read, and FFmpeg's options behind its ``#``; one within a password or a file's own name starts none."""
    match = re.fullmatch(r"(.+?)#(\w+=[^@#&]*(?:&\w+=[^@#&]*)*)", text)
    if not match or _is_there(text):
        return text, {}
    return match[1], dict(pair.split("=", 1) for pair in match[2].split("&"))


def _add_options(source: Source, options: Mapping[str, str]) -> Source:
    if options and source.pictures:
        msg = f"{source.name} stands for pictures, which take no options; leave out #{next(iter(options))}=…"
        raise UsageError(msg)
    others = {name: value for name, value in options.items() if name != "format"}
    format = options.get("format", source.format)
    if format != source.format and (source.is_device or not _is_file_format(format or "")):
        msg = f"{source.name} cannot be read as {format!r}; give one of FFmpeg's formats of files, as in #format=h264"
        raise UsageError(msg)
    return replace(source, format=format, options={**source.options, **others})


def _is_file_format(name: str) -> bool:
    """Whether FFmpeg reads files as this, and needs nothing but the file for it."""
    try:
        format = av.ContainerFormat(name, "r")
    except ValueError:
        return False
    return format.is_input and not format.flags & _OWN_FILE


def _find_files(text: str) -> list[Path]:
    path, found = Path(text), list_files(text)
    if found == [path]:
        return found
    if not found:
        check_kind(path, VIDEOS)
        kind = "folder" if is_folder(path) else "list" if path.is_file() else "glob"
        msg = f"{kind} {text} holds no video, nor numbered pictures; give {_KINDS}"
        raise InputFileError(msg)
    # As in _is_there: a line of a list may be anything.
    if path.is_file() and not any(os.path.isfile(item) for item in found):  # noqa: PTH113
        msg = f"{path} is no list of videos: none of its lines names a file that exists"
        raise InputFileError(msg)
    return found
