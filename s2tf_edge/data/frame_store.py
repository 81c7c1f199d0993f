"""Scaled frames kept in files, which several processes and runs may share: in memory, or in a folder of the user's.

A file is written aside and renamed, so that what has the name is whole; one of another size than it says is taken for
none. Its name tells what it was made from, so that a video that has changed is not found.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import logging
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import av
import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

__all__ = ["FrameStore", "StoredFrames", "free_memory"]

logger = logging.getLogger(__name__)

_FORMAT: Final = 1
_MEMINFO: Final = Path("/proc/meminfo")
_CGROUP: Final = Path("/sys/fs/cgroup")
_KEPT_FREE_SHARE: Final = 0.2
"""Of the memory or disk, which others need as well."""
_MAX_VIDEO_BYTES: Final = 2**30


@dataclass(frozen=True, kw_only=True)
class StoredFrames:
    """All frames of a video, or those of a clip."""

    times: NDArray[np.float64]
    """Seconds: the first and last presentation time that packets have, then one for each frame."""
    images: NDArray[np.uint8]
    """[N, h, w, 3], mapped from the file."""


class FrameStore:
    """Frames by what they were made from.

    Args:
        folder: where the files lie; made if missing.
        in_memory: whether the folder is one, which then counts as memory.
    """

    def __init__(self, folder: Path, *, in_memory: bool = False) -> None:
        self.folder = folder
        self._in_memory = in_memory
        self._is_full = False

    def key(self, path: Path, *what: object) -> str | None:
        """A name for what is made from a file; None for a file that cannot be read."""
        try:
            found = path.stat()
        except OSError:
            return None
        # Another FFmpeg may scale otherwise.
        parts = (_FORMAT, av.__version__, path.resolve(), found.st_mtime_ns, found.st_size, *what)
        return hashlib.sha256("\0".join(map(str, parts)).encode(errors="surrogateescape")).hexdigest()

    def load(self, key: str) -> StoredFrames | None:
        """What was saved; None where nothing was, or what lies there is not whole."""
        path = self._path(key)
        try:
            with path.open("rb") as file:
                times = np.load(file, allow_pickle=False)
                npy.read_magic(file)
                shape, _, dtype = npy.read_array_header_1_0(file)
                offset = file.tell()
                is_whole = dtype == np.uint8 and offset + int(np.prod(shape)) == os.fstat(file.fileno()).st_size
            if not is_whole or len(shape) != 4 or times.shape != (len(times),) or len(times) != shape[0] + 2:
                return None
            return StoredFrames(times=times, images=np.memmap(path, np.uint8, mode="r", offset=offset, shape=shape))
        except (OSError, ValueError, EOFError):
            return None

    def save(self, key: str, *, times: NDArray[np.float64], images: Sequence[NDArray[np.uint8]]) -> None:
        """Keeps frames, unless there is no room.

        Args:
            key: of ``key``.
            times: as in ``StoredFrames``.
            images: each uint8 [h, w, 3], all of one size.
        """
        if not self.has_room(sum(image.nbytes for image in images)):
            return
        # By process: two may make the same at once.
        part = self.folder / f"{key}.{os.getpid()}.part"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with part.open("wb") as file:
                np.save(file, times)
                shape = (len(images), *images[0].shape)
                npy.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
                for image in images:
                    file.write(np.ascontiguousarray(image).data)
            part.replace(self._path(key))
        except OSError as error:
            self._close(error)
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)

    def has_room(self, size: int) -> bool:
        """Whether so many bytes are to be kept; no more is, once there was no room."""
        if self._is_full or size > _MAX_VIDEO_BYTES:
            return False
        self._is_full = size > self.room()
        return not self._is_full

    def room(self) -> int:
        """Bytes that may still be kept: a share of memory or disk is left to others."""
        folder = next(each for each in (self.folder, *self.folder.absolute().parents) if each.exists())
        disk = shutil.disk_usage(folder)
        room = disk.free if self._in_memory else disk.free - int(_KEPT_FREE_SHARE / 4 * disk.total)
        if self._in_memory:
            free, total = free_memory()
            room = min(room, free - int(_KEPT_FREE_SHARE * total))
        return max(0, room)

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.frames"

    def _close(self, error: OSError) -> None:
        self._is_full = True
        why = "the disk is full" if error.errno == errno.ENOSPC else error.strerror or str(error)
        logger.warning("the cache %s keeps no more frames (%s); other videos are decoded each time", self.folder, why)


def free_memory() -> tuple[int, int]:
    """Bytes of memory that may be used, and of all there are, on this machine or in this container."""
    free, total = _machine_memory()
    with contextlib.suppress(OSError, ValueError):
        # "max" where there is no limit.
        limit = int((_CGROUP / "memory.max").read_text(encoding="ascii"))
        used = int((_CGROUP / "memory.current").read_text(encoding="ascii"))
        return max(0, min(free, limit - used)), min(total, limit)
    return free, total


def _machine_memory() -> tuple[int, int]:
    try:
        lines = dict(line.split(":", 1) for line in _MEMINFO.read_text(encoding="ascii").splitlines())
        return tuple(1024 * int(lines[name].split()[0]) for name in ("MemAvailable", "MemTotal"))  # type: ignore[return-value]
    except (OSError, KeyError, ValueError):
        page = os.sysconf("SC_PAGE_SIZE")
        total = page * os.sysconf("SC_PHYS_PAGES")
        return total // 2, total
