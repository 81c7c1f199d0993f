"""The list of an archive's videos: numbers that stand, and memory that does not grow."""

from __future__ import annotations

import collections
import itertools
import json
import tracemalloc
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from s2tf_edge.errors import InputFileError
from s2tf_edge.runtime.archives.entries import Found
from s2tf_edge.runtime.archives.listing import find_entries
from s2tf_edge.runtime.archives.settled_list import PieceSize, SettledList


def _found(*names: str, size: int = 1000) -> Iterator[Found]:
    return (Found(address=f"/clips/{name}", name=name, size=size) for name in names)


def _read(settled: SettledList) -> list[tuple[int, int, str]]:
    return [(piece.number, entry.number, entry.name) for piece in settled.read_pieces() for entry in piece.entries]


def _settle(folder: Path, found: Iterable[Found]) -> SettledList:
    settled = SettledList(folder)
    settled.settle(found)
    return settled


def test_pieces_keep_their_numbers(tmp_path: Path) -> None:
    first = _settle(tmp_path, _found(*"abcdef"))
    assert _read(first) == [(0, 0, "a"), (0, 1, "b"), (0, 2, "c"), (0, 3, "d"), (1, 4, "e"), (1, 5, "f")]
    before = _read(first)
    again = SettledList(tmp_path)
    assert again.settle(_found(*"fedcba")) == 0
    assert again.settle(_found(*"abx", "y")) == 2
    assert (again.videos, again.pieces) == (8, 3)
    assert _read(again) == [*before, (2, 6, "x"), (2, 7, "y")]
    assert SettledList(tmp_path).settle(_found(*"zyx")) == 1
    assert _read(again)[-1] == (3, 8, "z")


def test_what_is_named_twice_is_there_twice(tmp_path: Path) -> None:
    assert len(_read(_settle(tmp_path, _found(*"aab")))) == 3
    assert SettledList(tmp_path).settle(_found(*"aba")) == 0
    assert SettledList(tmp_path).settle(_found(*"aaab")) == 1


def test_a_new_signature_is_no_new_video(tmp_path: Path) -> None:
    def signed(signature: str) -> list[Found]:
        return [Found(address=f"https://h/{n}.mp4?sig={signature}", name=f"https://h/{n}.mp4?sig=***") for n in "ab"]

    def addresses(settled: SettledList) -> list[str]:
        return [entry.address for piece in settled.read_pieces() for entry in piece.entries]

    _settle(tmp_path, [*signed("one"), *_found("c")])
    SettledList(tmp_path).settle([*signed("one"), *_found(*"cd")])
    again = SettledList(tmp_path)
    assert again.settle([*signed("two"), *_found(*"cd")]) == 0
    before = _read(again)
    assert again.has_older_addresses
    again.refresh([*signed("two"), *_found(*"cd")])
    assert addresses(again) == ["https://h/a.mp4?sig=two", "https://h/b.mp4?sig=two", "/clips/c", "/clips/d"]
    assert _read(again) == before
    assert (tmp_path / "sources-00000.jsonl").stat().st_mode & 0o777 == 0o600
    assert not SettledList(tmp_path).settle([*signed("two"), *_found(*"cd")])
    # One that is no more among them ends what is taken over.
    again.refresh(signed("three")[1:])
    assert addresses(again)[0].endswith("two")


def test_nobody_else_may_read_what_may_hold_passwords(tmp_path: Path) -> None:
    _settle(tmp_path, _found("a"))
    assert (tmp_path / "sources-00000.jsonl").stat().st_mode & 0o777 == 0o600


def test_names_of_any_bytes_stay(tmp_path: Path) -> None:
    names = ["new\nline", "\udcff", '"', "é🏃", "\x1b"]
    assert [name for _, _, name in _read(_settle(tmp_path, _found(*names)))] == names


@pytest.mark.parametrize(("size", "pieces"), [(None, 15), (2**27, 30), (2**28, 60), (2**33, 60), (0, 15)])
def test_a_piece_has_few_videos_or_few_bytes(tmp_path: Path, size: int | None, pieces: int) -> None:
    found = (Found(address=f"/{index}", name=f"{index}", size=size) for index in range(60))
    assert _settle(tmp_path, found).pieces == pieces


def test_pieces_grow_with_the_archive() -> None:
    size = PieceSize()
    begins = [index for index in range(10_000) if size.begins_anew(1) or not index]
    lengths = [after - before for before, after in itertools.pairwise(begins)]
    assert (lengths[0], lengths[63], lengths[64], lengths[-1]) == (4, 4, 8, 32)


@pytest.mark.parametrize(
    "lines",
    [
        "",
        "null\n",
        '{"piece": 0, "address": "/a"}\n',
        '{"piece": 0, "address": "/a"}\n{"end": 2}\n',
        '{"piece": 1, "address": "/a"}\n{"end": 1}\n',
        '{"piece": 0, "address": "/a"}\n{"piece": 2, "address": "/a"}\n{"end": 2}\n',
        '{"piece": 0, "address": "a"}\n{"end": 1}\n',
        '{"piece": 0, "address": "/\\ud800"}\n{"end": 1}\n',
        '{"piece": 0, "address": "/a", "name": 1}\n{"end": 1}\n',
        '{"piece": 0, "address": "/a"}\n{"end": 1}\n{"end": 1}\n',
    ],
)
def test_a_spoiled_list_is_refused(tmp_path: Path, lines: str) -> None:
    (tmp_path / "sources-00000.jsonl").write_text(lines)
    with pytest.raises(InputFileError, match="is no whole list of videos"):
        SettledList(tmp_path).settle([])


def test_a_list_that_cannot_be_read_to_its_end_leaves_nothing(tmp_path: Path) -> None:
    def broken() -> Iterator[Found]:
        yield from _found("a")
        msg = "the store is gone"
        raise InputFileError(msg)

    with pytest.raises(InputFileError, match="the store is gone"):
        SettledList(tmp_path).settle(broken())
    assert not [*tmp_path.iterdir()]


def test_what_is_gone_stays_on_the_list(tmp_path: Path) -> None:
    before = _read(_settle(tmp_path, _found(*"abcdef")))
    for names in ("", "abc", "f", "cba"):
        again = SettledList(tmp_path)
        assert again.settle(_found(*names)) == 0
        assert (again.videos, again.pieces) == (6, 2)
        assert _read(again) == before


def _walk(folder: Path, list_file: Path) -> int:
    """Settles a list, looks for new videos, and goes through all pieces; gives the most memory that took."""
    tracemalloc.start()
    try:
        for _ in range(2):
            settled = SettledList(folder)
            settled.settle(find_entries([str(list_file)]))
        (last,) = collections.deque(settled.read_pieces(), maxlen=1)
        assert last.number == settled.pieces - 1
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("count", [1000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_memory_is_flat_in_the_number_of_videos(tmp_path: Path, count: int) -> None:
    (tmp_path / "one.mp4").write_bytes(b"video")
    (tmp_path / "list.txt").write_text("one.mp4\n" * count)
    (tmp_path / "job").mkdir()
    peak = _walk(tmp_path / "job", tmp_path / "list.txt")
    assert peak < 2**20
    end = json.loads((tmp_path / "job/sources-00000.jsonl").read_text().splitlines()[-1])
    assert end == {"end": count}
