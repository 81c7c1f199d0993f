"""A folder of results: its files are written aside and take their names only once all of them are complete."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from s2tf_edge.errors import UsageError

__all__ = ["output_folder"]


@contextmanager
def output_folder(folder: Path) -> Iterator[Path]:
    """A folder to write results into, whose files move into ``folder`` at the end, or not at all after a failure.

    They move one by one, each replacing an earlier one of its name, a folder with all that is in it; other files in
    ``folder`` stay.

    Raises:
        UsageError: ``folder`` is a file, or cannot be written to.
    """
    with _refusals_explained(folder):
        if folder.exists() and not folder.is_dir():
            msg = f"{folder} is a file; choose another `folder`"
            raise UsageError(msg)
        folder.parent.mkdir(parents=True, exist_ok=True)
        # Inside a folder that exists: it may lie on another disk than its parent, and no file moves across disks.
        beside = folder if folder.is_dir() else folder.parent
        aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=beside))
    try:
        yield aside
        with _refusals_explained(folder):
            folder.mkdir(exist_ok=True)
            for result in aside.iterdir():
                if result.is_dir():
                    shutil.rmtree(folder / result.name, ignore_errors=True)
                result.replace(folder / result.name)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


@contextmanager
def _refusals_explained(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        msg = f"cannot write to {folder}: {error.strerror}; choose another `folder`"
        raise UsageError(msg) from error
