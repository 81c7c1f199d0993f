"""Workers on the nodes of a cluster: as many as their cores, GPUs and memory have room for, each with one task at most.

    give(task) ─→ waiting ─→ an actor that is ready ─→ Said(…), Said(…), Done | Lost
                  (bounded)   one first on each node, which sees that the node is fit and tells what memory it takes

A node that lacks something is left out, and said so once; one that comes later gets workers, one that goes is missed.
"""

from __future__ import annotations

import itertools
import logging
import re
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, Final

from s2tf_edge.errors import S2TFError, SourceError
from s2tf_edge.runtime.archives.cluster.host import NodeFacts, SentError, WorkerHost, installed_versions
from s2tf_edge.runtime.archives.cluster.needs import Needs

__all__ = ["ClusterWorkers", "Done", "Event", "GivenUp", "Lost", "Said"]

logger = logging.getLogger(__name__)

_LOOK_SECONDS: Final = 3.0
"""Between two looks at which nodes there are."""
_PATIENCE_SECONDS: Final = 120.0
"""Without the process of a single worker."""
_END_SECONDS: Final = 10.0
_MAX_DEATHS: Final = 3
"""Of workers in a row that never opened the network, on one node."""
_SPARE_GB: Final = 0.5
_GROWTH: Final = 1.5


@dataclass(frozen=True, kw_only=True)
class Said:
    """What a worker says of its task."""

    task: Any
    what: Any


@dataclass(frozen=True, kw_only=True)
class Done:
    """A worker has said all of its task."""

    task: Any
    node: str
    """Whose it is, by its identifier."""


@dataclass(frozen=True, kw_only=True)
class Lost:
    """A task whose worker is gone."""

    task: Any
    why: str
    with_node: bool
    """Whether it went with its node, or the network between, so that the task is not to blame."""


@dataclass(frozen=True, kw_only=True)
class GivenUp:
    """Nothing more can be done, and why."""

    error: S2TFError


Event = Said | Done | Lost | GivenUp


@dataclass(kw_only=True)
class _Node:
    id: str
    address: str
    slots: int
    gpus: float
    """Of each worker."""
    is_alive: bool = True
    allowed: int = 1
    """Workers that it gets: one, until that one has told what it takes."""
    unfit: S2TFError | None = None
    deaths: int = 0

    @property
    def room(self) -> int:
        return 0 if self.unfit is not None or not self.is_alive else min(self.slots, self.allowed)


@dataclass(kw_only=True)
class _Hired:
    node: _Node
    actor: Any
    greeting: Any
    """Of its process, until there is one."""
    opening: Any = None
    """The reference to its ``NodeFacts``, until they are known."""
    saying: Any = None
    """What its task says."""
    task: Any = field(default=None)

    @property
    def waited_for(self) -> Any:
        stages = (self.greeting, self.opening, self.saying)
        return next((each for each in stages if each is not None), None)

    @property
    def is_ready(self) -> bool:
        return self.greeting is None and self.opening is None


class ClusterWorkers:
    """A context manager; at its end all of them are stopped at once.

    Args:
        ray: connected.
        module: of the class of workers, a ``HostedWorker``.
        kind: its name there.
        order: what each is made of.
        needs: what one takes.
        most: of all together.
        is_bold: whether nodes get as many as their cores, whatever memory they have.
    """

    def __init__(
        self, ray: ModuleType, *, module: str, kind: str, order: Any, needs: Needs, most: int, is_bold: bool = False
    ) -> None:
        self._ray = ray
        self._made_of = (module, kind, order)
        self._needs = needs
        self._most = most
        self._is_bold = is_bold
        self._nodes: dict[str, _Node] = {}
        self._workers: list[_Hired] = []
        self._waiting: deque[Any] = deque()
        self._names = itertools.count()
        self._versions = installed_versions()
        self._look_at = 0.0
        self._alone_since: float | None = None

    def __enter__(self) -> ClusterWorkers:
        self._look()
        return self

    def __exit__(self, *_: object) -> None:
        going = [worker.waited_for for worker in self._workers if worker.waited_for is not None]
        for worker in self._workers:
            self._ray.kill(worker.actor, no_restart=True)
        self._workers = []
        if going:
            self._ray.wait(going, num_returns=len(going), timeout=_END_SECONDS, fetch_local=False)

    @property
    def count(self) -> int:
        """Workers that are ready."""
        return sum(worker.is_ready for worker in self._workers)

    @property
    def has_room(self) -> bool:
        """Whether another task may be given: there are never more than workers."""
        busy = sum(worker.task is not None for worker in self._workers)
        return len(self._waiting) + busy < max(1, len(self._workers))

    def give(self, task: Any) -> None:
        """Has a task done, by the next worker that is free."""
        self._waiting.append(task)
        self._assign()

    def give_again(self, task: Any) -> None:
        """Has a task done before all others."""
        self._waiting.appendleft(task)
        self._assign()

    def leave_out(self, node: str, error: S2TFError) -> None:
        """Gives a node nothing more to do; what its workers are at goes on."""
        if node in self._nodes:
            self._leave_out(self._nodes[node], SentError.of(error).restore(self._nodes[node].address))
            self._fill()

    def wait(self, seconds: float) -> Sequence[Event]:
        """What has happened; waits until there is something, and so long at most."""
        self._look()
        going = {worker.waited_for: worker for worker in self._workers if worker.waited_for is not None}
        events: list[Event] = []
        if going:
            ready, _ = self._ray.wait([*going], num_returns=1, timeout=seconds, fetch_local=False)
            # One that has something may not be the only one.
            more, _ = self._ray.wait([*going], num_returns=len(going), timeout=0, fetch_local=False)
            for reference in dict.fromkeys([*ready, *more]):
                events += self._listen(going[reference])
        else:
            time.sleep(seconds)
        self._assign()
        return [*events, *self._check_alive()]

    def _listen(self, worker: _Hired) -> Iterator[Event]:
        try:
            if worker.greeting is not None:
                self._ray.get(worker.greeting)
                worker.greeting, worker.opening = None, worker.actor.open.remote(self._versions)
                return
            if worker.opening is not None:
                self._welcome(worker, self._ray.get(worker.opening))
                return
            while self._ray.wait([worker.saying], timeout=0, fetch_local=False)[0]:
                what = self._ray.get(next(worker.saying))
                if isinstance(what, SentError):
                    yield GivenUp(error=what.restore(worker.node.address))
                    return  # its task is not done, though nothing more is said of it
                yield Said(task=worker.task, what=what)
        except StopIteration:
            task, worker.task, worker.saying = worker.task, None, None
            yield Done(task=task, node=worker.node.id)
        except self._ray.exceptions.RayError as error:
            yield from self._bury(worker, error)

    def _welcome(self, worker: _Hired, told: NodeFacts | SentError) -> None:
        """A worker has opened what it needs, or its node lacks that."""
        node = worker.node
        if isinstance(told, SentError):
            self._dismiss(worker)
            self._leave_out(node, told.restore(node.address))
            return
        worker.opening, node.deaths, self._alone_since = None, 0, None
        more = node.slots
        if told.free_gb is not None and not self._is_bold:
            here = sum(each.node is node for each in self._workers)
            fit = here + int((told.free_gb - _SPARE_GB) / (_GROWTH * told.worker_gb))
            more = max(1, here, fit)
        if node.allowed == 1 and more < node.slots:
            logger.info("node %s: there is memory for %d of %d workers", node.address, more, node.slots)
        node.allowed = max(node.allowed, more)
        self._fill()

    def _bury(self, worker: _Hired, error: Exception) -> Iterator[Event]:
        self._dismiss(worker)
        node, why = worker.node, self._cause_of_death(error)
        self._find_nodes()
        # What cannot be reached may still be there for a moment.
        with_node = not node.is_alive or isinstance(error, self._ray.exceptions.ActorUnavailableError)
        if not worker.is_ready and not with_node:
            node.deaths += 1
            missing = _missing_module(str(error))
            if missing is not None or node.deaths >= _MAX_DEATHS:
                if missing is not None:
                    why = f"it lacks the module {missing}; install there what is installed here"
                self._leave_out(node, SourceError(f"node {node.address}: no worker can be started: {why}"))
        if node.unfit is None:
            what = "was lost with it, or cannot be reached" if with_node else f"was lost ({why})"
            logger.warning("node %s: a worker %s; another one is started where there is room", node.address, what)
        if worker.task is not None:
            yield Lost(task=worker.task, why=why, with_node=with_node)
        self._fill()

    def _cause_of_death(self, error: Exception) -> str:
        exceptions = self._ray.exceptions
        if isinstance(error, exceptions.OutOfMemoryError) or "OutOfMemory" in str(error):
            return "killed for want of memory"
        if isinstance(error, exceptions.RayTaskError):
            return f"ended by {type(getattr(error, 'cause', None) or error).__name__}"
        return "killed, or crashed"

    def _dismiss(self, worker: _Hired) -> None:
        self._workers.remove(worker)
        self._ray.kill(worker.actor, no_restart=True)

    def _leave_out(self, node: _Node, error: S2TFError) -> None:
        if node.unfit is None:
            logger.warning("%s (this node is left out)", error)
        node.unfit = error

    def _assign(self) -> None:
        for worker in [*self._workers]:
            if not worker.is_ready or worker.task is not None:
                continue
            if worker.node.unfit is not None:
                self._dismiss(worker)
            elif self._waiting:
                worker.task = self._waiting.popleft()
                worker.saying = worker.actor.work.options(num_returns="streaming").remote(worker.task)

    def _look(self) -> None:
        """Looks now and then which nodes there are."""
        now = time.monotonic()
        if now < self._look_at:
            return
        self._look_at = now + _LOOK_SECONDS
        self._find_nodes()
        self._fill()

    def _find_nodes(self) -> None:
        found = {node["NodeID"]: node for node in self._ray.nodes() if node["Alive"]}
        for id, node in self._nodes.items():
            node.is_alive = id in found
        for id in found.keys() - self._nodes.keys():
            resources = found[id]["Resources"]
            gpus = 1 / self._needs.per_gpu(resources) if self._needs.on_gpu else 0
            slots = self._needs.slots(resources)
            self._nodes[id] = _Node(id=id, address=_address_of(found[id]), slots=slots, gpus=gpus)
        for id in [id for id, node in self._nodes.items() if not node.is_alive]:
            del self._nodes[id]

    def _fill(self) -> None:
        """Starts workers where there is room, on the emptiest node first."""
        while len(self._workers) < self._most:
            taken = {id: sum(each.node.id == id for each in self._workers) for id in self._nodes}
            open_nodes = [node for id, node in self._nodes.items() if taken[id] < node.room]
            if not open_nodes:
                return
            self._start(min(open_nodes, key=lambda node: taken[node.id]))

    def _start(self, node: _Node) -> None:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        host = self._ray.remote(WorkerHost).options(
            num_cpus=self._needs.cpus,
            num_gpus=node.gpus,
            max_restarts=0,
            max_task_retries=0,
            scheduling_strategy=NodeAffinitySchedulingStrategy(node_id=node.id, soft=False),
        )
        actor = host.remote(*self._made_of, f"{next(self._names)}")
        self._workers.append(_Hired(node=node, actor=actor, greeting=actor.greet.remote()))

    def _check_alive(self) -> Iterator[Event]:
        """Whether anything can still be expected."""
        # Opening a network may take minutes.
        if any(worker.greeting is None for worker in self._workers):
            self._alone_since = None
            return
        unfit = [node.unfit for node in self._nodes.values() if node.unfit is not None]
        fit = [node for node in self._nodes.values() if node.unfit is None and node.slots]
        if unfit and not fit:
            yield GivenUp(error=unfit[0])
            return
        now = time.monotonic()
        self._alone_since = self._alone_since or now
        if now - self._alone_since > _PATIENCE_SECONDS:
            wanted = f"{self._needs.cpus} CPU" + (" and a GPU" if self._needs.on_gpu else "")
            msg = (
                f"no node of the cluster had room for a worker ({wanted}) for {_PATIENCE_SECONDS:.0f} s; see "
                "`ray status`, add nodes or end other jobs; the same command goes on where it was"
            )
            yield GivenUp(error=SourceError(msg))


def _address_of(node: Mapping[str, Any]) -> str:
    return str(node.get("NodeName") or node["NodeManagerAddress"])


def _missing_module(words: str) -> str | None:
    found = re.search(r"No module named '([\w.]+)'", words)
    return None if found is None else found[1]
