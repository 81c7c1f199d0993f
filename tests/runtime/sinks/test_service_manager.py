"""What a service manager is told, by a real datagram socket that stands for the manager's."""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

import pytest

from s2tf_edge.runtime.session import Session
from s2tf_edge.runtime.sinks.service_manager import NotifySocket, ServiceSink
from s2tf_edge.runtime.sources.source import Source
from s2tf_edge.runtime.streaming.recognize import recognize
from s2tf_edge.runtime.streaming.records import Prediction, SourceStatus, Start, Status, Summary
from s2tf_edge.runtime.streaming.regions import Region
from s2tf_edge.runtime.streaming.stream_options import StreamOptions
from s2tf_edge.spec import ClipSpec

_PATIENCE_SECONDS: Final = 300.0
"""No test waits that long unless something hangs, however busy the machine is."""


class Manager(Protocol):
    """The fixture ``manager``: a socket as systemd has it."""

    address: str

    def next(self) -> list[str]:
        """The lines of the next message, which is waited for."""

    def told(self) -> list[list[str]]:
        """All messages that have come."""


def _source(**values: object) -> SourceStatus:
    plain = {"name": "gate", "state": "playing", "frames": 10, "windows": 2, "gaps": 0, "reconnects": 0}
    plain |= {"position_seconds": 1.0, "duration_seconds": None, "message": None}
    return SourceStatus(**(plain | values))  # type: ignore[arg-type]


def _start(*sources: str, pictures: tuple[int, ...] = ()) -> Start:
    spec = ClipSpec(frames=4, size=16)
    plain = {
        "artifact": "a",
        "network": "n",
        "target": "onnx",
        "precision": "fp32",
        "policy": "latest",
        "smooth": "none",
    }
    return Start(clip=spec, labels=3, hop=1, threshold=0.3, sources=sources, pictures=pictures, **plain)  # type: ignore[arg-type]


def _status(*sources: SourceStatus, seconds: float = 2.0, **values: object) -> Status:
    plain: dict[str, object] = {"drops": {}, "stages_ms": {}, "sources": sources or (_source(),)}
    return Status(seconds=seconds, **(plain | values))  # type: ignore[arg-type]


@pytest.mark.parametrize("abstract", [False, True])
def test_a_socket_is_told_wherever_it_is(make_manager: Callable[..., Manager], abstract: bool) -> None:
    manager = make_manager(abstract=abstract)
    assert manager.address.startswith("@" if abstract else "/")
    NotifySocket(manager.address).send("READY=1", "STATUS=well")
    assert manager.next() == ["READY=1", "STATUS=well"]


@pytest.mark.parametrize(
    ("environment", "watchdog_seconds"),
    [
        ({"NOTIFY_SOCKET": "/run/notify"}, None),
        ({"NOTIFY_SOCKET": "@abstract", "WATCHDOG_USEC": "60000000"}, 60.0),
        ({"NOTIFY_SOCKET": "/run/notify", "WATCHDOG_USEC": "60000000", "WATCHDOG_PID": str(os.getpid())}, 60.0),
        ({"NOTIFY_SOCKET": "/run/notify", "WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "1"}, None),
        ({"NOTIFY_SOCKET": "/run/notify", "WATCHDOG_USEC": "soon"}, None),
        ({"NOTIFY_SOCKET": "/run/notify", "WATCHDOG_USEC": "0"}, None),
    ],
)
def test_the_environment_says_where_and_how_often(environment: dict[str, str], watchdog_seconds: float | None) -> None:
    notify = NotifySocket.from_environment(environment)
    assert notify is not None
    assert notify.watchdog_seconds == watchdog_seconds
    assert notify.beat_seconds == 5.0


@pytest.mark.parametrize("environment", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "vsock:2:1234"}])
def test_without_a_manager_nobody_is_told(environment: dict[str, str]) -> None:
    assert NotifySocket.from_environment(environment) is None


def test_a_manager_that_is_gone_is_no_reason_to_fail(tmp_path: Path) -> None:
    NotifySocket(str(tmp_path / "gone")).send("READY=1")


def test_it_is_ready_once_a_source_was_opened(manager: Manager) -> None:
    sink = ServiceSink(NotifySocket(manager.address))
    sink.write(_status(_source(state="waiting", frames=0)))
    assert [message[0].partition("=")[0] for message in manager.told()] == ["STATUS"]
    sink.write(_status(_source(state="waiting"), _source(state="playing")))
    assert manager.told() == [["READY=1"]]


def test_a_camera_that_is_away_at_the_start_keeps_nobody_waiting(manager: Manager) -> None:
    sink = ServiceSink(NotifySocket(manager.address, watchdog_seconds=60))
    sink.write(_status(_source(state="lost", frames=0, name="yard\nREADY=0\x1b")))
    ready, (status, watchdog) = manager.told()
    assert (ready, watchdog) == (["READY=1"], "WATCHDOG=1")
    assert status == "STATUS=0 of 1 source playing; 0.0 frames/s, 1.0 windows/s; away: yard READY=0\\x1b"


def test_what_is_over_before_a_status_was_ready(manager: Manager) -> None:
    summary = {"interrupted": False, "windows": 1, "events": 0, "gaps": 0, "drops": {}, "stages_ms": {}, "sources": ()}
    ServiceSink(NotifySocket(manager.address)).write(Summary(seconds=0.1, frames_in=0, **summary))  # type: ignore[arg-type]
    assert manager.told() == []
    ServiceSink(NotifySocket(manager.address)).write(Summary(seconds=0.1, frames_in=9, **summary))  # type: ignore[arg-type]
    assert manager.told() == [["READY=1"]]


def test_the_line_has_rates_ages_and_what_was_left_out(manager: Manager) -> None:
    now = [0.0]
    sink = ServiceSink(NotifySocket(manager.address), clock=lambda: now[0])
    sink.write(_start("gate", "gate", pictures=(0, 0)))
    sink.write(_status(_source(frames=50, windows=10), _source(frames=50, windows=0)))
    now[0] = 4.9
    sink.write(_status(_source(frames=100), _source(frames=100), seconds=6.9))
    now[0] = 5.0
    more = {"drops": {"windows_superseded": 3}, "stages_ms": {"age": {"p50": 80.0, "p95": 181.2, "p99": 200.0}}}
    sink.write(_status(_source(frames=175, windows=15), _source(frames=175, windows=15), seconds=7.0, **more))
    ready, first, second = manager.told()
    assert ready == ["READY=1"]
    assert first == ["STATUS=2 of 2 sources playing; 25.0 frames/s, 5.0 windows/s"]
    rates = "25.0 frames/s, 4.0 windows/s, label age p95 181 ms"
    assert second == [f"STATUS=2 of 2 sources playing; {rates}; left out: 3 windows superseded"]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"network_seconds": 61.0}, "the network has not answered for 61 s"),
        ({"reader_seconds": 75.4}, "a reader has been at work on one frame for 75 s"),
    ],
)
def test_what_hangs_gives_no_sign_of_life(
    manager: Manager, values: dict[str, object], words: str, caplog: pytest.LogCaptureFixture
) -> None:
    now = [0.0]
    sink = ServiceSink(NotifySocket(manager.address, watchdog_seconds=60), clock=lambda: now[0])
    for values_now in ({}, values, values, {}):
        sink.write(_status(**values_now))  # type: ignore[arg-type]
        now[0] += 20
    _, *messages = manager.told()
    assert ["WATCHDOG=1" in message for message in messages] == [True, False, False, True]
    assert messages[1] == [f"STATUS={words}"]
    assert caplog.messages == [f"{words}; the service manager is not told that all is well"]


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ("network", "STATUS=the network has not answered for"),
        ("reader", "STATUS=a reader has been at work on one frame"),
    ],
)
def test_what_hangs_in_a_real_stream_lets_the_watchdog_bite(
    manager: Manager, brightness: Session, instant_source: Callable[..., Source], where: str, words: str
) -> None:
    """A run of the network, or the work on a frame, is made to wait, and goes on once the test lets it."""
    hangs_at, goes_on, stop = itertools.count(), threading.Event(), threading.Event()

    def wait_once(*_: object) -> tuple[Region, ...]:
        # Not the first, which of the network is the warm-up, before anything is read.
        if next(hangs_at) == 3:
            goes_on.wait(_PATIENCE_SECONDS)
        return (Region(name="a", box=(0, 0, 1, 1)),)

    if where == "network":
        brightness.before_run = wait_once  # type: ignore[attr-defined]
    options = StreamOptions(status_seconds=0.05, regions=wait_once if where == "reader" else ())
    sink = ServiceSink(NotifySocket(manager.address, watchdog_seconds=0.3))

    def stream() -> None:
        for record in recognize([instant_source(seconds=10**6)], brightness, options=options, stop=stop):
            sink.write(record)

    thread = threading.Thread(target=stream)
    thread.start()
    try:
        while manager.next() != ["READY=1"]:
            pass
        while not manager.next()[0].startswith(words):
            pass
        # However long it takes: as it hangs, there is no sign of life among those that follow.
        following = [manager.next() for _ in range(5)]
        assert [(message[0].startswith(words), len(message)) for message in following] == [(True, 1)] * 5
        goes_on.set()
        while "WATCHDOG=1" not in manager.next():
            pass
    finally:
        goes_on.set()
        stop.set()
        thread.join()


def test_a_prediction_is_proof_enough(manager: Manager) -> None:
    sink = ServiceSink(NotifySocket(manager.address))
    values = {"t_start": 0.0, "t_end": 1.0, "label": "a", "score": 0.5, "topk": (), "age_ms": 1.0, "infer_ms": 1.0}
    for _ in range(2):
        sink.write(Prediction(source=0, **values))  # type: ignore[arg-type]
    assert manager.told() == [["READY=1"]]
