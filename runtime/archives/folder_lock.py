"""One driver at a time in a folder of results, and none while workers of the last one are still at it.

A lock is the system's own and goes with its process, however that ends; the files stay.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from s2tf_edge.errors import InputFileError, UsageError

__all__ = ["JOB_FOLDER", "hold_as_driver", "hold_as_worker"]

logger = logging.getLogger(__name__)

JOB_FOLDER: Final = "job"
"""The folder within, for what is not a result."""
_DRIVER: Final = "driver.lock"
_WORKERS: Final = "workers.lock"
_WAIT_SECONDS: Final = 60.0
_POLL_SECONDS: Final = 0.1


@contextmanager
def hold_as_driver(folder: Path) -> Iterator[None]:
    """Keeps other drivers out; waits first for workers of one that was killed.

    Where nothing else was put into the folder, it goes with the lock.

    Raises:
        UsageError: another one is at work there, or its workers do not end.
        InputFileError: the folder cannot be written to.
    """
    is_new = not folder.exists()
    with _open(folder, _DRIVER) as driver, _open(folder, _WORKERS) as workers:
        if not _lock(driver, fcntl.LOCK_EX) or not _is_there(driver, folder):
            msg = f"another s2tf-batch is at work in {folder}; wait for it, end it, or choose another `out`"
            raise UsageError(msg)
        deadline, is_first = time.monotonic() + _WAIT_SECONDS, True
        while not _lock(workers, fcntl.LOCK_EX):
            if time.monotonic() > deadline:
                msg = f"workers of an s2tf-batch that was killed are still at work in {folder}; end them first"
                raise UsageError(msg)
            if is_first:
                logger.info("waiting for workers of a run that was killed")
            is_first = False
            time.sleep(_POLL_SECONDS)
        fcntl.flock(workers, fcntl.LOCK_UN)
        try:
            yield
        finally:
            _remove_unused(folder, is_new=is_new)


@contextmanager
def hold_as_worker(folder: Path) -> Iterator[None]:
    """Has the next driver wait for this process.

    Raises:
        InputFileError: the folder cannot be written to.
    """
    with _open(folder, _WORKERS) as workers:
        fcntl.flock(workers, fcntl.LOCK_SH)
        yield


@contextmanager
def _open(folder: Path, name: str) -> Iterator[int]:
    path = folder / JOB_FOLDER / name
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        msg = f"cannot write {path} ({error.strerror}); choose another `out`"
        raise InputFileError(msg) from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _is_there(driver: int, folder: Path) -> bool:
    """Whether the file is still the one of that name: a driver that began nothing takes it away."""
    try:
        return os.path.samestat(os.fstat(driver), (folder / JOB_FOLDER / _DRIVER).stat())
    except OSError:
        return False


def _remove_unused(folder: Path, *, is_new: bool) -> None:
    """Takes the locks away where there is nothing that they keep."""
    job = folder / JOB_FOLDER
    with suppress(OSError):
        if {path.name for path in job.iterdir()} <= {_DRIVER, _WORKERS}:
            for name in (_DRIVER, _WORKERS):
                (job / name).unlink(missing_ok=True)
            job.rmdir()
            if is_new:
                folder.rmdir()


def _lock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in {errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES}:
            raise
        return False
    return True
