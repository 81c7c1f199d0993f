"""Records made by hand, and real servers that show them."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from s2tf_edge.runtime.streaming.records import (
    Action,
    Event,
    Failure,
    Gap,
    Picture,
    Prediction,
    SourceStatus,
    Start,
    Status,
    Summary,
)
from s2tf_edge.runtime.web import server
from s2tf_edge.runtime.web.sink import WebSink
from s2tf_edge.spec import ClipSpec

CLIP = ClipSpec(frames=16, stride=2, fps=25.0, size=64, resize_short_side=128)


def _start(*sources: str, clip: ClipSpec = CLIP) -> Start:
    return Start(
        artifact="models/net_openvino_fp16",
        network="x3d_s",
        target="openvino",
        precision="fp16",
        clip=clip,
        labels=3,
        hop=4,
        policy="auto",
        smooth="ema:0.6",
        threshold=0.3,
        sources=sources or ("front door",),
    )


def _prediction(
    label: str = "waving", score: float = 0.75, *, at: float = 1.0, source: int = 0, **more: Any
) -> Prediction:
    more.setdefault("topk", ((label, score), ("sitting", (1 - score) / 2)))
    if score >= 0.3:
        more.setdefault("action", Action(label=label, t_start=at - 1, score=score))
    return Prediction(
        source=source,
        t_start=at - 1,
        t_end=at,
        label=label,
        score=score,
        age_ms=120.0,
        infer_ms=80.0,
        stages_ms={"wait": 5.0, "preprocess": 10.0, "queue": 20.0, "infer": 80.0, "smooth": 5.0},
        **more,
    )


def _event(label: str = "waving", *, t_start: float = 0.0, t_end: float = 4.0, source: int = 0) -> Event:
    return Event(source=source, label=label, t_start=t_start, t_end=t_end, score=0.8)


def _gap(*, cause: str = "lost") -> Gap:
    return Gap(source=0, t_start=4.0, t_end=6.0, cause=cause)


def _failure(name: str = "front door", *, source: int = 0) -> Failure:
    return Failure(source=source, name=name, message=f"{name} cannot be opened", exit_code=8)


def _source_status(name: str = "front door", state: str = "playing", **more: Any) -> SourceStatus:
    values: dict[str, Any] = {"frames": 50, "windows": 12, "gaps": 1, "reconnects": 2, "position_seconds": 2.0}
    values |= {"duration_seconds": None, "message": None}
    return SourceStatus(name=name, state=state, **(values | more))


def _status(*sources: SourceStatus, seconds: float = 2.0, drops: int = 7, network_seconds: float = 0.0) -> Status:
    return Status(
        seconds=seconds,
        drops={"windows_superseded": drops},
        network_seconds=network_seconds,
        stages_ms={"age": {"p50": 120.0, "p95": 180.0, "p99": 200.0, "max": 210.0, "n": 12}},
        sources=sources or (_source_status(),),
    )


def _summary() -> Summary:
    return Summary(
        seconds=12.0,
        interrupted=False,
        frames_in=300,
        windows=72,
        events=2,
        gaps=1,
        drops={"windows_superseded": 9},
        stages_ms={},
        sources=(),
    )


def _picture(*, level: int = 90, height: int = 120, width: int = 160, source: int = 0, at: float = 0.0) -> Picture:
    image: NDArray[np.uint8] = np.full((height, width, 3), level, np.uint8)
    return Picture(source=source, pts_seconds=at, frame=av.VideoFrame.from_ndarray(image, format="rgb24"))


@pytest.fixture(scope="session")
def make() -> SimpleNamespace:
    """One function for each type of record."""
    return SimpleNamespace(
        start=_start,
        prediction=_prediction,
        event=_event,
        gap=_gap,
        failure=_failure,
        source_status=_source_status,
        status=_status,
        summary=_summary,
        picture=_picture,
    )


@pytest.fixture
def serve() -> Iterator[Callable[..., WebSink]]:
    """Starts a server at a free port, or where it is told to."""
    with ExitStack() as stack:

        def start(address: str = "127.0.0.1:0", **options: Any) -> WebSink:
            sink = stack.enter_context(closing(WebSink(address, **options)))
            sink.start()
            return sink

        yield start


@pytest.fixture
def patient_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gives clients all the time they need to take what they do not have yet; for tests whose clients take it."""
    monkeypatch.setattr(server, "_GRACE_SECONDS", 60.0)
    monkeypatch.setattr(server, "_END_SECONDS", 60)


@pytest.fixture
def page(serve: Callable[..., WebSink]) -> WebSink:
    return serve()


class Answer:
    """What a server said."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@pytest.fixture
def connect() -> Iterator[Callable[..., http.client.HTTPResponse]]:
    """Sends a request; the answer's body is still to be read."""
    with ExitStack() as stack:

        def send(sink: WebSink, path: str = "/", *, method: str = "GET", **headers: str) -> http.client.HTTPResponse:
            host = urlsplit(sink.url)
            connection = stack.enter_context(
                closing(http.client.HTTPConnection(host.hostname or "", host.port, timeout=60))
            )
            connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
            return connection.getresponse()

        yield send


@pytest.fixture
def get(connect: Callable[..., http.client.HTTPResponse]) -> Callable[..., Answer]:
    """Sends a request and reads all of the answer."""
    return lambda *place, **headers: Answer(connect(*place, **headers))


@pytest.fixture
def read_events() -> Callable[..., list[dict[str, Any]]]:
    """Reads records from an answer of /events until one of the type that is waited for, or to the end."""

    def read(response: http.client.HTTPResponse, *, until: str = "summary") -> list[dict[str, Any]]:
        records: list[dict[str, Any]] = []
        event_id = ""
        for line in response:
            if line.startswith(b"id: "):
                event_id = line[4:].decode().strip()
            elif line.startswith(b"data: "):
                records.append({"id": event_id, **json.loads(line[6:])})
                if records[-1]["type"] == until:
                    break
        return records

    return read
