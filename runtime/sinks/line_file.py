"""Lines in a file, each of them whole, or in a named pipe."""

from __future__ import annotations

import errno
import io
import logging
import os
import select
import stat
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from s2tf_edge.errors import InputFileError

__all__ = ["LineFile"]

logger = logging.getLogger(__name__)

_POLL_SECONDS: Final = 0.1
_GRACE_SECONDS: Final = 2.0
"""How long a reader who does not read is waited for once the stream is to end."""


class LineFile:
    """Where lines go. Those that were written stay, whatever becomes of those that follow.

    Where a disk is full, the part of a line that still fitted is taken back. A named pipe is waited for at once, until
    somebody reads it; whoever reads slowly is waited for as well.

    Args:
        path: of a file, which is made anew with the first line, or of a named pipe.
        append: whether lines follow those that the file has, on a line of their own.
        stays_open: whether the file is open from one line to the next; a pipe always is.
        field: what its user calls it who is to choose another one.
        stop: ends all waiting for the reader of a pipe.

    Raises:
        InputFileError: the pipe cannot be opened.
    """

    def __init__(
        self,
        path: Path,
        *,
        append: bool = False,
        stays_open: bool = True,
        field: str = "file",
        stop: threading.Event | None = None,
    ) -> None:
        self._path = path
        self._append = append
        self._field = field
        self._stop = stop or threading.Event()
        self._stays_open = stays_open
        self._file: io.FileIO | None = None
        self.lines = 0
        if _is_pipe(path):
            try:
                self._file = _open_pipe(path, self._stop)
            except OSError as error:
                raise self._failure(error) from error

    def write(self, lines: Sequence[str]) -> None:
        """Writes all of them or none.

        Raises:
            BrokenPipeError: the reader of the pipe, which it names, has gone.
            InputFileError: the file, of which it says what it holds, cannot be written.
        """
        try:
            with self._opened() as file:
                # What a power cut left of a line spoils none of the next ones.
                mend = "\n" if self._append and not self.lines and _is_torn(file) else ""
                self._write_all(file, "".join([mend, *lines]).encode())
        except BrokenPipeError as error:
            raise BrokenPipeError(error.errno, error.strerror, str(self._path)) from error
        except OSError as error:
            raise self._failure(error) from error
        self.lines += len(lines)

    def close(self) -> None:
        """Closes the file, if it is open."""
        if self._file is not None:
            self._file.close()

    @contextmanager
    def _opened(self) -> Iterator[io.FileIO]:
        if self._file is not None:
            yield self._file
            return
        if _is_pipe(self._path):
            raise BrokenPipeError(errno.EPIPE, "nobody reads it")
        self._path.parent.mkdir(parents=True, exist_ok=True)
        file = io.FileIO(self._path, "a+" if self.lines or self._append else "w")
        if self._stays_open:
            self._file = file
            yield file
            return
        with file:
            yield file

    def _write_all(self, file: io.FileIO, data: bytes) -> None:
        mode = os.fstat(file.fileno()).st_mode
        start = file.tell() if stat.S_ISREG(mode) else None
        rest = memoryview(data)
        try:
            while rest:
                if stat.S_ISFIFO(mode):
                    self._wait_for_room(file)
                    # As much as a pipe with room takes at once.
                    rest = rest[file.write(rest[: select.PIPE_BUF]) :]
                else:
                    rest = rest[file.write(rest) :]
        except OSError:
            if start is not None:
                with suppress(OSError):
                    file.truncate(start)
            raise

    def _wait_for_room(self, pipe: io.FileIO) -> None:
        waited = 0.0
        while not select.select([], [pipe], [], _POLL_SECONDS)[1]:
            waited += _POLL_SECONDS if self._stop.is_set() else 0.0
            if waited >= _GRACE_SECONDS:
                raise BrokenPipeError(errno.EPIPE, "its reader does not read")

    def _failure(self, error: OSError) -> InputFileError:
        kept = f"it keeps the {self.lines} lines before" if self.lines else f"choose another `{self._field}`"
        return InputFileError(f"cannot write {self._path} ({error.strerror}); {kept}")


def _is_torn(file: io.FileIO) -> bool:
    """Whether a file, which is at its end, ends within a line."""
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode) or not file.tell():
        return False
    return os.pread(file.fileno(), 1, file.tell() - 1) != b"\n"


def _is_pipe(path: Path) -> bool:
    try:
        return path.is_fifo()
    except OSError:
        return False


def _open_pipe(path: Path, stop: threading.Event) -> io.FileIO | None:
    """The pipe once somebody reads it; None where the stream is to end before."""
    is_told = False
    while not stop.is_set():
        try:
            number = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
        else:
            os.set_blocking(number, True)
            return io.FileIO(number, "w")
        if not is_told:
            logger.info("waiting for somebody to read %s", path)
            is_told = True
        # Not by `stop`: its lock may be held where a signal comes whose handler wants to set it.
        time.sleep(_POLL_SECONDS)
    return None
