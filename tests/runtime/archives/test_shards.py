"""The files of results: whole or not there, and of fixed types."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from pathlib import Path

import pytest

from s2tf_edge.errors import InputFileError
from s2tf_edge.runtime.archives.entries import ListedEntry
from s2tf_edge.runtime.archives.rows import PieceRows, VideoRows
from s2tf_edge.runtime.archives.shards import Shards
from s2tf_edge.runtime.streaming.records import Event, Prediction


def _rows(label: str = "wave") -> PieceRows:
    rows = PieceRows()
    video = VideoRows(ListedEntry(number=7, address="/a\udcff.mp4", name="a\udcff.mp4"))
    shared = {"source": 0, "t_start": 0.1, "t_end": 1.123456789, "label": label, "score": 0.5}
    video.add(Prediction(**shared, topk=((label, 0.5), ("run", 0.25)), age_ms=1.0, infer_ms=2.0))  # type: ignore[arg-type]
    video.add(Event(**shared, source_t_start=5.0))  # type: ignore[arg-type]
    rows.add(video)
    bad = VideoRows(ListedEntry(number=8, address="/b.mp4", name="b.mp4"))
    bad.give_up("missing", "\ud800 is gone")
    rows.add(bad)
    return rows


@pytest.mark.parametrize("format", ["parquet", "jsonl"])
@pytest.mark.parametrize("label", ["wave", "\ud800", "\x00", "走る"])
def test_what_is_written_is_read(tmp_path: Path, format: str, label: str) -> None:
    shards = Shards(tmp_path, format)
    assert not shards.is_done(3)
    shards.commit(3, _rows(label))
    assert shards.is_done(3)
    said = r"\ud800" if label == "\ud800" else label
    columns = ("entry", "source", "t_start", "t_end", "source_t_start", "source_t_end", "label", "score")
    (event,) = shards.read("events", 3, columns=columns)
    assert [*event.values()] == [7, r"a\xff.mp4", 0.1, 1.123457, 5.0, None, said, 0.5]
    read = shards.read("videos", 3, columns=("entry", "status", "error", "windows", "events", "seconds"))
    assert [[*row.values()] for row in read] == [
        [7, "ok", None, 1, 1, 0.0],
        [8, r"\ud800 is gone", "missing", 0, 0, 0.0],
    ]
    shards.undo(3)
    assert not shards.is_done(3)
    shards.undo(3)


def test_topk_of_parquet(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    Shards(tmp_path, "parquet").commit(0, _rows())
    (row,) = parquet.read_table(tmp_path / "predictions/0000000.parquet").to_pylist()
    assert row["topk"] == [{"label": "wave", "score": 0.5}, {"label": "run", "score": 0.25}]
    assert row["source_bytes"] == b"a\xff.mp4"


@pytest.mark.parametrize("format", ["parquet", "jsonl"])
def test_a_piece_without_a_row_is_a_piece(tmp_path: Path, format: str) -> None:
    shards = Shards(tmp_path, format)
    shards.commit(0, PieceRows())
    assert shards.is_done(0)
    assert not [*shards.read("events", 0, columns=("label",))]


@pytest.mark.parametrize("format", ["parquet", "jsonl"])
def test_a_full_disk_leaves_a_piece_undone(
    tmp_path: Path, format: str, file_limit: Callable[[int], AbstractContextManager[None]]
) -> None:
    shards = Shards(tmp_path, format)
    with file_limit(400), pytest.raises(InputFileError, match=r"cannot write .*; free some space"):
        shards.commit(0, _rows("x" * 500))
    assert not shards.is_done(0)
    shards.commit(0, _rows())
    assert shards.is_done(0)


@pytest.mark.parametrize("format", ["parquet", "jsonl"])
@pytest.mark.parametrize("spoiled", [b"", b"half", b'{"entry": "x", "label": 1}\n', b"[]\n", b"PAR1" * 8])
def test_a_spoiled_file_is_named_with_what_to_do(tmp_path: Path, format: str, spoiled: bytes) -> None:
    shards = Shards(tmp_path, format)
    shards.commit(0, _rows())
    (tmp_path / f"events/0000000.{format}").write_bytes(spoiled)
    if format == "jsonl" and not spoiled:
        return
    with pytest.raises(
        InputFileError, match=r"is not as it was written .*; remove .*videos/0000000\.\w+, and the piece"
    ):
        [*shards.read("events", 0, columns=("entry", "label"))]


def test_parquet_that_was_damaged_anywhere_is_read_or_refused(tmp_path: Path) -> None:
    shards = Shards(tmp_path, "parquet")
    shards.commit(0, _rows())
    path = tmp_path / "events/0000000.parquet"
    whole, draw = path.read_bytes(), random.Random(0)
    refused = 0
    for _ in range(300):
        data = bytearray(whole)
        for _ in range(draw.choice((1, 1, 2, 8))):
            data[draw.randrange(len(data))] = draw.randrange(256)
        path.write_bytes(data[: draw.choice((len(data), draw.randrange(len(data))))])
        refused += 1
        with suppress(InputFileError):
            [*shards.read("events", 0, columns=("label", "t_start", "t_end"))]
            refused -= 1
    assert refused > 100
