"""A folder of files in memory, which is gone with the processes that use it, however they end."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from pathlib import Path
from typing import IO, Final

from s2tf_edge.data.frame_store import free_memory

__all__ = ["MemoryFolder"]

_SHARED_MEMORY: Final = Path("/dev/shm")
_PREFIX: Final = "s2tf-frames-"
_LOCK_FILE: Final = "lock"


class MemoryFolder:
    """Makes a folder in shared memory, or, where a system has none, among its temporary files.

    It holds a lock as long as this process or a child of it lives, by which one that was killed is told: the next
    folder that is made removes what is left of it.
    """

    def __init__(self) -> None:
        root = _root()
        _remove_abandoned(root)
        # Gets its name once it is locked: others look for abandoned ones at any moment.
        unlocked = Path(tempfile.mkdtemp(prefix=f".{_PREFIX}", dir=root))
        self._owner = os.getpid()
        self._lock: IO[bytes] = (unlocked / _LOCK_FILE).open("wb")
        fcntl.flock(self._lock, fcntl.LOCK_SH)
        self.path = unlocked.rename(root / unlocked.name[1:])

    def remove(self) -> None:
        """Removes it with all that it holds; does nothing in a child, to which it is lent."""
        if os.getpid() == self._owner:
            self._lock.close()
            shutil.rmtree(self.path, ignore_errors=True)


def _root() -> Path:
    """Shared memory; where there is little of it, as in containers, the system keeps other files in memory as well."""
    if os.access(_SHARED_MEMORY, os.W_OK):
        free, total = free_memory()
        if shutil.disk_usage(_SHARED_MEMORY).total >= min(free, total // 4):
            return _SHARED_MEMORY
    return Path(tempfile.gettempdir())


def _remove_abandoned(root: Path) -> None:
    for folder in root.glob(f"{_PREFIX}*"):
        # Another user's, or one that is made or removed at this moment.
        with contextlib.suppress(OSError), (folder / _LOCK_FILE).open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
