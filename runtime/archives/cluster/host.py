"""What an actor holds: a worker of ours, which it is told of in plain values.

What goes to and fro is pickled by Ray: values of Python and dataclasses of this package, and of errors their kind and
words alone.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module, metadata
from pathlib import Path
from typing import Any, Final, Protocol

from s2tf_edge import __version__, errors
from s2tf_edge.errors import InputFileError, S2TFError, UnsupportedError
from s2tf_edge.runtime.artifact import identify
from s2tf_edge.runtime.hardware import find_memory, resident_memory_mb

__all__ = ["SHARED", "HostedWorker", "NodeFacts", "SentError", "WorkerHost", "check_network", "installed_versions"]

SHARED: Final = "put it on storage that all nodes have under the same path"
"""What to do where a node lacks something."""
_PACKAGES: Final = ("av", "numpy", "onnxruntime", "openvino", "torch", "tensorrt", "tensorrt-rtx-cu12-bindings")
"""What results depend on."""


class HostedWorker(Protocol):
    """What does the work in an actor; a class that is made of an order, by its module and name."""

    def __init__(self, order: Any, name: str) -> None:
        """Takes what every worker does alike, and a name of its own; does nothing yet."""

    def open(self) -> None:
        """Sees that all it needs is there, and opens it.

        Raises:
            S2TFError: it is not, or cannot be opened.
        """

    def work(self, task: Any) -> Iterator[Any]:
        """Does a task; says now and then how far it is, in plain values.

        Raises:
            S2TFError: none of the workers could do it.
        """

    def close(self) -> None:
        """Closes what it opened."""


@dataclass(frozen=True, kw_only=True)
class SentError:
    """An error of this package, as it is sent."""

    kind: str
    message: str

    @classmethod
    def of(cls, error: S2TFError) -> SentError:
        """What is sent of an error."""
        return cls(kind=type(error).__name__, message=str(error))

    def restore(self, where: str) -> S2TFError:
        """The error, of the same kind, with the place where it happened."""
        kind = getattr(errors, self.kind, S2TFError)
        made: S2TFError = kind(f"node {where}: {self.message}")
        return made


def check_network(path: Path, sha256: str) -> None:
    """Sees that this node has the network that the driver has.

    Args:
        path: of the artifact or ``model.pt``.
        sha256: of the driver's, as ``identify`` has it.

    Raises:
        InputFileError: it has none, or another one.
    """
    if not path.exists():
        msg = f"it lacks {path}; {SHARED}"
        raise InputFileError(msg)
    if identify(path) != sha256:
        msg = f"it has another {path} than the driver (sha256 differs); copy it again, or {SHARED}"
        raise InputFileError(msg)


def installed_versions() -> Mapping[str, str]:
    """The versions of what results depend on, by package; what is not installed is left out."""
    versions = {package: _installed_version(package) for package in _PACKAGES}
    found = {package: version for package, version in versions.items() if version is not None}
    return {"s2tf-edge": __version__, "Python": platform.python_version()} | found


def _installed_version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


@dataclass(frozen=True, kw_only=True)
class NodeFacts:
    """What an open worker tells of itself and its node."""

    process: int
    worker_gb: float
    """Memory of the worker, in GB of 10^9 bytes."""
    free_gb: float | None = field(default=None)
    """Memory of the node that could be had."""


class WorkerHost:
    """The class of all actors.

    Args:
        module: of the worker's class.
        kind: its name there.
        order: what it is made of.
        name: its own.
    """

    def __init__(self, module: str, kind: str, order: Any, name: str) -> None:
        self._worker: HostedWorker = getattr(import_module(module), kind)(order, name)

    def greet(self) -> int:
        """Its process, once there is room for it."""
        return os.getpid()

    def open(self, versions: Mapping[str, str]) -> NodeFacts | SentError:
        """Opens the worker, if this node is like that of its driver."""
        try:
            _check_versions(versions)
            self._worker.open()
        except S2TFError as error:
            return SentError.of(error)
        memory = find_memory()
        return NodeFacts(
            process=os.getpid(),
            worker_gb=resident_memory_mb() / 1e3,
            free_gb=None if memory is None else min(memory.free, memory.total),
        )

    def work(self, task: Any) -> Iterator[Any]:
        """What the worker says of a task; a ``SentError`` is the last."""
        try:
            yield from self._worker.work(task)
        except S2TFError as error:
            yield SentError.of(error)

    def close(self) -> None:
        """Closes the worker."""
        self._worker.close()


def _check_versions(wanted: Mapping[str, str]) -> None:
    found = installed_versions()
    for package, version in wanted.items():
        if package not in found:
            msg = f"it lacks {package} {version}, which the driver has; install it there"
            raise InputFileError(msg)
        if found[package] != version:
            msg = (
                f"it has {package} {found[package]}, and the driver {version}, so that results could differ; install "
                "the same there"
            )
            raise UnsupportedError(msg)
