"""Signatures beside files, made and checked by OpenSSH's ``ssh-keygen -Y``: there is no cryptography here.

    ssh-keygen -Y sign -f KEY -n s2tf-edge FILE                                            writes FILE.sig
    ssh-keygen -Y verify -f ALLOWED_SIGNERS -I WHO -n s2tf-edge -s FILE.sig < FILE

``ALLOWED_SIGNERS`` has a line for everyone who is trusted: a name, and the public key as ``ssh-keygen`` wrote it.
"""

from __future__ import annotations

import logging
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from s2tf_edge.errors import InputFileError, MissingExtraError
from s2tf_edge.text_file import read_bytes
from s2tf_edge.whole_file import whole_file
from s2tf_edge.words import one_line, shortened

__all__ = ["SIGNATURE_SUFFIX", "check_signature", "check_signing_key", "sign_file"]

logger = logging.getLogger(__name__)

SIGNATURE_SUFFIX: Final = ".sig"
_NAMESPACE: Final = "s2tf-edge"
"""Signed along, so that a signature for mail or for Git is none here."""
_SECONDS: Final = 60
"""What no call takes, unless it waits for somebody who is not there."""
_MAX_BYTES: Final = 2**20
"""Of a signature, or of a list of signers."""
_NO_KEY: Final = b"Couldn't load public key"
"""What ssh-keygen says of a file that is none of its keys."""
_PUBLIC_KEYS: Final = ("ssh-", "ecdsa-", "sk-")
"""What the file of a public key begins with, where a list of signers has a name."""


def check_signing_key(key: Path) -> None:
    """Looks whether there is something to sign with, before anything is made that is to be signed.

    Raises:
        InputFileError: the key is no file that can be read.
        MissingExtraError: there is no ssh-keygen.
    """
    _find_ssh_keygen()
    _read(key, "the key to sign with, such as ~/.ssh/id_ed25519, or its .pub where ssh-agent has it")


def sign_file(path: Path, key: Path) -> Path:
    """Writes the signature of a file beside it.

    A passphrase is asked for on the terminal; without one, such a key must be in ssh-agent.

    Args:
        path: what is signed.
        key: a private key, or the public one of a key that ssh-agent has.

    Returns:
        The path of the signature.

    Raises:
        InputFileError: the key cannot be read or used, or the signature not be written.
        MissingExtraError: there is no ssh-keygen.
    """
    check_signing_key(key)
    signature = path.with_name(path.name + SIGNATURE_SUFFIX)
    # Of a copy: the signature that is there stays until there is another one.
    with tempfile.TemporaryDirectory() as work:
        copy = Path(work) / path.name
        shutil.copyfile(path, copy)
        made = copy.with_name(signature.name)
        done = _call("sign", "-f", key.absolute(), "-n", _NAMESPACE, copy, asks=True)
        if done.returncode or not made.is_file():
            msg = f"cannot sign {path} with {key} {_explain_failure(done, key)}"
            raise InputFileError(msg)
        with whole_file(signature) as file:
            file.write(made.read_bytes())
    return signature


def _explain_failure(done: subprocess.CompletedProcess[bytes], key: Path) -> str:
    if _NO_KEY in done.stderr:
        return (
            f"(neither it nor a {key.name}.pub beside it is a key in OpenSSH's form); give one that ssh-keygen made, "
            "as by: ssh-keygen -t ed25519"
        )
    return (
        f"({_said(done)}); a key with a passphrase is asked for on a terminal only, elsewhere put it into ssh-agent "
        f"first: ssh-add {shlex.quote(str(key))}"
    )


def check_signature(data: bytes, signature: Path, *, signers: Path) -> str:
    """Sees that somebody who is trusted signed ``data``.

    Args:
        data: the content of the file that is signed, as it will be used.
        signature: what ``sign_file`` wrote.
        signers: OpenSSH's list of allowed signers.

    Returns:
        Who signed it, as the list calls them.

    Raises:
        InputFileError: it is not signed, changed since, or nobody on the list signed it; or a file cannot be read.
        MissingExtraError: there is no ssh-keygen.
    """
    _find_ssh_keygen()
    _check_signers(signers)
    signed = signature.with_suffix("")
    if not signature.exists():
        msg = f"{signed} is not signed: there is no {signature.name}; have it signed, or leave out `require_signature`"
        raise InputFileError(msg)
    _read(signature, f"the signature of {signed.name}")
    who = _find_signer(signature, signers)
    where = ("-f", signers.absolute(), "-I", who, "-n", _NAMESPACE, "-s", signature.absolute())
    done = _call("verify", *where, data=data) if who else None
    if done is None or done.returncode:
        why = "nobody on the list made it" if done is None else _said(done)
        msg = f"the signature of {signed} is not one of {signers} ({why}); get the folder again from who signed it"
        raise InputFileError(msg)
    logger.info("%s is signed by %s", signed, who)
    return who


def _check_signers(signers: Path) -> None:
    text = _read(signers, "a list of allowed signers, one 'NAME PUBLIC-KEY' a line").decode("utf-8", "replace")
    if text.startswith(_PUBLIC_KEYS):
        quoted = shlex.quote(str(signers))
        msg = f'{signers} is a public key; give a list of allowed signers: echo "NAME $(cat {quoted})" > signers'
        raise InputFileError(msg)
    if not any(word.startswith(_PUBLIC_KEYS) for word in text.split()):
        msg = f"{signers} holds no public key; give a list of allowed signers, one 'NAME PUBLIC-KEY' a line"
        raise InputFileError(msg)


def _find_signer(signature: Path, signers: Path) -> str:
    """The first name of those whose key signed; empty where there is none."""
    done = _call("find-principals", "-s", signature.absolute(), "-f", signers.absolute())
    names = done.stdout.decode("utf-8", "replace").strip().partition("\n")[0]
    # A line may name several, and whom it is not for.
    return next((name for name in names.split(",") if name and not name.startswith("!")), "")


def _read(path: Path, what: str) -> bytes:
    if path.exists() and not path.is_file():
        msg = f"{path} is no file; give {what}"
        raise InputFileError(msg)
    return read_bytes(path, max_bytes=_MAX_BYTES, advice=f"give {what}")


def _find_ssh_keygen() -> str:
    found = shutil.which("ssh-keygen")
    if found is None:
        msg = (
            "signatures need ssh-keygen of OpenSSH 8.2 or newer, which is not installed; "
            "install it with: apt-get install openssh-client"
        )
        raise MissingExtraError(msg)
    return found


def _call(action: str, *words: str | Path, data: bytes = b"", asks: bool = False) -> subprocess.CompletedProcess[bytes]:
    """Runs ``ssh-keygen -Y action``, which may ask for a passphrase only where somebody can answer."""
    command = [_find_ssh_keygen(), "-Y", action, *map(str, words)]
    is_asking = asks and sys.stdin is not None and sys.stdin.isatty()
    # None leaves it the terminal.
    given, timeout = (None, None) if is_asking else (data, _SECONDS)
    environment = _environment(is_asking)
    try:
        return subprocess.run(command, input=given, capture_output=True, timeout=timeout, env=environment, check=False)
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 1, b"", f"no answer within {_SECONDS} s".encode())
    except OSError as error:
        msg = f"cannot run {command[0]}: {error.strerror}"
        raise InputFileError(msg) from error


def _environment(is_asking: bool) -> Mapping[str, str]:
    """Messages in English; and no window that asks for a passphrase, unless that is wanted."""
    asks = {} if is_asking else {"SSH_ASKPASS_REQUIRE": os.environ.get("SSH_ASKPASS_REQUIRE", "never")}
    return {**os.environ, "LC_ALL": "C", **asks}


def _said(done: subprocess.CompletedProcess[bytes]) -> str:
    lines = (done.stderr + b"\n" + done.stdout).decode("utf-8", "replace").strip().splitlines()
    return shortened(one_line(lines[-1] if lines else f"exit {done.returncode}"))
