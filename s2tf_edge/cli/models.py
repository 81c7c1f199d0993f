"""``s2tf-models``: the networks that there are, and what they cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from s2tf_edge.cli.app import Quiet, Verbose, print_json, progress_bar, run, say, version_option

if TYPE_CHECKING:
    from s2tf_edge.progress import Progress

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
        list[str] | None, typer.Argument(help="Names, with options where wanted, or patterns such as s2tf_*.")
    ] = None,
    classes: Annotated[int, typer.Option(help="Classes of the classifier.", min=1)] = 400,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    version: Annotated[bool, version_option(_NAME)] = False,
) -> None:
    """List the networks: clips, parameters, multiply-accumulates of each form, published accuracy."""
    del quiet, verbose, version  # taken by the app
    from s2tf_edge.extras import require

    require("torch", extra="train", purpose=_NAME)
    with progress_bar("counting") as progress:
        rows = _rows(names or ["*"], classes=classes, progress=progress)
    if json:
        print_json({"classes": classes, "networks": rows})
    else:
        say(_table(rows))
        say(f"\n{_NOTE} Classifiers of {classes} classes.")


def main() -> None:
    """Entry point of the console script."""
    run(list_networks, name=_NAME, examples=_EXAMPLES)


def _rows(names: Sequence[str], *, classes: int, progress: Progress) -> list[dict[str, Any]]:
    from s2tf_edge.models import list_models

    # What matches nothing is a name with options, or unknown, which building it explains.
    chosen = list(dict.fromkeys(match for name in names for match in (list_models(name) or [name])))
    rows = []
    for index, name in enumerate(chosen):
        rows.append(_row(name, classes=classes))
        progress(index + 1, len(chosen))
    return rows


def _row(name: str, *, classes: int) -> dict[str, Any]:
    import dataclasses

    import torch

    from s2tf_edge.models import create_model
    from s2tf_edge.models.cost import network_cost
    from s2tf_edge.models.published import PUBLISHED

    with torch.device("meta"):
        model = create_model(name, num_classes=classes)
    cost = network_cost(model)
    return {
        "name": name,
        "frames": model.spec.frames,
        "size": model.spec.size,
        **dataclasses.asdict(cost),
        "saved": round(cost.saved, 4),
        "published": [dataclasses.asdict(top1) for top1 in PUBLISHED.get(name, ())],
    }


def _table(rows: Sequence[dict[str, Any]]) -> str:
    from s2tf_edge.models.published import PublishedTop1

    cells = [
        (
            row["name"],
            f"{row['frames']} × {row['size']}²",
            f"{row['parameters'] / 1e6:.1f}",
            *(f"{row[f'{form}_macs'] / 1e9:.2f}" for form in ("published", "training", "inference")),
            f"{row['saved']:.1%}",
            "; ".join(str(PublishedTop1(**top1)) for top1 in row["published"]),
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
