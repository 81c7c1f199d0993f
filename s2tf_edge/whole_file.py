"""Files that are whole or not there: written aside, and renamed once all of them is on the disk."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final

from s2tf_edge.errors import InputFileError

__all__ = ["PART", "whole_file"]

PART: Final = ".part"
"""Ends the name of what is not whole yet; one name, so that what a killed process left is written over by the next."""


@contextmanager
def whole_file(path: Path, *, writer: str = "") -> Iterator[BinaryIO]:
    """A file to write into, which takes the name ``path`` at the end; what was there before stays until then.

    Where two may write the same at once, as when one was taken for dead, each has a name as ``writer``.

    After an error it stays for good. The file is flushed to the disk before it is renamed: a machine that loses its
    power has the one file or the other.

    Raises:
        InputFileError: it cannot be written, for want of space or of permission.
    """
    aside = path.with_name(path.name + (f".{writer}" if writer else "") + PART)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _removed_on_error(aside), aside.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        raise _cannot_write(path, error) from error
    except RuntimeError as error:
        # torch.save puts its own error over that of the file.
        if not isinstance(error.__context__, OSError):
            raise
        raise _cannot_write(path, error.__context__) from error


@contextmanager
def _removed_on_error(aside: Path) -> Iterator[None]:
    try:
        yield
    except BaseException:
        with suppress(OSError):
            aside.unlink(missing_ok=True)
        raise


def _sync_folder(folder: Path) -> None:
    """Puts the new name on the disk; not every file system can, and what it names is whole all the same."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _cannot_write(path: Path, error: OSError) -> InputFileError:
    kept = "; the one that was there stays as it was" if path.is_file() else ""
    advice = "free some space, or choose a folder that may be written to"
    return InputFileError(f"cannot write {path} ({error.strerror or error}){kept}; {advice}")
