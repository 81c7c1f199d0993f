"""What a teacher said, kept on disk: a run that goes on, or one with other settings, does not ask it again.

One SQLite file a teacher and process, to which each video's scores are added as they come: a kill at any moment leaves
what was there before it. Whatever is kept can be had again, so a damaged file is set aside and begun anew.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from s2tf_edge.data.videos import Video
from s2tf_edge.errors import InputFileError

__all__ = ["ScoreStore", "VideoScores"]

logger = logging.getLogger(__name__)

_TABLE: Final = (
    "CREATE TABLE IF NOT EXISTS scores "
    "(video TEXT, most INTEGER, seconds REAL, places BLOB, logits BLOB, PRIMARY KEY (video, most))"
)
_WAIT_SECONDS: Final = 60.0


@dataclass(frozen=True, kw_only=True)
class VideoScores:
    """What a teacher says of one video."""

    seconds: float
    """From its first frame to its last."""
    places: NDArray[np.float64]
    """Float64 [n]: where its clips were taken (``at``), ascending."""
    logits: NDArray[np.float32]
    """Float32 [n, M]: of each of them."""


class ScoreStore:
    """The scores of one teacher in a folder.

    Args:
        folder: of the run; made if missing.
        fingerprint: the teacher's.
        rank: of this process, which writes a file of its own and reads those of all.

    Raises:
        InputFileError: the folder cannot be written to.
    """

    def __init__(self, folder: Path, fingerprint: str, *, rank: int = 0) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        stem = f"teacher-{fingerprint[:12]}"
        self._path = folder / (f"{stem}.{rank}.sqlite" if rank else f"{stem}.sqlite")
        self._others = [path for path in sorted(folder.glob(f"{stem}*.sqlite")) if path != self._path]
        try:
            self._prepare()
        except sqlite3.DatabaseError:
            logger.warning("%s is damaged; asking the teacher again", self._path)
            self._path.unlink()
            self._prepare()

    def read(self, video: Video, *, most: int, classes: int) -> VideoScores | None:
        """What was kept of a video, None where nothing was or the file has changed since."""
        for path in (self._path, *self._others):
            row = self._find(path, video, most)
            if row is not None:
                seconds, places, logits = row
                at = np.frombuffer(places, np.float64)
                return VideoScores(
                    seconds=seconds, places=at, logits=np.frombuffer(logits, np.float32).reshape(len(at), classes)
                )
        return None

    def write(self, video: Video, scores: VideoScores, *, most: int) -> None:
        """Keeps what was said of a video.

        Raises:
            InputFileError: the disk is full, or the file cannot be written.
        """
        row = (_identity(video), most, scores.seconds, scores.places.tobytes(), scores.logits.tobytes())
        try:
            with closing(self._connect(self._path)) as connection, connection:
                connection.execute("INSERT OR REPLACE INTO scores VALUES (?, ?, ?, ?, ?)", row)
        except sqlite3.DatabaseError as error:
            raise self._unwritable(error) from error

    def _prepare(self) -> None:
        try:
            with closing(self._connect(self._path)) as connection, connection:
                connection.execute(_TABLE)
                connection.execute("SELECT video, most, seconds, places, logits FROM scores LIMIT 1").fetchall()
        except sqlite3.OperationalError as error:
            raise self._unwritable(error) from error

    def _find(self, path: Path, video: Video, most: int) -> tuple[float, bytes, bytes] | None:
        query = "SELECT seconds, places, logits FROM scores WHERE video = ? AND most = ?"
        try:
            with closing(self._connect(path)) as connection:
                found: Iterator[tuple[float, bytes, bytes]] = connection.execute(query, (_identity(video), most))
                return next(found, None)
        except sqlite3.DatabaseError:
            return None

    def _connect(self, path: Path) -> sqlite3.Connection:
        return sqlite3.connect(path, timeout=_WAIT_SECONDS)

    def _unwritable(self, error: sqlite3.Error) -> InputFileError:
        return InputFileError(
            f"cannot keep what the teacher says in {self._path}: {error}; free its disk, or give another `out`"
        )


def _identity(video: Video) -> str:
    """A video's name and, of a file, its size and time of change, so that a new one under the name is another."""
    path = Path(video.name)
    try:
        found = path.stat()
    except OSError:
        return video.name
    return f"{video.name}\n{found.st_size} {found.st_mtime_ns}"
