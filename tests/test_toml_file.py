"""Settings out of TOML files: what may stand in them, and what is said of all else."""

from __future__ import annotations

import enum
import typing
from pathlib import Path
from typing import Any

import pytest

from s2tf_edge.errors import InputFileError
from s2tf_edge.toml_file import read_settings


class Form(enum.Enum):
    ROUND = "round"
    FLAT = "flat"


HINTS: dict[str, Any] = {
    "form": Form | None,
    "count": int | None,
    "share": float,
    "place": Path | None,
    "word": str,
    "switch": bool,
    "words": list[str] | None,
    "numbers": typing.Optional[list[int]],  # noqa: UP045  # as older signatures have it
    "token": str | None,
    "max_age": float | None,
}


def _read(tmp_path: Path, text: str | bytes) -> dict[str, Any]:
    path = tmp_path / "a.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_settings(path, HINTS, secret={"token"})


def test_values_are_as_toml_has_them(tmp_path: Path) -> None:
    lines = [
        "count = 3",
        "share = 1",
        'place = "a/b"',
        "switch = true",
        'words = ["a"]',
        "numbers = []",
        'form = "flat"',
    ]
    expected = {"form": "flat", "count": 3, "share": 1, "place": "a/b", "switch": True, "words": ["a"], "numbers": []}
    assert _read(tmp_path, "\n".join(lines)) == expected
    assert _read(tmp_path, "\ufeff# a mark, as some editors write it\n") == {}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("count = 2.5", "count must be of type int, got 2.5"),
        ("count = true", "count must be of type int, got True"),
        ('share = "1"', "share must be of type float or int, got '1'"),
        ("place = 1", "place must be of type str, got 1"),
        ('words = "a"', r"""words must be a list such as \["a", "b"\], got 'a'"""),
        ("words = [1]", r"""words must be a list such as \["a", "b"\], got \[1\]"""),
        ("numbers = [true]", r"numbers must be a list such as \[0, 1\], got \[True\]"),
        ('form = "square"', "form must be one of round, flat, got 'square'"),
        ("form = [1]", r"form must be one of round, flat, got \[1\]"),
        ("[word]\na = 1", "word must be of type str, got {'a': 1}"),
        ("max-age = 1", r"unknown keys \['max-age'\]; max-age looks like max_age misspelt; allowed are \['count', "),
        ("[wordy]\ncount = 1", r"unknown keys \['wordy'\]; no key stands in a table, so leave out \[wordy\]; allowed"),
        ("count = 1\ncount = 2", "cannot read .*a.toml as TOML: "),
        ("count = ", "cannot read .*a.toml as TOML: "),
        (f"count = {'9' * 5000}", "cannot read .*a.toml as TOML: "),
        (f"count = {'[' * 100_000}", "as TOML: its values are nested too deeply"),
        (b"\xff\xfe", "a.toml is not a TOML file in UTF-8"),
        (b"word = '\xe9t\xe9'", "iconv -f CP1252 -t UTF-8"),
        (b"#" * 2**21, "is larger than 1048576 bytes"),
    ],
)
def test_what_is_not_allowed_is_told(tmp_path: Path, line: str | bytes, message: str) -> None:
    with pytest.raises(InputFileError, match=message):
        _read(tmp_path, line)


def test_a_secret_is_not_shown(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match="token must be of type str, got something else") as caught:
        _read(tmp_path, "token = 12345678")
    assert "1234" not in str(caught.value)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match=r"cannot read .*gone\.toml: No such file"):
        read_settings(tmp_path / "gone.toml", HINTS)


def test_another_kind_of_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"PK\x03\x04" + bytes(100))
    with pytest.raises(InputFileError, match="a TOML file of settings"):
        read_settings(tmp_path / "a.zip", HINTS)
