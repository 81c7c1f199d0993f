"""What is heard of a worker, as a cluster hands it on."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from types import ModuleType, SimpleNamespace
from typing import Any

from s2tf_edge.runtime.archives.cluster.host import SentError
from s2tf_edge.runtime.archives.cluster.needs import Needs
from s2tf_edge.runtime.archives.cluster.workers import ClusterWorkers, Done, GivenUp, Said, _Hired, _Node


class Words(Iterator[object]):
    """What a worker says of its task, all of it there already; itself a reference, as Ray's are."""

    def __init__(self, *words: object) -> None:
        self._words = iter(words)

    def __next__(self) -> object:
        return next(self._words)


class ReadyRay(ModuleType):
    """A cluster whose answers are all there."""

    exceptions = SimpleNamespace(RayError=ConnectionError, ActorUnavailableError=ConnectionAbortedError)

    def wait(self, references: Sequence[Any], **_: object) -> tuple[list[Any], list[Any]]:
        return [*references], []

    def get(self, reference: Any) -> Any:
        return reference

    def nodes(self) -> list[dict[str, Any]]:
        return []


def _hear(*words: object) -> list[object]:
    workers = ClusterWorkers(ReadyRay("ray"), module="m", kind="k", order=None, needs=Needs(), most=1)
    node = _Node(id="n", address="10.0.0.2", slots=1, gpus=0)
    workers._workers = [_Hired(node=node, actor=None, greeting=None, opening=None, saying=Words(*words), task="task")]
    workers._look_at = math.inf
    return [*workers.wait(0.1)]


def test_a_task_is_done_once_all_of_it_was_said() -> None:
    assert _hear("one", "two") == [
        Said(task="task", what="one"),
        Said(task="task", what="two"),
        Done(task="task", node="n"),
    ]


def test_a_task_that_is_given_up_is_not_done_too() -> None:
    (event,) = _hear("one", SentError(kind="InputFileError", message="cannot write results"))[1:]
    assert isinstance(event, GivenUp)
    assert "cannot write results" in str(event.error)
