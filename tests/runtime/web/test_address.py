"""Where the page may be served."""

from __future__ import annotations

import socket

import pytest

from s2tf_edge.errors import UsageError
from s2tf_edge.runtime.web.address import Address, check_token, listen, parse_address


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:8080", "127.0.0.1", 8080),
        ("localhost:0", "localhost", 0),
        ("[::1]:8080", "::1", 8080),
        ("0.0.0.0:65535", "0.0.0.0", 65535),
        ("8080", "127.0.0.1", 8080),
        (":8080", "127.0.0.1", 8080),
    ],
)
def test_an_address_is_a_host_and_a_port(text: str, host: str, port: int) -> None:
    assert parse_address(text) == Address(host=host, port=port)


@pytest.mark.parametrize("text", ["", "localhost", "localhost:", "localhost:http", "a:65536", "::1:80", "a:-1", "a:٣"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"give HOST:PORT, such as 127\.0\.0\.1:8080"):
        parse_address(text)


@pytest.mark.parametrize(("host", "url"), [("::1", "http://[::1]:80/"), ("0.0.0.0", "http://localhost:80/")])
def test_the_url_is_one_to_open(host: str, url: str) -> None:
    assert Address(host=host, port=80).url == url


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "box.local", "localhost.example.org"])
def test_others_need_a_token(host: str) -> None:
    with pytest.raises(UsageError, match="give a `token=TOKEN`"):
        check_token(None, Address(host=host, port=80))
    check_token("correct-horse", Address(host=host, port=80))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost", "LOCALHOST"])
def test_this_machine_needs_none(host: str) -> None:
    check_token(None, Address(host=host, port=80))


@pytest.mark.parametrize("token", ["", "short", "with space", "naïve-token", "line\nbreak!"])
def test_a_token_must_fit_a_header(token: str) -> None:
    with pytest.raises(UsageError, match="8 or more ASCII characters"):
        check_token(token, Address(host="127.0.0.1", port=80))


def test_a_taken_port_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=f"port {port} is taken; choose another, or 0"):
            listen(Address(host="127.0.0.1", port=port))


@pytest.mark.parametrize("host", ["203.0.113.1", "no-such-host.invalid"])
def test_an_address_of_another_machine_is_refused(host: str) -> None:
    with pytest.raises(UsageError, match="choose an address of this machine"):
        listen(Address(host=host, port=0))
