"""Events posted to a real server that answers, fails, hangs or is not there."""

from __future__ import annotations

import base64
import json
import queue
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from s2tf_edge.errors import UsageError
from s2tf_edge.runtime.sinks.alerts.webhook import WebhookSink
from s2tf_edge.runtime.streaming.records import Record, Start

Action = Callable[[str], list[Record]]


class Receiver:
    """Answers each post with the next of its codes, the last for ever; lets the test see what came."""

    def __init__(self, *codes: int, headers: dict[str, str] | None = None) -> None:
        self.posts: queue.Queue[tuple[dict[str, str], dict[str, Any], str]] = queue.Queue()
        self.may_answer = threading.Event()
        self.may_answer.set()
        left = [*codes]
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                receiver.posts.put((dict(self.headers), body, self.path))
                receiver.may_answer.wait()
                self.send_response(left.pop(0) if len(left) > 1 else left[0])
                for name, value in (headers or {}).items():
                    self.send_header(name, value)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *arguments: object) -> None:
                del format, arguments

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.host = f"127.0.0.1:{self.server.server_port}"
        self._thread = threading.Thread(target=self.server.serve_forever)
        self._thread.start()

    def close(self) -> None:
        self.may_answer.set()
        self.server.shutdown()
        self._thread.join()
        self.server.server_close()


@pytest.fixture
def receive() -> Iterator[Callable[..., Receiver]]:
    receivers: list[Receiver] = []

    def make(*codes: int, headers: dict[str, str] | None = None) -> Receiver:
        receivers.append(Receiver(*codes, headers=headers))
        return receivers[-1]

    yield make
    for each in receivers:
        each.close()


def _post(sink: WebhookSink, *records: Record) -> None:
    for record in records:
        sink.write(record)
    sink.close()


@pytest.mark.parametrize(
    ("userinfo", "token", "sent"),
    [
        ("", None, None),
        ("", "s3cret", "Bearer s3cret"),
        ("me:p%40ss@", None, f"Basic {base64.b64encode(b'me:p@ss').decode()}"),
    ],
)
def test_an_action_is_posted(
    receive: Callable[..., Receiver], action: Action, begin: Start, userinfo: str, token: str | None, sent: str | None
) -> None:
    receiver = receive(200)
    sink = WebhookSink(f"http://{userinfo}{receiver.host}/ä/x?key=1#part", token=token, patience_seconds=120)
    _post(sink, begin, *action("a"))
    for phase in ("begin", "end"):
        headers, body, path = receiver.posts.get_nowait()
        assert (body["phase"], body["label"], body["name"]) == (phase, "a", "camera 0")
        assert headers["Content-Type"] == "application/json"
        assert (path, headers.get("Authorization")) == ("/%C3%A4/x?key=1", sent)


def test_the_host_may_be_of_any_letters(receive: Callable[..., Receiver], action: Action) -> None:
    receiver = receive(200)
    # By the rules of such names, full-width letters are those of localhost.
    sink = WebhookSink(f"http://{receiver.host.replace('127.0.0.1', 'ｌｏｃａｌｈｏｓｔ')}/", patience_seconds=120)
    _post(sink, action("a")[0])
    headers, _, _ = receiver.posts.get_nowait()
    assert headers["Host"] == receiver.host.replace("127.0.0.1", "localhost")


@pytest.mark.parametrize("code", [503, 429])
def test_where_it_fails_twice_it_is_posted_a_third_time(
    receive: Callable[..., Receiver], action: Action, code: int, caplog: pytest.LogCaptureFixture
) -> None:
    receiver = receive(code, code, 204)
    _post(WebhookSink(f"http://{receiver.host}/", patience_seconds=120), action("a")[0])
    assert receiver.posts.qsize() == 3
    assert caplog.messages == [f"webhook http://{receiver.host} answers {code}; trying again"]


@pytest.mark.parametrize("code", [400, 404, 302, 308])
def test_a_refusal_is_final_and_a_redirect_is_not_followed(
    receive: Callable[..., Receiver], action: Action, code: int, caplog: pytest.LogCaptureFixture
) -> None:
    other = receive(200)
    receiver = receive(code, headers={"Location": f"http://{other.host}/secret"})
    _post(WebhookSink(f"http://{receiver.host}/", token="s3cret", patience_seconds=120), action("a")[0])
    assert (receiver.posts.qsize(), other.posts.qsize()) == (1, 0)
    assert f"refuses an event with {code}" in caplog.text
    assert "secret" not in caplog.text


def test_a_server_that_hangs_holds_nobody_up_and_the_oldest_are_left_out(
    receive: Callable[..., Receiver], action: Action, caplog: pytest.LogCaptureFixture
) -> None:
    receiver = receive(200)
    receiver.may_answer.clear()
    sink = WebhookSink(f"http://{receiver.host}/", timeout_seconds=120, patience_seconds=120)
    sink.write(action("first")[0])
    assert receiver.posts.get(timeout=120)[1]["label"] == "first"
    for number in range(300):
        sink.write(action(f"{number}")[0])
    receiver.may_answer.set()
    sink.close()
    labels = [receiver.posts.get_nowait()[1]["label"] for _ in range(receiver.posts.qsize())]
    assert labels == [str(number) for number in range(44, 300)]
    assert "45 events could not be told in time" in caplog.text


def test_at_the_end_a_server_that_hangs_is_not_waited_for_long(
    receive: Callable[..., Receiver], action: Action, caplog: pytest.LogCaptureFixture
) -> None:
    receiver = receive(200)
    receiver.may_answer.clear()
    _post(WebhookSink(f"http://{receiver.host}/", timeout_seconds=120, patience_seconds=0.2), *action("a"))
    assert "2 events could not be told in time" in caplog.text


def test_a_server_that_is_not_there(action: Action, caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"http://me:hunter2@127.0.0.1:{port}/hunter2?token=hunter2"
    _post(WebhookSink(url, patience_seconds=0.5), action("a")[0])
    told = f"webhook http://127.0.0.1:{port}"
    assert caplog.messages[0] == f"{told} cannot be reached (Connection refused); trying again"
    assert "1 events could not be told" in caplog.messages[1]
    assert "hunter2" not in caplog.text


@pytest.mark.parametrize(
    "url",
    [
        *("", "hunter2@host/x", "ftp://me:hunter2@host/", "http://", "http://host:x/hunter2", "http://host/hunter2 x"),
        *("http://a..hunter2/", f"http://{'hunter2' * 10}/"),
    ],
)
def test_what_is_no_address_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(UsageError, match=r"give http\(s\)://HOST/PATH") as caught:
        WebhookSink(url)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(("url", "token"), [("http://me:x@host/", "hunter2"), ("http://host/", "hunter2\n")])
def test_a_token_that_cannot_be_sent_is_refused_without_showing_it(url: str, token: str) -> None:
    with pytest.raises(UsageError, match="token") as caught:
        WebhookSink(url, token=token)
    assert "hunter2" not in str(caught.value)
