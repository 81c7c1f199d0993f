"""Writes the table of networks that ships, of the registry; run it after a network was added or changed."""

from __future__ import annotations

import json
from pathlib import Path

from s2tf_edge.models import list_models
from s2tf_edge.models.rows import network_row
from s2tf_edge.network_table import TABLE_CLASSES, TABLE_FILE

FILE = Path(__file__).parents[1].joinpath("s2tf_edge", *TABLE_FILE)


def main() -> None:
    """Builds every network on no memory, and counts."""
    rows = [json.dumps(network_row(name, classes=TABLE_CLASSES)) for name in list_models()]
    FILE.write_text("[\n" + ",\n".join(rows) + "\n]\n", encoding="utf-8")
    print(f"{FILE}: {len(rows)} networks")


if __name__ == "__main__":
    main()
