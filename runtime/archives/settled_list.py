"""The list of an archive's videos, settled by the first run, so that pieces keep their numbers in every later one.

A run that goes on reads SOURCES again. What is new there is appended, in pieces of its own:

    job/sources-00000.jsonl    {"piece": 0, "address": "/clips/a.avi", "name": "clips/a.avi"}     of the first run
                                {"piece": 0, "address": "/clips/b.avi", "name": "clips/b.avi"}
                                {"piece": 1, …}
                                {"end": 3}
    job/sources-00001.jsonl    {"piece": 2, …}                                                   found later
                                {"end": 1}

Files are written aside, a line at a time, and read so. Only where what is found now is not in the order of the list, 16
bytes and a counter are held for each video that is left. Addresses stand there with the passwords that were given in
them, as nothing else leads back to those videos; so nobody else may read these files.
"""

from __future__ import annotations

import collections
import hashlib
import itertools
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from s2tf_edge.errors import InputFileError
from s2tf_edge.runtime.archives.entries import Found, ListedEntry, Piece, is_url, shown_name
from s2tf_edge.whole_file import whole_file

__all__ = ["PieceSize", "SettledList"]

_MAX_LINE_BYTES: Final = 2**20
_MAX_PIECE: Final = 10_000
_VIDEOS: Final = ((64, 4), (192, 8), (sys.maxsize, 32))
"""Of the first 64 pieces 4 videos each, of those up to 192 eight, and so on."""
_MAX_PIECE_BYTES: Final = 256 * 2**20
_UNKNOWN_BYTES: Final = 16 * 2**20
_KEY_BYTES: Final = 16
_PRIVATE: Final = 0o600
_TICK: Final = 1000
_ADVICE: Final = "s2tf-batch did not leave it so; take another folder, or remove this one"


class PieceSize:
    """How many videos a piece has: few enough that little is lost with a worker, many enough that files stay few.

    The first pieces are small, so that an archive of some hundred videos is shared among all workers.
    """

    def __init__(self) -> None:
        self._pieces = 0
        self._videos = 0
        self._bytes = 0

    def begins_anew(self, size: int | None) -> bool:
        """Counts a video of ``size`` bytes; tells whether it is the first of another piece than the one before."""
        # What is not known, as of an address, is taken for a few minutes of video.
        size = _UNKNOWN_BYTES if size is None else size
        most = next(videos for pieces, videos in _VIDEOS if self._pieces < pieces)
        is_full = self._videos >= most or (self._videos > 0 and self._bytes + size > _MAX_PIECE_BYTES)
        if is_full:
            self._pieces += 1
            self._videos = self._bytes = 0
        self._videos += 1
        self._bytes += size
        return is_full


class SettledList:
    """The videos of one archive in their order.

    Args:
        folder: where it is kept.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.videos = 0
        """How many there are."""
        self.pieces = 0
        """In how many pieces."""
        self.has_older_addresses = False
        """Whether what was settled last found videos under other passwords or signatures than are listed."""

    @property
    def is_settled(self) -> bool:
        """Whether there is one."""
        return self._path(0).exists()

    def settle(self, found: Iterable[Found], *, counted: Callable[[int], object] = lambda _: None) -> int:
        """Adds the videos that are not there yet, each as often as it is found; returns how many these are.

        Args:
            found: all that SOURCES stand for now.
            counted: told now and then how many of them were looked at.

        Raises:
            InputFileError: the list that is there was spoiled, or it cannot be written.
        """
        files = self._count_files()
        new = self._find_new(_counting(found, counted))
        first = next(new, None)
        if first is None:
            return 0
        before = self.videos
        with whole_file(self._path(files)) as file:
            os.fchmod(file.fileno(), _PRIVATE)
            self._write(file, first, new)
        return self.videos - before

    def refresh(self, found: Iterable[Found]) -> None:
        """Takes over the addresses by which videos are found now, up to the first that is another one than is listed.

        Args:
            found: as ``settle`` was given it.

        Raises:
            InputFileError: the list was spoiled, or it cannot be written.
        """
        newer = iter(found)
        for index in range(self._count_files()):
            path, count = self._path(index), 0
            with whole_file(path) as file:
                os.fchmod(file.fileno(), _PRIVATE)
                for piece, address, name in _read_lines(path):
                    each = next(newer, None)
                    if each is None or _key(each.address) != _key(address):
                        each, newer = None, iter(())
                    file.write(_line(piece, each or Found(address=address, name=name)))
                    count += 1
                file.write(_end_line(count))
        self.has_older_addresses = False

    def read_pieces(self) -> Iterator[Piece]:
        """All pieces in order.

        Raises:
            InputFileError: the list was spoiled.
        """
        entries: list[ListedEntry] = []
        now = 0
        for piece, entry in self._read():
            if piece != now:
                yield Piece(number=now, entries=tuple(entries))
                now, entries = piece, []
            entries.append(entry)
        if entries:
            yield Piece(number=now, entries=tuple(entries))

    def _find_new(self, found: Iterator[Found]) -> Iterator[Found]:
        """What is not on the list; how long that is, is known once the first is given.

        Most often all is found in the order of the list, and no more: then nothing of it is held.
        """
        listed = self._addresses()
        for address in listed:
            each = next(found, None)
            if each is None:
                # Fewer are found than there were.
                collections.deque(listed, maxlen=0)
                return
            if _key(each.address) != _key(address):
                known = _Known(itertools.chain([address], listed))
                yield from (other for other in itertools.chain([each], found) if not known.take(other))
                return
            self.has_older_addresses = self.has_older_addresses or each.address != address
        yield from found

    def _write(self, file: BinaryIO, first: Found, others: Iterable[Found]) -> None:
        size, number, before = PieceSize(), self.pieces, self.videos
        for each in itertools.chain([first], others):
            number += size.begins_anew(each.size)
            file.write(_line(number, each))
            self.videos += 1
        file.write(_end_line(self.videos - before))
        self.pieces = number + 1

    def _addresses(self) -> Iterator[str]:
        """The address of every entry; how many there are is known at the end."""
        self.videos = self.pieces = 0
        for piece, entry in self._read():
            self.videos, self.pieces = entry.number + 1, piece + 1
            yield entry.address

    def _read(self) -> Iterator[tuple[int, ListedEntry]]:
        number = last = -1
        in_piece = 0
        for index in range(self._count_files()):
            # New videos begin a piece of their own.
            must_begin = True
            for piece, address, name in _read_lines(self._path(index)):
                allowed = (last + 1,) if must_begin else (last, last + 1)
                if piece not in allowed or (piece == last and in_piece >= _MAX_PIECE):
                    raise _spoiled(self._path(index))
                in_piece = in_piece + 1 if piece == last else 1
                number, last, must_begin = number + 1, piece, False
                yield piece, ListedEntry(number=number, address=address, name=name)

    def _count_files(self) -> int:
        count = 0
        while self._path(count).exists():
            count += 1
        return count

    def _path(self, index: int) -> Path:
        return self._folder / f"sources-{index:05d}.jsonl"


class _Known:
    """Which videos are on the list, each as often as it stands there; URLs without passwords, as those may be new."""

    def __init__(self, addresses: Iterable[str]) -> None:
        keys = np.fromiter(map(_key, addresses), dtype=f"S{_KEY_BYTES}")
        self._keys, counts = np.unique(keys, return_counts=True)
        self._left: NDArray[np.int64] = counts.astype(np.int64)

    def take(self, found: Found) -> bool:
        """Whether it is there once more."""
        if not len(self._keys):
            return False
        key = np.array(_key(found.address), dtype=self._keys.dtype)
        place = int(np.searchsorted(self._keys, key))
        if place == len(self._keys) or self._keys[place] != key or not self._left[place]:
            return False
        self._left[place] -= 1
        return True


def _counting(found: Iterable[Found], counted: Callable[[int], object]) -> Iterator[Found]:
    for number, each in enumerate(found, start=1):
        if not number % _TICK:
            counted(number)
        yield each


def _key(address: str) -> bytes:
    named = shown_name(address).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(named, digest_size=_KEY_BYTES).digest()


def _line(piece: int, found: Found) -> bytes:
    values = {"piece": piece, "address": found.address}
    if found.name != found.address:
        values["name"] = found.name
    return json.dumps(values).encode("ascii") + b"\n"


def _end_line(count: int) -> bytes:
    return json.dumps({"end": count}).encode("ascii") + b"\n"


def _read_lines(path: Path) -> Iterator[tuple[int, str, str]]:
    """Piece, address and name of each line, up to the one that says how many there are."""
    count = 0
    try:
        with path.open("rb") as file:
            while line := file.readline(_MAX_LINE_BYTES):
                values = _parse(line, path)
                if "end" in values:
                    if values["end"] != count or file.readline(_MAX_LINE_BYTES):
                        break
                    return
                count += 1
                yield _entry_values(values, path)
    except OSError as error:
        msg = f"cannot read {path}: {error.strerror}"
        raise InputFileError(msg) from error
    raise _spoiled(path)


def _parse(line: bytes, path: Path) -> dict[str, Any]:
    try:
        values = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise _spoiled(path) from error
    if not isinstance(values, dict):
        raise _spoiled(path)
    return values


def _entry_values(values: dict[str, Any], path: Path) -> tuple[int, str, str]:
    piece, address = values.get("piece"), values.get("address")
    name = values.get("name", address)
    if type(piece) is not int or not isinstance(address, str) or not isinstance(name, str) or "\0" in address + name:
        raise _spoiled(path)
    try:
        os.fsencode(address), os.fsencode(name)
    except UnicodeEncodeError as error:
        raise _spoiled(path) from error
    if not (is_url(address) or os.path.isabs(address)):  # noqa: PTH117  # a million times
        raise _spoiled(path)
    return piece, address, name


def _spoiled(path: Path) -> InputFileError:
    return InputFileError(f"{path} is no whole list of videos; {_ADVICE}")
