"""A cluster of Ray on this machine for tests: nodes that come and go, and the processes of its workers."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import psutil
import pytest

from s2tf_edge.errors import InputFileError

LACKS: Final = "S2TF_TEST_LACKS"
ROOT: Final = Path(__file__).parents[3]
_STORE_BYTES: Final = 80 * 2**20
IGNORED: Final = [
    # Ray leaves files and processes to the end of the interpreter, and uses what later versions of others drop.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:ray"),
    pytest.mark.filterwarnings("ignore::FutureWarning:ray"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


class PickyWorker:
    """See ``HostedWorker``; it opens on nodes of which nobody says that they lack something."""

    def __init__(self, order: str, name: str) -> None:
        self._order = order
        del name

    def open(self) -> None:
        if self._order == "nothing is right" or LACKS in os.environ:
            msg = "it lacks what it needs"
            raise InputFileError(msg)

    def work(self, task: int) -> Iterator[int]:
        yield task

    def close(self) -> None: ...


class LocalCluster:
    """Nodes of this machine, each with its own processes."""

    def __init__(self, cluster: Any) -> None:
        self._cluster = cluster
        self.address = str(cluster.address)
        self._nodes: list[Any] = []

    def add_node(self, *, cpus: int = 1, **environment: str) -> None:
        self._nodes.append(
            self._cluster.add_node(
                num_cpus=cpus, object_store_memory=_STORE_BYTES, env_vars=environment or None, wait=True
            )
        )

    def kill_node(self) -> None:
        """As if somebody pulled the plug of the one that was added last."""
        self._cluster.remove_node(self._nodes.pop(), allow_graceful=False)

    def workers(self) -> list[psutil.Process]:
        """The processes on all its nodes that work for a driver now."""
        nodes = [self._cluster.head_node, *self._cluster.worker_nodes]
        raylets = [node.all_processes["raylet"][0].process.pid for node in nodes]
        found = []
        for process in psutil.process_iter(["cmdline", "ppid", "status"]):
            words = process.info["cmdline"]
            is_one = words and words[0].startswith("ray::WorkerHost") and process.info["ppid"] in raylets
            if is_one and process.info["status"] != psutil.STATUS_ZOMBIE:
                found.append(process)
        return found


@contextmanager
def local_cluster(*paths: Path, head_cpus: int = 1) -> Iterator[LocalCluster]:
    """A cluster whose nodes import from this checkout, and from ``paths``."""
    with pytest.MonkeyPatch.context() as patch:
        path = os.pathsep.join([str(ROOT), *map(str, paths), *filter(None, [os.environ.get("PYTHONPATH")])])
        patch.setenv("PYTHONPATH", path)
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_worker_niceness", "0")
        patch.delenv("RAY_ADDRESS", raising=False)
        from ray.cluster_utils import Cluster

        head = {"num_cpus": head_cpus, "object_store_memory": _STORE_BYTES, "include_dashboard": False}
        cluster: Any = Cluster(initialize_head=True, head_node_args=head)
        try:
            yield LocalCluster(cluster)
        finally:
            cluster.shutdown()


def wait_until(happens: Callable[[], object], *, seconds: float = 240.0) -> None:
    """Waits for something that other processes do."""
    deadline = time.monotonic() + seconds
    while not happens():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def command(*words: str | Path) -> list[str]:
    return [sys.executable, "-m", "s2tf_edge.cli.batch", *map(str, words)]
