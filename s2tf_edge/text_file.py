r"""Text files: those of others read whole and in bounded memory, and ours written whatever names are in them.

What is read is in UTF-8, or refused with the word that it is in another code.

Spreadsheets and editors of other systems write class names in the code of their language. A name read in the wrong one
would not look like an error but like another name, so nothing is converted here: the message says what the file looks
like and how to convert it.

The name of a file may be bytes that are no text, which Python has as surrogates. What is written has an escape for
each, ``\udce9``, and in JSON that gives the same name again.
"""

from __future__ import annotations

import codecs
import json
import re
import shlex
from pathlib import Path
from typing import Final, TextIO

from s2tf_edge.errors import InputFileError

__all__ = ["create_text", "guess_encoding", "read_bytes", "read_text", "write_json", "write_text"]

_MARKS: Final = (
    (codecs.BOM_UTF32_LE, "UTF-32"),
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)
"""What files in these codes usually begin with; the longer ones first, as one begins with the other."""
_WIDE: Final = ("UTF-32LE", "UTF-32BE", "UTF-16LE", "UTF-16BE")
_CYRILLIC: Final = "CP1251"
_CONTROL: Final = re.compile(r"[\x00-\x08\x0e-\x1f\x7f]")
_WORDS: Final = re.compile(rb"[\x80-\xff]+")
_OF_GBK: Final = re.compile(rb"(?:[\x81-\xfe][\x40-\x7e\x80-\xfe]|[\x00-\x7f])+")
_COMMON_HANZI: Final = re.compile(rb"[\xb0-\xf7][\xa1-\xfe]")
"""Characters of GB 2312, in which nearly all Chinese is written."""


def read_text(path: Path, *, max_bytes: int, kind: str = "a text file") -> str:
    """All of a text file, without the mark that some begin with.

    Args:
        path: the file.
        max_bytes: what a file of its kind has at most.
        kind: what it is to be, for messages.

    Raises:
        InputFileError: it cannot be read, is larger than ``max_bytes``, or is not text in UTF-8; of another encoding
            the message says which it looks like.
    """
    data = read_bytes(path, max_bytes=max_bytes)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _not_utf8(path, data, f"{kind} in UTF-8 (byte {error.start})") from error
    if "\0" in text:
        # Plain letters in UTF-16 are valid UTF-8 as well, each with a zero beside it.
        raise _not_utf8(path, data, f"{kind} in UTF-8 (byte {data.index(0)})")
    return text


def read_bytes(path: Path, *, max_bytes: int, advice: str = "") -> bytes:
    """All of a file, as long as it has no more than ``max_bytes``.

    Args:
        path: the file.
        max_bytes: what a file of its kind has at most.
        advice: what to do where it has more or cannot be read, for messages.

    Raises:
        InputFileError: it cannot be read, is no file, or is larger.
    """
    try:
        with path.open("rb") as file:
            data = file.read(max_bytes + 1)
    except OSError as error:
        msg = f"cannot read {path}: {error.strerror}{advice and f'; {advice}'}"
        raise InputFileError(msg) from error
    if len(data) > max_bytes:
        msg = f"{path} is larger than {max_bytes} bytes, more than such a file has; {advice or 'give the right one'}"
        raise InputFileError(msg)
    return data


def create_text(path: Path) -> TextIO:
    """A new text file to write into, in UTF-8, in which lines end as they are given, as ``csv`` wants it."""
    return path.open("w", encoding="utf-8", errors="backslashreplace", newline="")


def write_text(path: Path, text: str) -> None:
    """Writes a text file in UTF-8."""
    with create_text(path) as file:
        file.write(text)


def write_json(path: Path, values: object) -> None:
    """Writes one JSON value, readable and in UTF-8."""
    write_text(path, json.dumps(values, indent=1, ensure_ascii=False) + "\n")


def guess_encoding(data: bytes) -> str | None:
    """What bytes that are not UTF-8 look like, in the words of iconv; None for what looks like no text."""
    for mark, name in _MARKS:
        if data.startswith(mark):
            return name if _is_text(data, name) else None
    if 0 in data:
        # Bytes in the wrong order are text as well, but of letters from everywhere.
        wide = [name for name in _WIDE if _is_text(data, name)]
        return max(wide, key=lambda name: _plain_share(data.decode(name)), default=None)
    runs = [len(run) for run in _WORDS.findall(data)]
    if _OF_GBK.fullmatch(data) and 2 * len(_COMMON_HANZI.findall(data)) >= 0.9 * sum(runs):
        return "CP936"
    # Letters with accents stand alone or in pairs, while all letters of a Cyrillic word are such bytes.
    guess = _CYRILLIC if runs and sum(runs) >= 3 * len(runs) else "CP1252"
    return next((name for name in (guess, "LATIN1") if _is_text(data, name)), None)


def _is_text(data: bytes, encoding: str) -> bool:
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        return False
    return not _CONTROL.search(text)


def _plain_share(text: str) -> float:
    return sum(letter.isascii() for letter in text) / max(1, len(text))


def _not_utf8(path: Path, data: bytes, wanted: str) -> InputFileError:
    encoding = guess_encoding(data)
    if encoding is None:
        msg = f"{path} is not {wanted}; give one that is"
        return InputFileError(msg)
    converted = shlex.quote(str(path.with_suffix(f".utf8{path.suffix}")))
    command = f"iconv -f {encoding} -t UTF-8 {shlex.quote(str(path))} > {converted}"
    return InputFileError(f"{path} is not {wanted}; it looks like {_named(encoding)}: {command}")


def _named(encoding: str) -> str:
    names = {"CP936": "GBK (cp936)", "CP1252": "Latin-1 (Windows-1252)", _CYRILLIC: "Windows-1251"}
    return names.get(encoding, encoding)
