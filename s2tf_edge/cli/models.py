"""``s2tf-models``: the networks that there are, and what they cost."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from s2tf_edge.cli.app import Quiet, Verbose, print_json, progress_bar, run, say, version_option
from s2tf_edge.cli.completions import networks

__all__ = ["list_networks", "main"]

_NAME = "s2tf-models"
_EXAMPLES = (
    "s2tf-models",
    "s2tf-models 's2tf_x3d_*' 'x3d_*'",
    "s2tf-models 's2tf_r3d_18?width=0.5&frames=8&size=112'",
    "s2tf-models 's2tf_*' --json",
)
_HEADINGS = (
    "network",
    "clip",
    "params M",
    "GMAC published",
    "GMAC training",
    "GMAC inference",
    "saved",
    "published top-1, %",
)
_NOTE = (
    "GMAC: 10⁹ multiply-accumulates for one clip. Published: TSFP on every interleaved frame, as the authors release "
    "it. Training: as built here, the same result from fewer frames. Inference: as exported, without taps that only "
    "meet padding. Saved: by the inference form, of the published one."
)


def list_networks(
    names: Annotated[
        list[str] | None,
        typer.Argument(help="Names, with options where wanted, or patterns such as s2tf_*.", autocompletion=networks),
    ] = None,
    classes: Annotated[int, typer.Option(help="Classes of the classifier.", min=1)] = 400,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    version: Annotated[bool, version_option(_NAME)] = False,
) -> None:
    """List the networks: clips, parameters, multiply-accumulates of each form, published accuracy."""
    del quiet, verbose, version  # taken by the app
    rows = _rows(names or ["*"], classes=classes)
    if json:
        print_json({"classes": classes, "networks": rows})
    else:
        say(_table(rows))
        say(f"\n{_NOTE} Classifiers of {classes} classes.")


def main() -> None:
    """Entry point of the console script."""
    run(list_networks, name=_NAME, examples=_EXAMPLES)


def _rows(names: Sequence[str], *, classes: int) -> list[dict[str, Any]]:
    """Of the table that ships, where that has them; other networks are built, which takes torch."""
    from s2tf_edge.network_table import TABLE_CLASSES, network_table

    table = network_table()
    # What matches nothing is a name with options, or unknown.
    chosen = list(dict.fromkeys(match for name in names for match in (fnmatch.filter(table, name) or [name])))
    built = [name for name in chosen if name not in table or classes != TABLE_CLASSES]
    rows = _count(built, classes=classes) if built else {}
    return [dict(rows.get(name) or table[name]) for name in chosen]


def _count(names: Sequence[str], *, classes: int) -> dict[str, dict[str, Any]]:
    from s2tf_edge.extras import require
    from s2tf_edge.file_kinds import NETWORK_NAME, check_kind
    from s2tf_edge.network_table import backbone_names, network_table, unknown_network

    for base in (name.partition("?")[0] for name in names):
        if base not in network_table():
            check_kind(base, NETWORK_NAME)
            raise unknown_network(base, backbone_names())
    require("torch", extra="train", purpose="counting networks with options or other than 400 classes")
    from s2tf_edge.models.rows import network_row

    rows = {}
    with progress_bar("counting") as progress:
        for index, name in enumerate(names):
            rows[name] = network_row(name, classes=classes)
            progress(index + 1, len(names))
    return rows


def _table(rows: Sequence[dict[str, Any]]) -> str:
    cells = [
        (
            row["name"],
            f"{row['frames']} × {row['size']}²",
            f"{row['parameters'] / 1e6:.1f}",
            *(f"{row[f'{form}_macs'] / 1e9:.2f}" for form in ("published", "training", "inference")),
            f"{row['saved']:.1%}",
            "; ".join("{dataset} {percent} ({source})".format_map(top1) for top1 in row["published"]),
        )
        for row in rows
    ]
    widths = [max(map(len, column)) for column in zip(_HEADINGS, *cells, strict=True)]
    last = len(widths) - 1
    # Text begins its column, numbers end theirs.
    return "\n".join(
        "  ".join(
            cell.ljust(width) if index in {0, last} else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in (_HEADINGS, *cells)
    )
