"""A worker: opens a network once, and turns pieces into committed files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np

from s2tf_edge.runtime.archives.entries import Task
from s2tf_edge.runtime.archives.recognition import recognize_entry
from s2tf_edge.runtime.archives.rows import PieceRows, VideoRows
from s2tf_edge.runtime.archives.shards import Shards
from s2tf_edge.runtime.archives.tally import ArchiveTally
from s2tf_edge.runtime.open import open_session
from s2tf_edge.runtime.session import SessionOptions
from s2tf_edge.runtime.streaming.stepping import choose_hop
from s2tf_edge.runtime.streaming.stream_options import StreamOptions

__all__ = ["PieceWorker", "WorkOrder"]


@dataclass(frozen=True, kw_only=True)
class WorkOrder:
    """What every worker of an archive does alike; it can be pickled."""

    artifact: Path
    """What ``open_session`` takes; an absolute path."""
    session: SessionOptions
    options: StreamOptions
    folder: Path
    """Where results go; an absolute path."""
    format: str


class PieceWorker:
    """A context manager that holds the open network.

    Args:
        order: what to do.

    Raises:
        S2TFError: the network cannot be opened, or its results written, here.
    """

    def __init__(self, order: WorkOrder) -> None:
        self._options = order.options
        self._shards = Shards(order.folder, order.format)
        self._session = open_session(order.artifact, order.session)

    def __enter__(self) -> PieceWorker:
        self._session.open()
        info = self._session.info
        choose_hop(info, self._options.hop)
        # With many runtimes the first run takes memory that the crew is to know of.
        self._session.infer(np.zeros(info.spec.input_shape(info.batch or 1), info.spec.dtype))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._session.close()

    def finish(self, task: Task, *, begins: Callable[[int], object] = lambda _: None) -> ArchiveTally:
        """Recognizes the videos of a piece and commits it.

        Args:
            task: the piece, and what of it is not to be tried.
            begins: told the number of each video before it is opened, so that it is known which one a worker died of.

        Raises:
            InputFileError: a file cannot be written.
            MissingExtraError: what opens one of the videos is not installed.
        """
        rows = PieceRows()
        for entry in task.piece.entries:
            if entry.number in task.given_up:
                video = VideoRows(entry)
                video.give_up("worker", task.given_up[entry.number])
            else:
                begins(entry.number)
                video = recognize_entry(entry, self._session, self._options)
            rows.add(video)
        begins(-1)
        self._shards.commit(task.piece.number, rows)
        return ArchiveTally.of_rows(rows)
