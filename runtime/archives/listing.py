"""From SOURCES to videos, one after another: folders, globs, lists, single files, and all of these in stores."""

from __future__ import annotations

import io
import itertools
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import BinaryIO, Final, cast
from urllib.parse import urlsplit
from urllib.request import url2pathname

from s2tf_edge.data.list_file import LIST_SUFFIXES, split_line
from s2tf_edge.data.video_paths import VIDEO_SUFFIXES, is_folder, is_glob, is_video_name, match_videos, walk_videos
from s2tf_edge.errors import InputFileError, UsageError
from s2tf_edge.file_kinds import VIDEOS, check_kind
from s2tf_edge.runtime.archives.entries import Found, is_url, shown_name
from s2tf_edge.runtime.archives.stores import check_store, find_in_store, open_in_store

__all__ = ["find_entries"]

_MAX_LINE_BYTES: Final = 2**16
_LINES_LOOKED_AT: Final = 1000
"""Of a list, before it is said to be none."""
_URL_LINE: Final = re.compile(
    rf"(?P<url>\S+?(?:{'|'.join(map(re.escape, VIDEO_SUFFIXES))})(?:[?#][^\s,]*)?)(?:[\s,].*)?",
    re.IGNORECASE | re.DOTALL,
)
"""An address, and perhaps a label; a query may stand behind its ending."""
_KINDS: Final = (
    "a video, a folder or glob of videos, a list.txt of them, or an address of these such as s3://bucket/videos/"
)


def find_entries(texts: Iterable[str]) -> Iterator[Found]:
    """The videos that SOURCES stand for, in their order; those of a folder or glob in order of their names.

    What a list names is given whether it is there or not, as often as it is named, and nothing is opened.

    Raises:
        UsageError: one of them is a camera or a stream, which has no end.
        InputFileError: a folder, list or store cannot be read, or holds no video.
        MissingExtraError: what reads a store is not installed.
    """
    for text in texts:
        found = _find(text)
        first = next(found, None)
        if first is None:
            if not is_url(text):
                check_kind(Path(text), VIDEOS)
            msg = f"{shown_name(text)} holds no video; give {_KINDS}"
            raise InputFileError(msg)
        yield first
        yield from found


def _find(text: str) -> Iterator[Found]:
    if text.lower().startswith("file://"):
        text = url2pathname(urlsplit(text).path)
    is_number = re.fullmatch("[0-9]{1,4}", text) is not None and not Path(text).exists()
    is_device = text.startswith("/dev/") and not (is_folder(Path(text)) or Path(text).is_file())
    if not text or text == "-" or text.startswith("lavfi:") or is_device or is_number:
        msg = f"{text or 'nothing'!r} is no file that ends; give {_KINDS}, or read it with s2tf-stream"
        raise UsageError(msg)
    if is_url(text) and not os.path.lexists(text):
        return _find_by_url(text)
    path = Path(text)
    if is_folder(path):
        return map(_local, walk_videos(path))
    if path.suffix.lower() in LIST_SUFFIXES and path.is_file():
        return _read_list(text)
    if is_glob(text):
        return map(_local, match_videos(text))
    if not path.exists():
        msg = f"{text} does not exist; give {_KINDS}"
        raise InputFileError(msg)
    check_kind(path, VIDEOS)
    return iter([_local(path)])


def _find_by_url(text: str) -> Iterator[Found]:
    if text.partition("::")[0].partition("?")[0].lower().endswith(LIST_SUFFIXES):
        check_store(text)
        return _read_list(text)
    return find_in_store(text)


def _local(path: Path, name: str | None = None) -> Found:
    """A path that means the same in whatever folder the run goes on."""
    absolute = os.path.abspath(path)  # noqa: PTH100  # links stay as they are
    try:
        size = os.stat(absolute).st_size  # noqa: PTH116  # of a million it is a second less
    except (OSError, ValueError):
        size = None
    return Found(address=absolute, name=name or str(path), size=size)


def _read_list(text: str) -> Iterator[Found]:
    """The videos of a list, line by line; those before the first that looks like one are held back."""
    lines = _lines(text)
    head: list[str] = []
    for line in itertools.islice(lines, _LINES_LOOKED_AT):
        head.append(line)
        if is_url(line) or is_video_name(split_line(line)[0]):
            break
    else:
        msg = f"{shown_name(text)} is no list of videos: none of its lines names one ({' '.join(VIDEO_SUFFIXES)})"
        raise InputFileError(msg)
    schemes: set[str] = set()
    for line in itertools.chain(head, lines):
        name, _ = split_line(line)
        if is_url(line):
            match = _URL_LINE.fullmatch(line)
            name = line if match is None else match["url"]
            # That nothing is installed for it is said before a million others are read.
            if (scheme := name.partition(":")[0]) not in schemes:
                _check_scheme(name)
                schemes.add(scheme)
            yield Found(address=name, name=shown_name(name))
        elif is_url(text):
            inner, chained, outer = text.partition("::")
            address = f"{inner.partition('?')[0].rpartition('/')[0]}/{name}{chained}{outer}"
            yield Found(address=address, name=shown_name(address))
        else:
            yield _local(Path(text).parent / name)


def _check_scheme(address: str) -> None:
    """Sees that what reads it is installed; what nothing can read is a bad video, and no end."""
    try:
        check_store(address)
    except InputFileError:
        return


def _lines(text: str) -> Iterator[str]:
    """The lines of a list that say something; bytes that are no text are those of a file's name."""
    try:
        with closing(_open(text)) as file:
            for number in itertools.count(1):
                line = file.readline(_MAX_LINE_BYTES)
                if not line:
                    return
                if len(line) >= _MAX_LINE_BYTES or b"\0" in line:
                    msg = f"{shown_name(text)}, line {number}: no name of a video; give a list in UTF-8, a video a line"
                    raise InputFileError(msg)
                said = line.removeprefix(b"\xef\xbb\xbf" if number == 1 else b"").strip()
                if said and not said.startswith(b"#"):
                    yield os.fsdecode(said)
    except OSError as error:
        msg = f"cannot read {shown_name(text)}: {error.strerror or error}"
        raise InputFileError(msg) from None


def _open(text: str) -> BinaryIO:
    return cast(BinaryIO, io.BufferedReader(open_in_store(text))) if is_url(text) else Path(text).open("rb")
