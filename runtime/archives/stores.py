"""Object stores and other places that fsspec reads: ``s3://``, ``gs://``, ``https://``, ``memory://`` and more.

Nothing that comes from here, an error least of all, has a password or the signature of an address in it.
"""

from __future__ import annotations

import io
import re
import tempfile
from collections.abc import Iterator
from contextlib import closing
from typing import Any, BinaryIO, Final, cast

from s2tf_edge.data.container import redacted
from s2tf_edge.data.video_paths import is_video_name
from s2tf_edge.errors import InputFileError, MissingExtraError
from s2tf_edge.extras import require
from s2tf_edge.runtime.archives.entries import Found, shown_name
from s2tf_edge.words import one_line

__all__ = ["StoreFile", "check_store", "find_in_store", "open_in_store"]

_MAGIC: Final = re.compile(r"[*?\[]")
_HTTP: Final = ("http", "https")
_STREAMS: Final = ("rtsp", "rtsps", "rtmp", "rtmps", "tcp", "udp", "rtp", "srt")
_COPY_BYTES: Final = 2**20
_MAX_COPY_BYTES: Final = 4 * 2**30
"""Of a file on a server that does not give parts of it: it is copied first."""
_TRIED: Final = "check the address, and that it may be read"


class StoreFile(io.RawIOBase):
    """A file of a store, whose failures are OSErrors without addresses, and are remembered.

    FFmpeg takes an error for the end of a file: whoever has read one asks for ``failure`` afterwards.
    """

    def __init__(self, file: BinaryIO, *, files: object = None) -> None:
        super().__init__()
        self._file = file
        # An archive such as a .zip is closed with the last that refers to it.
        self._files = files
        self.failure: str | None = None
        """Why a read failed, if one did."""

    def read(self, size: int = -1) -> bytes:
        """The next bytes."""
        try:
            return self._file.read(size)
        except Exception as error:
            raise self._fail(error) from None

    def readinto(self, buffer: Any) -> int:
        """The next bytes, into memory that is there."""
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        """Goes to a place."""
        try:
            return self._file.seek(offset, whence)
        except Exception as error:
            raise self._fail(error) from None

    def tell(self) -> int:
        """Where it is."""
        return self._file.tell()

    def close(self) -> None:
        """Closes it; closing twice is allowed."""
        if not self.closed:
            self._file.close()
        super().close()

    def _fail(self, error: Exception) -> OSError:
        self.failure = self.failure or _reason(error)
        return OSError(self.failure)


def check_store(address: str) -> None:
    """Sees that what reads an address is installed.

    Raises:
        InputFileError: nothing reads addresses of that kind, or it is a stream, which has no end.
        MissingExtraError: it is not installed.
    """
    _file_system(address)


def find_in_store(address: str) -> Iterator[Found]:
    """The videos of a folder or glob of a store, in order of their names, or the one file of that address.

    Raises:
        InputFileError: the store cannot be read, or there is no video.
        MissingExtraError: what reads it is not installed.
    """
    files, path = _file_system(address)
    head = address.partition("::")[0]
    is_web = head.partition(":")[0].lower() in _HTTP
    try:
        if _MAGIC.search(head.partition("?")[0] if is_web else head):
            yield from _glob(files, address)
        elif head.endswith("/") or not (is_web or is_video_name(path) or not files.isdir(path)):
            yield from _walk(files, address)
        else:
            yield Found(address=address, name=shown_name(address))
    except (InputFileError, GeneratorExit):
        raise
    except Exception as error:
        msg = f"cannot list {redacted(address)} ({_reason(error)}); {_TRIED}"
        raise InputFileError(msg) from None


def open_in_store(address: str) -> StoreFile:
    """Opens a file of a store for reading anywhere in it; of a server that gives no parts, a copy of it.

    Raises:
        InputFileError: nothing reads addresses of that kind.
        MissingExtraError: what reads it is not installed.
        OSError: it cannot be opened.
    """
    files, path = _file_system(address)
    try:
        # Servers that do not say so fail in the middle of a file, where the index of an MP4 may lie.
        takes_parts = "http" not in _protocols(files) or files.info(path).get("partial") is True
        opened = files.open(path, "rb")
        if takes_parts and opened.seekable():
            return StoreFile(opened, files=files)
        with closing(opened):
            return StoreFile(_copy(opened))
    except Exception as error:
        # A missing file stays one: it is no use to ask for it again.
        kind = FileNotFoundError if isinstance(error, FileNotFoundError) else OSError
        raise kind(_reason(error)) from None


def _file_system(address: str) -> tuple[Any, str]:
    """What reads an address, and its path there."""
    scheme = re.split("::|:", address, maxsplit=1)[0].lower()
    if scheme in _STREAMS:
        msg = f"{scheme}:// is a stream, which has no end; s2tf-stream reads it"
        raise InputFileError(msg)
    fsspec = require("fsspec", extra="batch", purpose=f"reading {scheme}://")
    try:
        files, path = fsspec.core.url_to_fs(address)
    except ImportError as error:
        # fsspec's own words say which package to install.
        msg = f"reading {scheme}:// needs another package: {one_line(error)}"
        raise MissingExtraError(msg) from error
    except Exception as error:
        msg = f"{redacted(address)} cannot be read ({_reason(error)}); give a path, or s3://, gs://, https:// and alike"
        raise InputFileError(msg) from None
    return files, str(path)


def _protocols(files: Any) -> tuple[str, ...]:
    return (files.protocol,) if isinstance(files.protocol, str) else tuple(files.protocol)


def _glob(files: Any, address: str) -> Iterator[Found]:
    head, chained, rest = address.partition("::")
    pattern = files._strip_protocol(head)
    found = files.glob(pattern, detail=True)
    below = _MAGIC.split(pattern)[0].rpartition("/")[0]
    base = _MAGIC.split(head)[0].rpartition("/")[0]
    matches = [(path, info) for path, info in sorted(found.items()) if info.get("type") == "file"]
    if not _is_file_pattern(pattern):
        matches = [(path, info) for path, info in matches if is_video_name(path)]
    for path, info in matches:
        yield _child(base, below, path, info, f"{chained}{rest}")


def _is_file_pattern(pattern: str) -> bool:
    """Whether the pattern itself says which files it means, as ``*.h264`` does."""
    return re.search(r"\.\w+$", pattern) is not None


def _walk(files: Any, address: str) -> Iterator[Found]:
    """The videos below a folder; of each folder all names are held, of the whole tree those of the way down."""
    head, chained, rest = address.partition("::")
    # Of ``memory://`` itself two slashes stay, with the one that is put before a path.
    base = re.sub("(?<!:)/+$|(?<=:/)/+$", "", head)
    root = str(files._strip_protocol(head)).rstrip("/")
    waiting = [root]
    seen = set()
    while waiting:
        folder = waiting.pop()
        if folder in seen:
            continue
        seen.add(folder)
        listed = files.ls(f"{folder}/" if "http" in _protocols(files) else folder, detail=True)
        files.invalidate_cache(folder)
        folders = []
        for info in sorted(listed, key=lambda info: str(info["name"])):
            path = str(info["name"]).rstrip("/")
            # A page on the web links to anywhere.
            if not path.startswith(f"{root}/" if root else ""):
                continue
            if info.get("type") == "directory" or str(info["name"]).endswith("/"):
                folders.append(path)
            elif is_video_name(path):
                yield _child(base, root, path, info, f"{chained}{rest}")
        waiting += reversed(folders)


def _child(base: str, below: str, path: str, info: Any, rest: str) -> Found:
    """What lies in a folder under a path, by the address of that folder: a path may lack its host and password."""
    address = f"{base}/{path[len(below) :].lstrip('/')}{rest}"
    size = info.get("size")
    return Found(address=address, name=shown_name(address), size=size if isinstance(size, int) else None)


def _copy(file: BinaryIO) -> BinaryIO:
    copy = cast(BinaryIO, tempfile.TemporaryFile())  # noqa: SIM115  # closed with what reads it
    try:
        while data := file.read(_COPY_BYTES):
            copy.write(data)
            if copy.tell() > _MAX_COPY_BYTES:
                msg = f"its server gives no parts of files, and it is larger than the {_MAX_COPY_BYTES} bytes copied"
                raise OSError(msg)
        copy.seek(0)
    except BaseException:
        copy.close()
        raise
    return copy


def _reason(error: Exception) -> str:
    """What went wrong, without addresses, which libraries quote with all that is in them."""
    words = one_line(getattr(error, "strerror", None) or getattr(error, "message", None) or error)
    if isinstance(error, FileNotFoundError):
        return "it is not there"
    status = getattr(error, "status", None)
    if isinstance(status, int):
        words = f"{status} {words}"
    # Words with a colon and two slashes are addresses, and so may be those that quote a path and its query.
    clean = " ".join(word for word in words.split() if not re.search(r"://|[?&]\w+=|@", word))
    return f"{type(error).__name__}: {clean}" if clean else type(error).__name__
