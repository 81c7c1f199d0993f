"""Archives of any size, recognized by many workers: the function behind ``s2tf-batch``.

    SOURCES ─ find_entries ─→ SettledList ─ pieces ─→ Driver ─ Task ─→ Crew ─→ PieceWorker ─→ recognize_entry
    (folders, globs,          (job/sources-*)         counts,          one     a session,         │
     lists, stores)                                   tries again      module  a process          ↓
                                                        ↑              behind  of its own       Shards
                                                        └──── Tally ───────────────── predictions/ events/ videos/

Nothing of a piece counts before its file of videos has its name: whoever is killed loses the pieces that are under
way, and the same call goes on with the first that is not done.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from s2tf_edge.errors import InputFileError, S2TFError, UsageError
from s2tf_edge.progress import Progress, begin_step, no_progress, tell_state
from s2tf_edge.runtime.archives.crew import Crew
from s2tf_edge.runtime.archives.driver import Driver
from s2tf_edge.runtime.archives.entries import Piece
from s2tf_edge.runtime.archives.folder_lock import JOB_FOLDER, hold_as_driver
from s2tf_edge.runtime.archives.job import Job, check_folder
from s2tf_edge.runtime.archives.listing import find_entries
from s2tf_edge.runtime.archives.local_crew import LocalCrew, default_workers
from s2tf_edge.runtime.archives.max_bad import MaxBad
from s2tf_edge.runtime.archives.piece_worker import WorkOrder
from s2tf_edge.runtime.archives.settled_list import SettledList
from s2tf_edge.runtime.archives.shards import Shards
from s2tf_edge.runtime.archives.status import ArchiveStatus
from s2tf_edge.runtime.archives.summary_files import write_summary
from s2tf_edge.runtime.archives.tally import ArchiveTally
from s2tf_edge.runtime.open import open_session
from s2tf_edge.runtime.session import SessionOptions
from s2tf_edge.runtime.streaming.stream_options import StreamOptions
from s2tf_edge.words import counted

__all__ = ["ArchiveOptions", "MakeCrew", "recognize_archive"]

logger = logging.getLogger(__name__)

_MAX_WORKERS: Final = 4096
_COUNTED_PIECES: Final = 100


class MakeCrew(Protocol):
    """Makes the crew of a run; ``LocalCrew`` by default."""

    def __call__(self, order: WorkOrder, *, pieces: int) -> Crew:
        """A crew that is not started yet, for so many pieces."""


@dataclass(frozen=True, kw_only=True)
class ArchiveOptions:
    """How an archive is worked on; none of it changes a result.

    Raises:
        UsageError: a value is not allowed.
    """

    format: str = "parquet"
    """Of the results, ``parquet`` or ``jsonl``."""
    workers: int | None = None
    """Processes, each with a session; None for as many as cores and memory allow."""
    max_bad: str | None = None
    """How many videos may be bad, as ``MaxBad.parse`` has it; None for any number, but not all."""
    retry_bad: bool = False
    """Whether pieces with bad videos are done again."""

    def __post_init__(self) -> None:
        if self.workers is not None and not 1 <= self.workers <= _MAX_WORKERS:
            msg = f"`workers` must be from 1 to {_MAX_WORKERS}, got {self.workers}"
            raise UsageError(msg)
        if self.max_bad is not None:
            MaxBad.parse(self.max_bad)


def recognize_archive(
    sources: Sequence[str],
    artifact: str | Path,
    *,
    out: Path,
    how: ArchiveOptions | None = None,
    options: StreamOptions | None = None,
    run_on: SessionOptions | None = None,
    progress: Progress = no_progress,
    watch: Callable[[ArchiveStatus], object] = lambda _: None,
    make_crew: MakeCrew | None = None,
) -> dict[str, Any]:
    """Recognizes actions in every video of an archive; called again, it goes on where it was.

    Args:
        sources: videos, folders, globs and lists of them, and addresses of these that fsspec reads.
        artifact: what ``open_session`` takes.
        out: the folder of results. It keeps a list of the videos, so that what is found later is appended.
        how: what does not change results.
        options: what does; those of files, as ``recognize`` takes them.
        run_on: how each worker runs the network; one thread by default.
        progress: told how many videos are done.
        watch: told how things stand, now and then.
        make_crew: who does the work, if not processes of this machine.

    Returns:
        What ``summary.json`` holds.

    Raises:
        UsageError: the options are not allowed, or ``out`` is of another job, or in use.
        InputFileError: a source or the artifact cannot be read; or results cannot be written; or more videos are bad
            than allowed, or all of them.
        MissingExtraError: what reads a source, runs the network or writes results is not installed.
        UnsupportedError: the network does not run here, or workers die of something else than a video.
    """
    how, options = how or ArchiveOptions(), options or StreamOptions()
    run_on = run_on or SessionOptions(threads=1)
    out, artifact = Path(out).absolute(), Path(artifact).absolute()
    shards = Shards(out, how.format)
    job = Job.of(artifact, options, run_on, format=how.format)
    # Whatever is wrong with it is said before a million files are listed.
    open_session(artifact, run_on)
    check_folder(out)
    with ExitStack() as stack:
        stack.enter_context(hold_as_driver(out))
        job.check(out)
        shards.remove_leftovers()
        settled = _settle(sources, out, progress)
        job.write(out, artifact=artifact)
        run = _ArchiveRun(settled, shards, how, progress=progress, watch=watch)
        run.count_done()
        order = WorkOrder(artifact=artifact, session=run_on, options=options, folder=out, format=how.format)
        make_crew = make_crew or _LocalCrews(how.workers, run_on.threads)
        try:
            run.do(lambda pieces: make_crew(order, pieces=pieces))
        except S2TFError:
            if shards.is_empty:
                job.forget(out)
            raise
        finally:
            summary = run.summary() | {"artifact": str(artifact), "out": str(out), "options": dict(job.options)}
            write_summary(summary, out)
        run.check_end()
    return summary


@dataclass(frozen=True)
class _LocalCrews:
    """Processes of this machine."""

    workers: int | None
    threads: int

    def __call__(self, order: WorkOrder, *, pieces: int) -> LocalCrew:
        most = self.workers or default_workers(self.threads)
        return LocalCrew(order, most=min(most, pieces), is_bold=self.workers is not None)


def _settle(sources: Sequence[str], out: Path, progress: Progress) -> SettledList:
    begin_step(progress, "listing videos")
    settled = SettledList(out / JOB_FOLDER)
    was_settled = settled.is_settled
    new = settled.settle(
        find_entries(sources), counted=lambda count: tell_state(progress, f"listing videos: {count:,} so far")
    )
    if settled.has_older_addresses:
        settled.refresh(find_entries(sources))
    if was_settled and new:
        logger.info("%s found since the last run", counted(new, "new video"))
    return settled


class _ArchiveRun:
    """The accounts of one run."""

    def __init__(
        self,
        settled: SettledList,
        shards: Shards,
        how: ArchiveOptions,
        *,
        progress: Progress,
        watch: Callable[[ArchiveStatus], object],
    ) -> None:
        self._settled = settled
        self._shards = shards
        self._how = how
        self._progress = progress
        self._watch = watch
        self._max_bad = None if how.max_bad is None else MaxBad.parse(how.max_bad)
        self._all = ArchiveTally()
        self._now = ArchiveTally()
        self._pieces_left = settled.pieces
        self._crew: Crew | None = None
        self._driver: Driver | None = None
        self._workers = 0
        self._began_at = time.monotonic()

    def count_done(self) -> None:
        """Counts what earlier runs have done, and takes back what is to be done again."""
        begin_step(self._progress, "counting what is done")
        for piece in range(self._settled.pieces):
            if not self._shards.is_done(piece):
                continue
            tally = ArchiveTally.of_shard(self._shards, piece)
            if self._how.retry_bad and tally.bad:
                self._shards.undo(piece)
                continue
            self._pieces_left -= 1
            self._all.add(tally)
            if not piece % _COUNTED_PIECES:
                self._progress(piece, self._settled.pieces)
        if self._all.videos:
            logger.info("going on: %s of %d are done", counted(self._all.videos, "video"), self._settled.videos)

    def do(self, make_crew: Callable[[int], Crew]) -> None:
        """Does what is left."""
        self._check()
        if not self._pieces_left:
            return
        begin_step(self._progress, "recognizing")
        with make_crew(self._pieces_left) as self._crew:
            self._driver = Driver(self._pending(), self._crew, done=self._count, beats=self._tell)
            try:
                self._driver.run()
            except KeyboardInterrupt:
                msg = f"{self._all.videos:,} of {self._settled.videos:,} videos are done; the same command goes on"
                raise KeyboardInterrupt(msg) from None

    def check_end(self) -> None:
        """Sees that anything could be read.

        Raises:
            InputFileError: nothing could.
        """
        if self._all.bad == self._all.videos > 0:
            _, _, status = self._all.examples[0]
            msg = f"none of {counted(self._all.videos, 'video')} could be read: {status}"
            raise InputFileError(msg)

    def status(self) -> ArchiveStatus:
        """How things stand."""
        self._workers = max(self._workers, self._crew.workers if self._crew is not None else 0)
        return ArchiveStatus(
            videos=self._settled.videos,
            done=self._all,
            now=self._now,
            seconds=time.monotonic() - self._began_at,
            workers=self._workers,
            deaths=self._driver.deaths if self._driver is not None else 0,
        )

    def summary(self) -> dict[str, Any]:
        """As ``summary.json`` has it."""
        return self.status().to_dict()

    def _pending(self) -> Iterator[Piece]:
        return (piece for piece in self._settled.read_pieces() if not self._shards.is_done(piece.number))

    def _count(self, tally: ArchiveTally) -> None:
        self._all.add(tally)
        self._now.add(tally)
        self._check()

    def _check(self) -> None:
        if self._max_bad is not None:
            self._max_bad.check(self._all, videos=self._settled.videos)

    def _tell(self) -> None:
        status = self.status()
        self._progress(status.done.videos, status.videos)
        tell_state(self._progress, status.words())
        self._watch(status)
