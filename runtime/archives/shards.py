"""The files of an archive's results: three a piece, in Parquet or as JSON lines, and each is whole or not there.

    predictions/0000007.parquet  ─ first
    events/0000007.parquet       ─ next
    videos/0000007.parquet       ─ last: with it the piece is done

A piece that was begun and not finished has no file of videos; its others are written over by whoever does it again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from s2tf_edge.errors import InputFileError, UsageError
from s2tf_edge.extras import require
from s2tf_edge.runtime.archives.rows import COLUMNS, TABLES, PieceRows, Row
from s2tf_edge.whole_file import whole_file

__all__ = ["FORMATS", "Shards"]

FORMATS: Final = ("parquet", "jsonl")
_DONE: Final = TABLES[-1]
_MAX_LINE_BYTES: Final = 2**20
_PURPOSE: Final = "reading and writing Parquet"
_TYPES: Final[Mapping[str, tuple[type, ...]]] = {"int64": (int,), "float64": (int, float), "string": (str,)}


class Shards:
    """The results of one archive.

    Args:
        folder: of all of them.
        format: ``parquet`` or ``jsonl``.
        writer: a name, where others may write the same piece at the same time.

    Raises:
        UsageError: there is no such format.
        MissingExtraError: pyarrow is not installed, which Parquet needs.
    """

    def __init__(self, folder: Path, format: str, *, writer: str = "") -> None:
        if format not in FORMATS:
            msg = f"`format` must be one of {', '.join(FORMATS)}, got {format[:40]!r}"
            raise UsageError(msg)
        if format == "parquet":
            for module in ("pyarrow", "pyarrow.parquet"):
                require(module, extra="batch", purpose=_PURPOSE)
        self._folder = folder
        self._format = format
        self._writer = writer

    def is_done(self, piece: int) -> bool:
        """Whether a piece was committed."""
        return self._path(_DONE, piece).exists()

    @property
    def is_empty(self) -> bool:
        """Whether no piece was committed."""
        return next((self._folder / _DONE).glob(f"*.{self._format}"), None) is None

    def commit(self, piece: int, rows: PieceRows) -> None:
        """Writes a piece; after that it is done, whatever becomes of this process and machine.

        Raises:
            InputFileError: a file cannot be written.
        """
        for table in TABLES:
            with whole_file(self._path(table, piece), writer=self._writer) as file:
                if self._format == "parquet":
                    _parquet().write_table(_to_arrow(table, rows.tables[table]), file, compression="zstd")
                else:
                    file.writelines(map(_to_line, rows.tables[table]))

    def undo(self, piece: int) -> None:
        """Takes back that a piece is done; its files stay until it is done again.

        Raises:
            InputFileError: its file of videos cannot be removed.
        """
        path = self._path(_DONE, piece)
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            msg = f"cannot remove {path} ({error.strerror}), whose videos are to be done again"
            raise InputFileError(msg) from error

    def read(self, table: str, piece: int, *, columns: Sequence[str]) -> Iterator[Row]:
        """Some columns of the rows of a piece that is done.

        Raises:
            InputFileError: the file is missing or was spoiled.
        """
        path = self._path(table, piece)
        read = _read_parquet if self._format == "parquet" else _read_jsonl
        try:
            yield from read(path, table, columns)
        except (OSError, ValueError, RecursionError, KeyError, TypeError, OverflowError) as error:
            done = self._path(_DONE, piece)
            msg = (
                f"{path} is not as it was written ({type(error).__name__}); remove {done}, and the piece is done again"
            )
            raise InputFileError(msg) from error

    def remove_leftovers(self) -> None:
        """Removes what killed workers left half-written."""
        for table in TABLES:
            for path in (self._folder / table).glob("*.part"):
                with suppress(OSError):
                    path.unlink()

    def _path(self, table: str, piece: int) -> Path:
        return self._folder / table / f"{piece:07d}.{self._format}"


def _parquet() -> Any:
    return require("pyarrow.parquet", extra="batch", purpose=_PURPOSE)


def _to_arrow(table: str, rows: Sequence[Row]) -> Any:
    pyarrow = require("pyarrow", extra="batch", purpose=_PURPOSE)
    kinds = {
        **{name: getattr(pyarrow, name)() for name in ("int64", "float64", "string", "binary")},
        "topk": pyarrow.list_(pyarrow.struct([("label", pyarrow.string()), ("score", pyarrow.float64())])),
    }
    schema = pyarrow.schema([(column, kinds[kind]) for column, kind in COLUMNS[table].items()])
    return pyarrow.Table.from_pylist(list(rows), schema=schema)


def _to_line(row: Row) -> bytes:
    # JSON has no bytes; two digits each are read by every language.
    plain = {key: value.hex() if isinstance(value, bytes) else value for key, value in row.items()}
    return json.dumps(plain, ensure_ascii=False).encode("utf-8") + b"\n"


def _read_parquet(path: Path, table: str, columns: Sequence[str]) -> Iterator[Row]:
    pyarrow = require("pyarrow", extra="batch", purpose=_PURPOSE)
    try:
        with path.open("rb") as file, _parquet().ParquetFile(file) as opened:
            for batch in opened.iter_batches(columns=list(columns)):
                yield from (_checked(row, table, columns) for row in batch.to_pylist())
    except pyarrow.ArrowException as error:
        raise ValueError(str(error)) from error


def _read_jsonl(path: Path, table: str, columns: Sequence[str]) -> Iterator[Row]:
    with path.open("rb") as file:
        while line := file.readline(_MAX_LINE_BYTES):
            yield _checked(json.loads(line), table, columns)


def _checked(row: Row, table: str, columns: Sequence[str]) -> Row:
    """The columns asked for, each of its type or None: others may have written the file."""
    return {column: _value(row[column], COLUMNS[table][column]) for column in columns}


def _value(value: Any, kind: str) -> Any:
    if value is None:
        return None
    is_right = isinstance(value, _TYPES[kind]) and not isinstance(value, bool)
    if not is_right or (kind == "int64" and abs(value) >= 2**63):
        raise TypeError(kind)
    return float(value) if kind == "float64" else value
