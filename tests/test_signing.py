"""Signatures of OpenSSH, made and checked with real keys."""

from __future__ import annotations

import os
import pty
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from s2tf_edge.errors import InputFileError, MissingExtraError
from s2tf_edge.signing import check_signature, sign_file

pytestmark = pytest.mark.needs_ssh_keygen


def _make_key(path: Path, *, kind: str = "ed25519", passphrase: str = "") -> Path:
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-C", "", "-f", path], check=True)
    return path


@pytest.fixture
def key(tmp_path: Path) -> Path:
    return _make_key(tmp_path / "key")


@pytest.fixture
def signed(tmp_path: Path, key: Path) -> Path:
    path = tmp_path / "a folder é" / "meta.json"
    path.parent.mkdir()
    path.write_text('{"format": 1}')
    sign_file(path, key)
    return path


@pytest.fixture
def list_signers(tmp_path: Path) -> Callable[..., Path]:
    def write(*lines: str) -> Path:
        path = tmp_path / "allowed signers"
        path.write_text("".join(f"{line}\n" for line in lines))
        return path

    return write


def _public(key: Path) -> str:
    return key.with_name(f"{key.name}.pub").read_text().strip()


def _check(path: Path, signers: Path) -> str:
    return check_signature(path.read_bytes(), path.with_name(f"{path.name}.sig"), signers=signers)


@pytest.mark.parametrize(
    ("line", "who"),
    [
        ("me@example.com {}", "me@example.com"),
        ("first@a,second@b {}", "first@a"),
        ('me@a namespaces="git,s2tf-edge" {}', "me@a"),
        ("*@example.com {}", "*@example.com"),
    ],
)
def test_who_is_on_the_list_may_sign(
    line: str, who: str, signed: Path, key: Path, list_signers: Callable[..., Path]
) -> None:
    assert _check(signed, list_signers("# a comment", line.format(_public(key)))) == who


@pytest.mark.parametrize("kind", ["rsa", "ecdsa"])
def test_other_kinds_of_keys_sign_too(
    kind: str, signed: Path, tmp_path: Path, list_signers: Callable[..., Path]
) -> None:
    key = _make_key(tmp_path / kind, kind=kind)
    sign_file(signed, key)
    assert _check(signed, list_signers(f"me {_public(key)}")) == "me"


def test_a_key_of_somebody_else_is_refused(signed: Path, tmp_path: Path, list_signers: Callable[..., Path]) -> None:
    signers = list_signers(f"other {_public(_make_key(tmp_path / 'other'))}")
    with pytest.raises(InputFileError, match=r"is not one of .*allowed signers \(nobody on the list made it\)"):
        _check(signed, signers)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ('namespaces="git"', "is not one of"),
        ('valid-before="20200101"', "is not one of"),
    ],
)
def test_a_list_may_say_what_a_key_is_good_for(
    options: str, why: str, signed: Path, key: Path, list_signers: Callable[..., Path]
) -> None:
    with pytest.raises(InputFileError, match=why):
        _check(signed, list_signers(f"me {options} {_public(key)}"))


def test_content_that_changed_is_refused(signed: Path, key: Path, list_signers: Callable[..., Path]) -> None:
    signed.write_text('{"format": 2}')
    with pytest.raises(InputFileError, match="get the folder again from who signed it"):
        _check(signed, list_signers(f"me {_public(key)}"))


def test_a_signature_for_something_else_is_refused(signed: Path, key: Path, list_signers: Callable[..., Path]) -> None:
    signature = signed.with_name("meta.json.sig")
    signature.unlink()
    subprocess.run(["ssh-keygen", "-q", "-Y", "sign", "-f", key, "-n", "file", signed], check=True, capture_output=True)
    with pytest.raises(InputFileError, match="is not one of"):
        _check(signed, list_signers(f"me {_public(key)}"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "nobody on the list made it"),
        (b"\xff" * 500, "nobody on the list made it"),
        (b"-----BEGIN SSH SIGNATURE-----\nAAAA\n-----END SSH SIGNATURE-----\n", "nobody on the list made it"),
        (b"x" * (2**20 + 1), "is larger than 1048576 bytes"),
    ],
)
def test_a_signature_that_is_none_is_refused(
    content: bytes, message: str, signed: Path, key: Path, list_signers: Callable[..., Path]
) -> None:
    signed.with_name("meta.json.sig").write_bytes(content)
    with pytest.raises(InputFileError, match=message):
        _check(signed, list_signers(f"me {_public(key)}"))


def test_a_file_without_a_signature_is_refused(signed: Path, key: Path, list_signers: Callable[..., Path]) -> None:
    signed.with_name("meta.json.sig").unlink()
    with pytest.raises(InputFileError, match=r"meta\.json is not signed: there is no meta\.json\.sig"):
        _check(signed, list_signers(f"me {_public(key)}"))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gone", "cannot read .*gone: No such file.*give a list of allowed signers"),
        (".", "is no file; give a list of allowed signers"),
        ("key.pub", "is a public key; give a list of allowed signers: echo "),
        ("notes", "notes holds no public key; give a list of allowed signers, one 'NAME PUBLIC-KEY' a line"),
        ("pipe", "is no file; give a list of allowed signers"),
    ],
)
def test_a_list_that_is_none_says_how_to_make_one(name: str, message: str, signed: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "notes").write_text("me@example.com\n")
    with pytest.raises(InputFileError, match=message):
        _check(signed, tmp_path / name)


def test_what_the_message_says_makes_a_list(signed: Path, key: Path, tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match="echo ") as refused:
        _check(signed, key.with_name("key.pub"))
    line = str(refused.value).partition("signers: ")[2]
    subprocess.run(["sh", "-c", line], cwd=tmp_path, check=True)
    assert _check(signed, tmp_path / "signers") == "NAME"


def test_a_passphrase_is_not_waited_for_where_nobody_is_there(signed: Path, tmp_path: Path) -> None:
    key = _make_key(tmp_path / "locked", passphrase="secret")
    before = signed.with_name("meta.json.sig").read_bytes()
    with pytest.raises(InputFileError, match=r"incorrect passphrase.*put it into ssh-agent first: ssh-add "):
        sign_file(signed, key)
    # The signature that was there is still one.
    assert signed.with_name("meta.json.sig").read_bytes() == before
    assert [path.name for path in signed.parent.iterdir() if path.name.endswith(".part")] == []


def test_a_passphrase_is_asked_for_on_a_terminal(signed: Path, tmp_path: Path) -> None:
    key = _make_key(tmp_path / "locked", passphrase="secret")
    signed.with_name("meta.json.sig").unlink()
    code = "import pathlib, sys; from s2tf_edge.signing import sign_file; sign_file(*map(pathlib.Path, sys.argv[1:]))"
    child, terminal = pty.fork()
    if child == 0:
        os.execv(sys.executable, [sys.executable, "-c", code, str(signed), str(key)])
    shown = b""
    while b"Enter passphrase" not in shown:
        shown += os.read(terminal, 1024)
    os.write(terminal, b"secret\n")
    with suppress(OSError):  # how a terminal says that the other side has ended
        while os.read(terminal, 1024):
            pass
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    os.close(terminal)
    assert signed.with_name("meta.json.sig").is_file()


@pytest.fixture
def agent(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    said = subprocess.run(["ssh-agent", "-s"], capture_output=True, text=True, check=True).stdout
    for name, value in re.findall(r"(SSH_\w+)=([^;]+);", said):
        monkeypatch.setenv(name, value)
    yield
    subprocess.run(["ssh-agent", "-k"], check=True, capture_output=True)


def test_a_key_in_an_agent_signs_by_its_public_half(
    agent: None, signed: Path, tmp_path: Path, list_signers: Callable[..., Path]
) -> None:
    key = _make_key(tmp_path / "held")
    subprocess.run(["ssh-add", "-q", key], check=True)
    key.unlink()
    sign_file(signed, key.with_name("held.pub"))
    assert _check(signed, list_signers(f"me {_public(key)}")) == "me"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gone", "cannot read .*gone"),
        (".", "is no file; give the key to sign with"),
        ("text", "neither it nor a text.pub beside it"),
    ],
)
def test_a_key_that_is_none_is_refused(name: str, message: str, signed: Path, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no key")
    with pytest.raises(InputFileError, match=message):
        sign_file(signed, tmp_path / name)


def test_without_ssh_keygen_the_package_is_named(
    signed: Path, key: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert shutil.which("ssh-keygen")
    monkeypatch.setenv("PATH", str(tmp_path))
    for call in (lambda: sign_file(signed, key), lambda: _check(signed, key)):
        with pytest.raises(MissingExtraError, match=r"install it with: apt-get install openssh-client$"):
            call()
