"""Connecting to a cluster of Ray: one that runs, or one of this machine's own that ends with its user.

Ray speaks much, asks its makers whether it may tell them how it is used, and waits without end for a cluster that does
not answer. Here it is silent, tells nobody, and is asked only once something answers that may be a cluster.
"""

from __future__ import annotations

import logging
import os
import re
import signal
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any, Final

from s2tf_edge.errors import SourceError, UsageError
from s2tf_edge.extras import require
from s2tf_edge.runtime.hardware import find_cores
from s2tf_edge.words import one_line

__all__ = ["AUTO", "check_address", "connect"]

logger = logging.getLogger(__name__)

AUTO: Final = "auto"
"""The cluster that runs on this machine, or else one that is started for the purpose."""
_ADDRESS: Final = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):(?P<port>[0-9]{1,5})")
_STORE_BYTES: Final = 80 * 2**20
"""Ray's shared memory; the least that it takes, as results do not go that way."""
_PROBE_SECONDS: Final = 5.0
_GREETING: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
"""What begins a connection to any server of gRPC, as a cluster's head is one."""
_SETTINGS: Final = 4
"""The type of frame, in the fourth byte, that such a server answers with."""
_STDERR: Final = 2
_PURPOSE: Final = "working on a cluster"


def check_address(address: str) -> None:
    """Sees that it is ``auto`` or the address of a cluster's head.

    Raises:
        UsageError: it is neither.
    """
    found = _ADDRESS.fullmatch(address)
    if address != AUTO and (found is None or not 0 < int(found["port"]) < 2**16):
        msg = f"`ray` must be auto or HOST:PORT of a cluster's head, such as 10.0.0.1:6379, got {address[:80]!r}"
        raise UsageError(msg)


@contextmanager
def connect(address: str = AUTO) -> Iterator[ModuleType]:
    """Ray, connected; what it began ends with the context, and so do all of this process's workers on the cluster.

    Args:
        address: ``auto``, or ``HOST:PORT`` of a cluster, of which this machine is a node.

    Raises:
        UsageError: it is no such address; or this process is connected already.
        MissingExtraError: Ray is not installed.
        SourceError: the cluster does not answer, or does not take this process.
    """
    check_address(address)
    # Read when Ray is imported, and handed on to what it starts.
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    # Else workers of a cluster that is started here go behind all other programs of the machine.
    os.environ.setdefault("RAY_worker_niceness", "0")
    ray = require("ray", extra="ray", purpose=_PURPOSE)
    if ray.is_initialized():
        msg = "this process is connected to a cluster already; end that with ray.shutdown() first"
        raise UsageError(msg)
    with _silence():
        try:
            with _kept_signals():
                _begin(ray, address)
            yield ray
        finally:
            ray.shutdown()


def _begin(ray: ModuleType, address: str) -> None:
    running = _find_running() if address == AUTO else address
    quietly: dict[str, Any] = {"log_to_driver": False, "configure_logging": False}
    if running is not None:
        _probe(running)
        quietly["address"] = running
    else:
        cores = max(1, int(find_cores().usable))
        logger.info("starting a cluster of this machine alone, with %d cores", cores)
        quietly |= {"address": "local", "num_cpus": cores, "include_dashboard": False}
        quietly |= {"object_store_memory": _STORE_BYTES, "_node_ip_address": "127.0.0.1"}
    said = ""
    try:
        with _caught_stderr() as caught, _without_dashboard():
            try:
                if running is not None:
                    _take_token(running)
                ray.init(**quietly)
            finally:
                said = caught()
    except SourceError:
        raise
    except Exception as error:
        where = f"at {running}" if running else "of this machine"
        msg = f"the cluster {where} cannot be used ({_reason(error)}); {_advice(f'{error} {said}')}"
        raise SourceError(msg) from error
    finally:
        logger.debug("Ray said: %s", said)


@contextmanager
def _without_dashboard() -> Iterator[None]:
    """Even where it is not asked for, Ray starts the process of its dashboard, which asks whether it is in a cloud.

    Where it cannot be started, Ray does without; so it is told that it cannot.
    """
    from ray._private import services

    start = services.start_api_server
    services.start_api_server = lambda *_, **__: (None, None)
    try:
        yield
    finally:
        services.start_api_server = start


def _take_token(address: str) -> None:
    """Has Ray use the user's token where a cluster asks for one, and only there: workers of others would not start."""
    if os.environ.get("RAY_AUTH_MODE"):
        return
    try:
        require("ray._raylet", extra="ray", purpose=_PURPOSE).GcsClient(address=address)
    except Exception as error:
        # Whatever else is wrong is said when Ray connects.
        if "AuthToken" in str(error):
            from ray._private.authentication import authentication_token_setup

            take = authentication_token_setup.maybe_enable_token_auth_if_token_available
            if not take(warn_if_disabled=False):
                msg = f"the cluster at {address} asks for a token; copy ~/.ray/auth_token of its head to this machine"
                raise SourceError(msg) from error


@contextmanager
def _caught_stderr() -> Iterator[Callable[[], str]]:
    """What is written to stderr meanwhile, by libraries past Python: Ray tells so of each attempt to connect."""
    with tempfile.TemporaryFile() as file:
        kept = os.dup(_STDERR)

        def caught() -> str:
            file.seek(0)
            return one_line(file.read().decode("utf-8", "replace"))

        try:
            os.dup2(file.fileno(), _STDERR)
            yield caught
        finally:
            os.dup2(kept, _STDERR)
            os.close(kept)


def _find_running() -> str | None:
    """The cluster that the environment names, or that was started on this machine last and still answers."""
    named = os.environ.get("RAY_ADDRESS", "")
    if named not in {"", AUTO, "local"}:
        check_address(named)
        return named
    if named == "local":
        return None
    from ray._private.services import find_bootstrap_address

    found = find_bootstrap_address(None)
    if found is None or _ADDRESS.fullmatch(found) is None:
        return None
    try:
        _probe(found)
    except SourceError:
        # One that was killed leaves its address behind.
        return None
    return str(found)


def _probe(address: str) -> None:
    """Sees that something answers as a cluster does.

    Raises:
        SourceError: nothing does.
    """
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=_PROBE_SECONDS) as connection:
            if os.environ.get("RAY_USE_TLS", "0") != "0":
                return
            connection.sendall(_GREETING)
            answer = connection.recv(9)
    except OSError as error:
        msg = f"no cluster answers at {address} ({one_line(error)}); `ray status` there tells whether it runs"
        raise SourceError(msg) from error
    if len(answer) < _SETTINGS or answer[_SETTINGS - 1] != _SETTINGS:
        msg = f"what answers at {address} is no cluster of Ray; give HOST:PORT that `ray start` printed there"
        raise SourceError(msg)


def _reason(error: Exception) -> str:
    words = one_line(error)
    return f"{type(error).__name__}: {words}"[:200] if words else type(error).__name__


def _advice(words: str) -> str:
    if "Version mismatch" in words:
        return "install the same versions of Python and ray on all machines"
    if "authtoken" in words.lower() or "authentication" in words.lower():
        return "copy ~/.ray/auth_token of its head to this machine"
    return "run this on a machine of the cluster, where `ray status` works"


@contextmanager
def _silence() -> Iterator[None]:
    """Keeps Ray from the terminal: its log, and what it prints of workers that died, which is told otherwise."""
    from ray._private import worker

    log = logging.getLogger("ray")
    level, printed = log.level, getattr(worker, "_worker_logs_enabled", True)
    if not logger.isEnabledFor(logging.DEBUG):
        log.setLevel(logging.CRITICAL)
    worker._worker_logs_enabled = False
    try:
        yield
    finally:
        worker._worker_logs_enabled = printed
        log.setLevel(level)


@contextmanager
def _kept_signals() -> Iterator[None]:
    """Ray takes SIGTERM for itself, as if the process were its own."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    kept = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)
