"""``metrics.csv``: a row an epoch."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from s2tf_edge.whole_file import whole_file

__all__ = ["Row", "read_rows", "write_rows"]

Row = dict[str, str]
"""Values of an epoch by their columns, as they are printed."""

_FIRST: Final = ("epoch", "train_loss", "train_top1")
_LAST: Final = ("val_loss", "val_top1", "lr", "seconds", "unreadable")


def read_rows(path: Path) -> list[Row]:
    """The rows of a file, none where it is missing."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [row for row in csv.DictReader(file) if (row.get("epoch") or "").isdigit()]


def write_rows(path: Path, rows: Iterable[Row]) -> None:
    """Writes all rows anew; terms of the loss stand between those of training and validation.

    Raises:
        InputFileError: the file cannot be written.
    """
    rows = list(rows)
    terms = [name for name in dict.fromkeys(name for row in rows for name in row) if name not in _FIRST + _LAST]
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, (*_FIRST, *terms, *_LAST), restval="")
    writer.writeheader()
    writer.writerows(rows)
    with whole_file(path) as file:
        file.write(text.getvalue().encode())
