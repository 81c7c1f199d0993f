"""Addresses of clusters, and what answers there."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from s2tf_edge.errors import MissingExtraError, SourceError, UsageError
from s2tf_edge.runtime.archives.cluster.connection import check_address, connect


@pytest.mark.parametrize("address", ["auto", "10.0.0.1:6379", "head.example:1", "[::1]:65535"])
def test_addresses(address: str) -> None:
    check_address(address)


@pytest.mark.parametrize(
    "address", ["", "head", "10.0.0.1:0", "10.0.0.1:65536", "ray://head:10001", "a b:1", "local", "x:6379\x1b[2J"]
)
def test_what_is_no_address(address: str) -> None:
    with pytest.raises(UsageError, match=r"`ray` must be auto or HOST:PORT of a cluster's head, such as"):
        check_address(address)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_nothing_answers() -> None:
    with pytest.raises(SourceError, match=r"no cluster answers at 127\.0\.0\.1:1 \(.*refused"), connect("127.0.0.1:1"):
        pass


@pytest.fixture
def web_server() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), SimpleHTTPRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_something_else_answers(web_server: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SourceError, match=r"what answers at .* is no cluster of Ray"), connect(web_server):
        pass
    assert not capfd.readouterr().out


def test_without_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with (
        pytest.raises(MissingExtraError, match=r"needs the package 'ray' .*pip install 's2tf-edge\[ray\]'$"),
        connect(),
    ):
        pass
