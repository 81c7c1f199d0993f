from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from s2tf_edge.errors import InputFileError
from s2tf_edge.text_file import create_text, guess_encoding, read_text, write_json, write_text

_CHINESE = "开门\n关门\n跑步\n骑自行车\n"
_GERMAN = "Füße waschen\nTür öffnen\nlaufen\n"
_FRENCH = "café\nmarché à pied\nélève\ncréée\n"
_RUSSIAN = "бег\nпрыжок\nоткрывает дверь\n"


@pytest.mark.parametrize("text", ["", "run\nwälk\r\n", _CHINESE])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_utf8_is_read_with_its_mark_or_without(text: str, encoding: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(text.encode(encoding))
    assert read_text(tmp_path / "a.txt", max_bytes=100) == text


@pytest.mark.parametrize(
    ("text", "encoding", "guess", "said"),
    [
        (_GERMAN, "latin-1", "CP1252", r"Latin-1 \(Windows-1252\)"),
        (_FRENCH, "latin-1", "CP1252", r"Latin-1 \(Windows-1252\)"),
        ("5 € zahlen\n", "cp1252", "CP1252", "Latin-1"),
        (_CHINESE, "cp936", "CP936", r"GBK \(cp936\)"),
        ("1 开门 (open)\n2 run\n", "cp936", "CP936", "GBK"),
        (_RUSSIAN, "cp1251", "CP1251", "Windows-1251"),
        (_GERMAN, "utf-16", "UTF-16", "UTF-16"),
        ("run\njump\n", "utf-16-le", "UTF-16LE", "UTF-16LE"),
        ("run\njump\n", "utf-16-be", "UTF-16BE", "UTF-16BE"),
        (_CHINESE, "utf-16-le", "UTF-16LE", "UTF-16LE"),
        (_CHINESE, "utf-16", "UTF-16", "UTF-16"),
        ("run\njump\n", "utf-32", "UTF-32", "UTF-32"),
        ("run\njump\n", "utf-32-be", "UTF-32BE", "UTF-32BE"),
    ],
)
def test_another_encoding_is_named_and_its_conversion_works(
    text: str, encoding: str, guess: str, said: str, tmp_path: Path
) -> None:
    path = tmp_path / "class names.txt"
    path.write_bytes(text.encode(encoding))
    assert guess_encoding(path.read_bytes()) == guess
    with pytest.raises(
        InputFileError, match=rf"not a text file in UTF-8 \(byte \d+\); it looks like {said}.*: iconv"
    ) as got:
        read_text(path, max_bytes=1000)
    if shutil.which("iconv"):
        subprocess.run(str(got.value).rpartition(": ")[2], shell=True, check=True)
        assert read_text(tmp_path / "class names.utf8.txt", max_bytes=1000) == text


@pytest.mark.parametrize("content", [b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", b"\x80\x02}\x94(\x8c\x05", b"\xff\xfea"])
def test_what_is_no_text_is_not_given_an_encoding(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(content)
    with pytest.raises(InputFileError, match=r"a\.txt is not a text file in UTF-8 \(byte \d+\); give one that is"):
        read_text(tmp_path / "a.txt", max_bytes=100)


def test_what_cannot_be_read_or_is_too_large(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match=r"cannot read .*none\.txt: No such file"):
        read_text(tmp_path / "none.txt", max_bytes=10)
    (tmp_path / "a.txt").write_bytes(b"x" * 11)
    with pytest.raises(InputFileError, match=r"a\.txt is larger than 10 bytes"):
        read_text(tmp_path / "a.txt", max_bytes=10)


def test_names_that_are_no_text_are_written_as_escapes(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.mp4")
    write_json(tmp_path / "a.json", {"name": name, "label": "走"})
    assert json.loads((tmp_path / "a.json").read_text("utf-8")) == {"name": name, "label": "走"}
    write_text(tmp_path / "a.md", f"# {name}\n")
    assert (tmp_path / "a.md").read_text("utf-8") == "# caf\\udce9.mp4\n"
    with create_text(tmp_path / "a.csv") as file:
        csv.writer(file).writerow([name, "走"])
    assert (tmp_path / "a.csv").read_bytes() == "caf\\udce9.mp4,走\r\n".encode()
