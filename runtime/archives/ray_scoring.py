"""Evaluation on a cluster of Ray: the units of ``score_videos``, which actors score, each with a session of its own.

What a video gets does not depend on who scores it, so that all numbers are those of one process with as many threads.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from s2tf_edge.data.datasets import open_videos
from s2tf_edge.data.files import VideoFile
from s2tf_edge.data.videos import Videos
from s2tf_edge.errors import InputFileError, UnsupportedError
from s2tf_edge.progress import Progress
from s2tf_edge.runtime.archives.cluster.host import SHARED, check_network
from s2tf_edge.runtime.archives.cluster.needs import Needs
from s2tf_edge.runtime.archives.cluster.workers import ClusterWorkers, Done, GivenUp, Lost, Said
from s2tf_edge.runtime.artifact import identify
from s2tf_edge.runtime.evaluation.scoring import ScoredVideos, score_units
from s2tf_edge.runtime.evaluation.views import Views
from s2tf_edge.runtime.open import open_session
from s2tf_edge.runtime.session import Session, SessionOptions

__all__ = ["RayScorer", "ScoringOrder", "ScoringTask", "ScoringWorker"]

_VIDEOS: Final = 16
"""Of a task, about."""
_MAX_DEATHS: Final = 3
"""Of workers at one task."""
_POLL_SECONDS: Final = 0.5


@dataclass(frozen=True, kw_only=True)
class ScoringOrder:
    """What every worker of an evaluation does alike."""

    model: Path
    """Absolute."""
    model_sha256: str
    """As ``identify`` has it."""
    session: SessionOptions
    folder: str
    """In which ``data`` is looked for."""
    data: str
    limit: int | None
    names_sha256: str
    """Of the names of all videos, so that places mean the same everywhere."""
    views: Views


@dataclass(frozen=True, kw_only=True)
class ScoringTask:
    """Units, and which of their videos are known to be nowhere."""

    units: tuple[range, ...]
    missing: frozenset[int] = frozenset()


@dataclass(frozen=True, kw_only=True)
class LacksVideos:
    """Places of videos that are not there; nothing was done."""

    places: tuple[int, ...]


class ScoringWorker:
    """See ``HostedWorker``."""

    def __init__(self, order: ScoringOrder, name: str) -> None:
        del name
        self._order = order
        self._session: Session | None = None

    def open(self) -> None:
        """Sees that network and videos are those of the driver, and opens the network.

        Raises:
            S2TFError: they are not, or it cannot be opened here.
        """
        order = self._order
        check_network(order.model, order.model_sha256)
        try:
            os.chdir(order.folder)
        except OSError as error:
            msg = f"it lacks the folder {order.folder} ({error.strerror}); {SHARED}"
            raise InputFileError(msg) from error
        self._data = open_videos(order.data).limit(order.limit)
        if hash_names(self._data) != order.names_sha256:
            msg = f"it has other videos in {order.data} than the driver; {SHARED}"
            raise InputFileError(msg)
        self._session = open_session(order.model, order.session)
        self._session.open()

    def work(self, task: ScoringTask) -> Iterator[ScoredVideos | LacksVideos]:
        """Scores units."""
        assert self._session is not None
        lacking = tuple(place for unit in task.units for place in unit if self._lacks(place, task))
        if lacking:
            yield LacksVideos(places=lacking)
        else:
            yield score_units(self._session, self._data.videos, task.units, self._order.views)

    def close(self) -> None:
        """Closes the network."""
        if self._session is not None:
            self._session.close()

    def _lacks(self, place: int, task: ScoringTask) -> bool:
        video = self._data.videos[place]
        return place not in task.missing and isinstance(video, VideoFile) and not os.path.lexists(video.path)


def hash_names(data: Videos) -> str:
    """The same for the same names in the same order."""
    digest = hashlib.sha256()
    for video in data.videos:
        digest.update(video.name.encode("utf-8", "surrogateescape") + b"\0")
    return digest.hexdigest()


@dataclass(kw_only=True)
class RayScorer:
    """See ``Scorer``.

    Raises:
        S2TFError: no worker can do it; the first one's reason.
    """

    ray: ModuleType
    """Connected."""
    model: Path
    run_on: SessionOptions
    address: str
    """Of the data set, as ``open_videos`` takes it."""
    data: Videos
    """What it stands for here, before ``limit``."""
    limit: int | None
    views: Views
    _deaths: Counter[range] = field(default_factory=Counter)
    _said: dict[range, Any] = field(default_factory=dict)

    def __call__(self, units: Sequence[range], *, progress: Progress) -> Iterator[ScoredVideos]:
        """What comes of all units."""
        self._data = self.data.limit(self.limit)
        waiting = _into_tasks(units)
        total, done = sum(map(len, units)), 0
        next_task, left = next(waiting, None), 0
        with self._make_workers(len(units)) as self._workers:
            while next_task is not None or left:
                while next_task is not None and self._workers.has_room:
                    self._workers.give(next_task)
                    next_task, left = next(waiting, None), left + 1
                for event in self._workers.wait(_POLL_SECONDS):
                    scored = self._take(event)
                    if scored is not None:
                        yield scored
                        left, done = left - 1, done + len(scored.scores) + len(scored.failures)
                        progress(done, total)

    def _make_workers(self, most: int) -> ClusterWorkers:
        order = ScoringOrder(
            model=self.model.absolute(),
            model_sha256=identify(self.model),
            session=dataclasses.replace(self.run_on, cache=None, require_signature=None),
            folder=str(Path.cwd()),
            data=self.address,
            limit=self.limit,
            names_sha256=hash_names(self._data),
            views=self.views,
        )
        return ClusterWorkers(
            self.ray,
            module=__name__,
            kind=ScoringWorker.__name__,
            order=order,
            needs=Needs.of(self.model, self.run_on),
            most=most,
        )

    def _take(self, event: Any) -> ScoredVideos | None:
        """The scores of a task that is done."""
        if isinstance(event, GivenUp):
            raise event.error
        task: ScoringTask = event.task
        first = task.units[0]
        if isinstance(event, Said):
            self._said[first] = event.what
        elif isinstance(event, Lost):
            self._said.pop(first, None)
            self._deaths[first] += not event.with_node
            if self._deaths[first] >= _MAX_DEATHS:
                names = self._data.videos[first.start].name, self._data.videos[task.units[-1].stop - 1].name
                msg = f"{_MAX_DEATHS} workers were lost ({event.why}) while they read {names[0]} to {names[1]}"
                raise UnsupportedError(msg)
            self._workers.give_again(task)
        elif isinstance(event, Done):
            said = self._said.pop(first)
            if isinstance(said, ScoredVideos):
                return said
            self._give_elsewhere(task, event.node, frozenset(said.places))
        return None

    def _give_elsewhere(self, task: ScoringTask, node: str, lacking: frozenset[int]) -> None:
        """What a node lacks is nowhere, or the node is not fit for it."""
        here = [name for place in lacking if os.path.lexists(name := self._data.videos[place].name)]
        if here:
            self._workers.leave_out(node, InputFileError(f"it lacks {min(here)}; {SHARED}"))
        self._workers.give_again(task if here else dataclasses.replace(task, missing=task.missing | lacking))


def _into_tasks(units: Sequence[range]) -> Iterator[ScoringTask]:
    some: list[range] = []
    for unit in units:
        some.append(unit)
        if sum(map(len, some)) >= _VIDEOS:
            yield ScoringTask(units=tuple(some))
            some = []
    if some:
        yield ScoringTask(units=tuple(some))
