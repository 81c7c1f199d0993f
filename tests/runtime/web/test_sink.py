"""The server, over real connections."""

from __future__ import annotations

import contextlib
import http.client
import logging
import re
import select
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote, urlsplit

import numpy as np
import pytest

from s2tf_edge.errors import MissingExtraError, UsageError
from s2tf_edge.runtime.session import Session
from s2tf_edge.runtime.streaming.recognize import recognize
from s2tf_edge.runtime.streaming.stream_options import StreamOptions
from s2tf_edge.runtime.web import connection, crowd, wrong_tokens
from s2tf_edge.runtime.web import server as module
from s2tf_edge.runtime.web.connection import Connection
from s2tf_edge.runtime.web.history import History
from s2tf_edge.runtime.web.sink import WebSink

TOKEN = "correct-horse-battery"


def _place(sink: WebSink) -> tuple[str, int]:
    url = urlsplit(sink.url)
    return url.hostname or "", url.port or 0


def test_the_page_and_its_files_are_served(page: WebSink, get: Callable[..., Any]) -> None:
    answer = get(page)
    assert answer.status == 200
    assert answer.headers.get_content_type() == "text/html"
    for name in re.findall(r'(?:src|href)="([^"]+\.\w+)"', answer.text):
        part = get(page, f"/{name}")
        assert (part.status, part.headers["cache-control"]) == (200, "no-store")
    assert get(page, "/charts.js").headers.get_content_type() == "text/javascript"
    assert get(page, "/nothing").status == 404


def test_the_page_takes_nothing_from_elsewhere(page: WebSink, get: Callable[..., Any]) -> None:
    for path in ("/", "/page.css", "/page.js", "/charts.js"):
        answer = get(page, path)
        assert not re.search(r"(?<!www\.w3\.org)https?://|//cdn|@import", answer.text)
        assert answer.headers["content-security-policy"].startswith("default-src 'self'")
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_a_client_that_comes_late_gets_what_is_known_and_then_the_news(
    page: WebSink,
    make: SimpleNamespace,
    connect: Callable[..., http.client.HTTPResponse],
    read_events: Callable[..., list[dict[str, Any]]],
) -> None:
    for record in (make.start(), make.prediction("a <b>ä</b>"), make.event(), make.status()):
        page.write(record)
    response = connect(page, "/events")
    assert response.headers.get_content_type() == "text/event-stream"
    known = read_events(response, until="status")
    assert [record["type"] for record in known] == ["start", "prediction", "event", "status"]
    assert known[1]["label"] == "a <b>ä</b>"
    page.write(make.gap())
    assert [record["cause"] for record in read_events(response, until="gap")] == ["lost"]
    again = connect(page, "/events", Last_Event_ID=known[-1]["id"])
    assert [record["type"] for record in read_events(again, until="gap")] == ["gap"]


@pytest.mark.usefixtures("patient_end")
def test_closing_gives_clients_the_rest_and_ends_at_once(
    serve: Callable[..., WebSink],
    make: SimpleNamespace,
    connect: Callable[..., http.client.HTTPResponse],
    read_events: Callable[..., list[dict[str, Any]]],
) -> None:
    sink = serve()
    sink.write(make.start())
    sink.write(make.picture())
    response, pictures = connect(sink, "/events"), connect(sink, "/picture/0.mjpeg")
    read_events(response, until="start")
    assert _part(pictures)
    sink.write(make.summary())
    sink.close()
    assert [record["type"] for record in read_events(response)] == ["summary"]
    assert response.read() == b"\n"
    assert pictures.read() == b""
    assert not sink._server._thread.is_alive()
    with pytest.raises(ConnectionRefusedError, match="refused"):
        socket.create_connection(_place(sink))


def test_a_client_that_does_not_read_delays_neither_the_stream_nor_the_end(
    serve: Callable[..., WebSink],
    make: SimpleNamespace,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The moment that it waits for the client is the real one; after that it is cut off, and the server has time to end.
    monkeypatch.setattr(module, "_END_SECONDS", 60)
    sink = serve()
    # Small buffers on the way to the client are full soon.
    sink._server._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    label = "long " * 200
    sink.write(make.start())
    with socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.connect(_place(sink))
        slow.sendall(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert slow.recv(15) == b"HTTP/1.1 200 OK"
        deadline = time.monotonic() + 120
        while not _waits_for_a_client(sink):
            for _ in range(300):
                sink.write(make.prediction(label))
            assert time.monotonic() < deadline
            time.sleep(0.05)
        for _ in range(2000):
            sink.write(make.prediction(label))
        sink.close()
        assert not sink._server._thread.is_alive()
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def _waits_for_a_client(sink: WebSink) -> bool:
    connections = list(sink._server._server.server_state.connections)
    return any(isinstance(each, Connection) and each.flow.write_paused for each in connections)


def test_what_a_slow_client_missed_is_counted(
    page: WebSink,
    make: SimpleNamespace,
    get: Callable[..., Any],
    connect: Callable[..., http.client.HTTPResponse],
    read_events: Callable[..., list[dict[str, Any]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    is_slow, after = threading.Event(), History.after
    monkeypatch.setattr(History, "after", lambda self, number: [] if is_slow.is_set() else after(self, number))
    page.write(make.start())
    response = connect(page, "/events")
    read_events(response, until="start")
    is_slow.set()
    for _ in range(2000):
        page.write(make.prediction())
    page.write(make.summary())
    is_slow.clear()
    # The newest 300 predictions are kept.
    assert len(read_events(response)) == 301
    assert _missed(get(page, "/metrics").text) == 1700


def _missed(metrics: str) -> float:
    found = re.search(r"^s2tf_web_missed_total (\S+)", metrics, re.MULTILINE)
    assert found
    return float(found.group(1))


def test_pictures_are_there_one_by_one_and_as_a_stream(
    page: WebSink, make: SimpleNamespace, get: Callable[..., Any], connect: Callable[..., http.client.HTTPResponse]
) -> None:
    assert get(page, "/picture/0.jpg").status == 404
    assert get(page, "/picture/0.jpg?after=0").status == 204
    assert get(page, "/picture/0.mjpeg").status == 404
    page.write(make.picture(level=60))
    first = get(page, "/picture/0.jpg")
    assert (first.headers.get_content_type(), first.body[:2], first.body[-2:]) == (
        "image/jpeg",
        b"\xff\xd8",
        b"\xff\xd9",
    )
    assert get(page, f"/picture/0.jpg?after={first.headers['picture-number']}").status == 204
    stream = connect(page, "/picture/0.mjpeg")
    assert stream.headers["content-type"] == "multipart/x-mixed-replace; boundary=picture"
    assert _part(stream) == first.body
    page.write(make.picture(level=200))
    assert _part(stream) != first.body


def _part(response: http.client.HTTPResponse) -> bytes:
    assert response.readline() == b"--picture\r\n"
    assert response.readline() == b"Content-Type: image/jpeg\r\n"
    size = int(response.readline().split()[1])
    assert response.readline() == b"\r\n"
    data = response.read(size)
    assert response.readline() == b"\r\n"
    return data


def test_a_request_for_the_headers_of_a_stream_ends(
    page: WebSink, make: SimpleNamespace, connect: Callable[..., http.client.HTTPResponse]
) -> None:
    page.write(make.picture())
    for path in ("/events", "/picture/0.mjpeg", "/"):
        response = connect(page, path, method="HEAD")
        assert (response.status, response.read()) == (200, b"")


def test_masks_are_there_where_the_network_has_them(
    page: WebSink, make: SimpleNamespace, get: Callable[..., Any]
) -> None:
    assert get(page, "/saliency/0").status == 404
    page.write(make.prediction(mask=np.array([[0.0, 0.5, 1.0], [2.0, -1.0, np.nan]], np.float32)))
    page.write(make.prediction())
    assert get(page, "/saliency/0").json == {"t_end": 1.0, "box": None, "rows": [[0, 128, 255], [255, 0, 0]]}


def test_metrics_and_health_are_there(page: WebSink, make: SimpleNamespace, get: Callable[..., Any]) -> None:
    starting = get(page, "/healthz")
    assert (starting.status, starting.json["status"]) == (503, "starting")
    page.write(make.start())
    page.write(make.status())
    assert (get(page, "/healthz").status, get(page, "/healthz").json["status"]) == (200, "ok")
    page.write(make.status(make.source_status(state="lost", message="no answer")))
    lost = get(page, "/healthz")
    assert (lost.status, lost.json["reason"]) == (503, "no answer")
    metrics = get(page, "/metrics")
    assert metrics.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert 's2tf_up{index="0",source="front door"} 0.0' in metrics.text


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "", "[::2]"])
def test_on_loopback_a_page_of_another_name_is_refused(page: WebSink, get: Callable[..., Any], host: str) -> None:
    assert get(page, "/events", Host=host).status == 421


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:1234", "[::1]:80", "LocalHost:9"])
def test_the_names_of_this_machine_are_let_in(page: WebSink, get: Callable[..., Any], host: str) -> None:
    assert get(page, "/healthz", Host=host).status == 503


@pytest.mark.parametrize("path", ["/picture/{}.jpg", "/picture/{}.mjpeg", "/saliency/{}", "/picture/0.jpg?after={}"])
def test_a_number_of_thousands_of_digits_is_of_nothing(
    page: WebSink, get: Callable[..., Any], caplog: pytest.LogCaptureFixture, path: str
) -> None:
    assert get(page, path.format("9" * 4400)).status in (204, 404)
    assert caplog.messages == []


def test_whoever_has_no_token_sees_nothing(
    serve: Callable[..., WebSink], make: SimpleNamespace, get: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wrong_tokens, "_FIRST_SECONDS", 0.0)
    sink = serve("0.0.0.0:0", token=TOKEN)
    sink.write(make.start())
    for path in ("/", "/events", "/metrics", "/healthz", "/picture/0.jpg", "/saliency/0", "/page.js", "/nothing"):
        for headers in ({}, {"Authorization": "Bearer wrong-token"}, {"Cookie": f"s2tf_{_place(sink)[1]}={TOKEN}"}):
            answer = get(sink, path, **headers)
            assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert get(sink, "/?token=wrong-token").status == 401
    assert get(sink, "/healthz", Authorization=f"Bearer {TOKEN}", Host="any.name").status == 200


def test_wrong_tokens_are_logged_and_answered_later_while_right_ones_are_let_in(
    serve: Callable[..., WebSink],
    make: SimpleNamespace,
    get: Callable[..., Any],
    connect: Callable[..., http.client.HTTPResponse],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The fourth is told so after the test.
    monkeypatch.setattr(wrong_tokens, "_FIRST_SECONDS", 600.0)
    monkeypatch.setattr(wrong_tokens, "_LONGEST_SECONDS", 600.0)
    monkeypatch.setattr(wrong_tokens, "_MAX_WAIT_SECONDS", 600.0)
    sink = serve(token=TOKEN)
    sink.write(make.start())
    for headers in ({"Authorization": "Bearer wrong-token"}, {"Authorization": "bearer wrong-token"}):
        assert get(sink, "/healthz", **headers).status == 401
    assert get(sink, "/healthz?token=wrong-token").status == 401
    # What shows no token, or the cookie of another run, is no guess.
    assert [get(sink, "/healthz").status, get(sink, "/", Cookie=f"s2tf_{_place(sink)[1]}=old").status] == [401, 401]
    with socket.create_connection(_place(sink), timeout=60) as guessing:
        guessing.sendall(b"GET /healthz?token=wrong-token HTTP/1.1\r\nHost: localhost\r\n\r\n")
        while len(caplog.messages) < 3:
            time.sleep(0.01)
        # Now that one waits, another is not even let wait, and whoever has the token is let in.
        refused = get(sink, "/healthz?token=wrong-token")
        assert (refused.status, refused.headers["retry-after"]) == (429, "10")
        assert get(sink, "/healthz", Authorization=f"Bearer {TOKEN}").status == 200
        assert get(sink, f"/?token={TOKEN}").status == 303
        sink.close()
        assert guessing.recv(12) == b"HTTP/1.1 401"
    assert [message for message in caplog.messages if "token" in message] == [
        "wrong token from 127.0.0.1",
        "wrong token from 127.0.0.1, 2 by now",
        "wrong token from 127.0.0.1, 4 by now",
    ]


def test_a_token_in_the_address_becomes_a_cookie(
    serve: Callable[..., WebSink],
    make: SimpleNamespace,
    get: Callable[..., Any],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    sink = serve(token=TOKEN)
    sink.write(make.start())
    answer = get(sink, f"/healthz?a=b&token={TOKEN}")
    assert (answer.status, answer.headers["location"]) == (303, "healthz?a=b")
    assert get(sink, f"/?token={TOKEN}").headers["location"] == "."
    cookie, *attributes = answer.headers["set-cookie"].split("; ")
    assert {"HttpOnly", "SameSite=strict", "Path=/"} <= set(attributes)
    assert TOKEN not in cookie
    assert get(sink, "/healthz", Cookie=f"other=1; {cookie}").status == 200
    assert get(sink, "/healthz", Cookie=cookie[:-1]).status == 401
    assert TOKEN not in caplog.text


def test_what_cannot_be_served_is_said_before_anything_runs(page: WebSink) -> None:
    with pytest.raises(UsageError, match=f"port {_place(page)[1]} is taken"):
        WebSink(f"127.0.0.1:{_place(page)[1]}")
    with pytest.raises(UsageError, match="give a `token=TOKEN`"):
        WebSink("0.0.0.0:0")


def test_a_missing_extra_ends_in_the_pip_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(MissingExtraError, match=r"pip install 's2tf-edge\[web\]'$"):
        WebSink("127.0.0.1:0")


@pytest.mark.usefixtures("patient_end")
@pytest.mark.parametrize("started", [False, True])
def test_a_sink_closes_before_it_has_begun_to_answer(started: bool) -> None:
    sink = WebSink("127.0.0.1:0")
    place = _place(sink)
    if started:
        sink.start()
    sink.close()
    assert not sink._server._thread.is_alive()
    with pytest.raises(ConnectionRefusedError, match="refused"):
        socket.create_connection(place)


def test_what_is_no_number_is_none(page: WebSink, make: SimpleNamespace, get: Callable[..., Any]) -> None:
    page.write(make.picture())
    for after in ("", "-1", "x", "²", "9" * 5000):
        assert get(page, f"/picture/0.jpg?after={quote(after)}").status == 200
    for source in ("x", "-1", "1.5", "7"):
        assert get(page, f"/picture/{source}.jpg").status == 404


def test_a_stream_is_shown_as_it_runs(
    page: WebSink,
    make_video: Callable[..., Path],
    brightness: Session,
    get: Callable[..., Any],
    connect: Callable[..., http.client.HTTPResponse],
    read_events: Callable[..., list[dict[str, Any]]],
) -> None:
    response = connect(page, "/events")
    path = make_video("steps.mp4", [25] * 50 + [127] * 50)
    for record in recognize(path, brightness, options=StreamOptions(pictures=True)):
        page.write(record)
    records = read_events(response)
    assert [record["type"] for record in (records[0], records[-1])] == ["start", "summary"]
    assert [record["label"] for record in records if record["type"] == "event"] == ["dark", "gray"]
    assert get(page, "/picture/0.jpg").headers["picture-number"] == "100"
    assert get(page, "/healthz").json["status"] == "ended"
    predictions = [record for record in records if record["type"] == "prediction"]
    count = f's2tf_label_age_seconds_count{{index="0",source="{records[0]["sources"][0]}"}} {float(len(predictions))}'
    assert count in get(page, "/metrics").text


def test_connections_that_ask_for_nothing_do_not_keep_others_out(
    page: WebSink, get: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(connection, "REQUEST_SECONDS", 0.2)
        idle = [socket.create_connection(_place(page), timeout=60) for _ in range(10)]
        # Closed by the other side: nothing more to read.
        assert [each.recv(1) for each in idle] == [b""] * len(idle)
    for each in idle:
        each.close()
    assert get(page, "/page.js").status == 200


_HALF = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: "
_WHOLE = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.mark.parametrize(
    ("begun", "answer"),
    [
        (b"", b""),
        (_HALF, b""),
        # The answer comes before the body, and does not win it any time.
        (b"POST /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999999\r\n\r\n", b"HTTP/1.1 405"),
        (b"GET /events HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999999\r\n\r\n", b"HTTP/1.1 200"),
        (_WHOLE + _HALF, b"HTTP/1.1 200"),
        (_WHOLE + _WHOLE, b"HTTP/1.1 200"),
    ],
    ids=[
        "nothing",
        "half a request",
        "half a body",
        "half a body of a stream",
        "a second half",
        "two and then nothing",
    ],
)
def test_a_request_that_comes_byte_by_byte_is_cut(
    page: WebSink, make: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, begun: bytes, answer: bytes
) -> None:
    # Long enough for a busy machine to send what is sent at once.
    monkeypatch.setattr(connection, "REQUEST_SECONDS", 1.0)
    page.write(make.start())
    with socket.create_connection(_place(page)) as slow:
        slow.sendall(begun)
        received = _drip(slow)
    assert received.startswith(answer)
    assert received.count(b"HTTP/1.1") == begun.count(_WHOLE) + (b"POST" in begun or b"/events" in begun)


def _drip(slow: socket.socket) -> bytes:
    """Sends a byte now and then until the other side has had enough; gives what it said."""
    received, deadline = b"", time.monotonic() + 120
    with contextlib.suppress(ConnectionError):
        while time.monotonic() < deadline:
            if select.select([slow], [], [], 0.02)[0]:
                part = slow.recv(65536)
                received += part
                if not part:
                    return received
            else:
                slow.send(b"x")
        pytest.fail("it was never cut")
    return received


def test_half_open_requests_keep_nobody_out(page: WebSink, make: SimpleNamespace, get: Callable[..., Any]) -> None:
    page.write(make.start())
    with contextlib.ExitStack() as stack:
        # More than are let wait: the oldest of them are cut.
        for _ in range(connection._MAX_WAITING + 20):
            half_open = stack.enter_context(socket.create_connection(_place(page), timeout=60))
            half_open.sendall(_HALF)
        for path in ("/healthz", "/metrics", "/"):
            assert get(page, path).status == 200


def test_of_the_connections_that_wait_the_oldest_go_and_those_that_are_answered_stay(
    page: WebSink,
    make: SimpleNamespace,
    connect: Callable[..., http.client.HTTPResponse],
    read_events: Callable[..., list[dict[str, Any]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection, "_MAX_WAITING", 2)
    monkeypatch.setattr(connection, "REQUEST_SECONDS", 600.0)
    page.write(make.start())
    stream = connect(page, "/events")
    read_events(stream, until="start")
    with contextlib.ExitStack() as stack:
        places = [_place(page)] * 4
        first, second, *_ = [stack.enter_context(socket.create_connection(place, timeout=60)) for place in places]
        for cut in (first, second):
            with contextlib.suppress(ConnectionResetError):
                assert cut.recv(1) == b""
        page.write(make.gap())
        assert read_events(stream, until="gap")


def test_health_is_told_whatever_the_crowd(
    page: WebSink,
    make: SimpleNamespace,
    get: Callable[..., Any],
    connect: Callable[..., http.client.HTTPResponse],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(crowd, "_MAX_REQUESTS", 2)
    page.write(make.start())
    streams = [connect(page, "/events") for _ in range(3)]
    assert [stream.status for stream in streams] == [200, 200, 503]
    assert (get(page, "/metrics").status, get(page, "/metrics").headers["retry-after"]) == (503, "5")
    assert get(page, "/healthz").status == 200
