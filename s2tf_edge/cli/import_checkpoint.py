"""``s2tf-import``: from a published checkpoint to a ``model.pt``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from s2tf_edge.cli.app import Quiet, Verbose, existing, run, say, translate, version_option
from s2tf_edge.cli.completions import named, networks

if TYPE_CHECKING:
    from s2tf_edge.models import VideoNetwork
    from s2tf_edge.models.checkpoints import KeyReport

__all__ = ["import_checkpoint", "main"]

_NAME = "s2tf-import"
_EXAMPLES = (
    "s2tf-import s2tf_k400.pyth --model s2tf_nl_i3d_r50 --labels kinetics_classnames.json",
    "s2tf-import I3D_NLN_8x8_R50.pyth --model 's2tf_nl_i3d_r50?size=128' --new-head 51 --out hmdb51.pt",
    "s2tf-import x3d_s.pyth --model s2tf_x3d_s",
    "s2tf-import resnet-18-kinetics.pth --model 'r3d_18?shortcut=A' --format resnet3d",
    "s2tf-import r2plus1d_18-91a641e6.pth --model s2tf_r2plus1d_18",
    "s2tf-import run/checkpoint.pth --ema",
)


def import_checkpoint(
    checkpoint: Annotated[
        Path,
        typer.Argument(
            help="File that the published implementation wrote, or .safetensors.", metavar="CHECKPOINT", readable=False
        ),
    ],
    model: Annotated[
        str | None,
        typer.Option(
            help="Name of the network, with options where wanted: s2tf_nl_i3d_r50?frames=8&size=128. Where it is left "
            "out, the one network that has such weights.",
            show_default=False,
            autocompletion=networks,
        ),
    ] = None,
    format: Annotated[
        str,
        typer.Option(
            help="s2tfnet, slowfast, pytorchvideo, mmaction2, torchvision, p3d or resnet3d; auto tells them apart by "
            "their keys.",
            **named(("auto", "s2tfnet", "slowfast", "pytorchvideo", "mmaction2", "torchvision", "p3d", "resnet3d")),
        ),
    ] = "auto",
    labels: Annotated[
        Path | None,
        typer.Option(help="Class names: one a line, classInd.txt, or JSON.", metavar="FILE", readable=False),
    ] = None,
    new_head: Annotated[
        int | None, typer.Option(help="Replace the classifier by a fresh one of N classes.", metavar="N", min=1)
    ] = None,
    ema: Annotated[
        bool, typer.Option("--ema", help="Take the running average of the weights, where the checkpoint keeps one.")
    ] = False,
    out: Annotated[Path, typer.Option("--out", "-o", help="File to write.")] = Path("model.pt"),
    quiet: Quiet = False,
    verbose: Verbose = False,
    version: Annotated[bool, version_option(_NAME)] = False,
) -> None:
    """Turn a [bold]published checkpoint[/bold] into a model.pt, or say which of its weights do not fit."""
    del quiet, verbose, version  # taken by the app
    from s2tf_edge.extras import require

    require("torch", extra="train", purpose=_NAME)
    from s2tf_edge.label_file import read_labels
    from s2tf_edge.models import save_model
    from s2tf_edge.models.checkpoints import import_checkpoint as convert

    names = None if labels is None else read_labels(existing(labels))
    network, report = convert(
        existing(checkpoint), model=model, format=format, labels=names, new_head=new_head, ema=ema
    )
    save_model(out, network, extra={"imported": {"file": checkpoint.name, "format": report.format, "ema": ema}})
    say(_summary(out, network, report, inferred=model is None))


def main() -> None:
    """Entry point of the console script."""
    run(import_checkpoint, name=_NAME, examples=_EXAMPLES)


def _summary(out: Path, network: VideoNetwork, report: KeyReport, *, inferred: bool) -> str:
    spec = network.spec
    lines = [
        f"{out}: {network.name}, {network.num_classes} classes, clips of {spec.frames} × {spec.size} × {spec.size}",
        f"{report.loaded} tensors taken from the checkpoint (format {report.format})",
        *([f"{network.name} is the one network that has such weights; --model names another form of it"] * inferred),
        *map(translate, report.notes),
    ]
    if any(key.startswith("saliency.") for key in report.fresh):
        whole = any(key.startswith("saliency.miners.") for key in report.fresh)
        lines.append(f"the {'saliency' if whole else 'TSFP'} modules start fresh: train before use")
    if any(key.startswith("backbone.head.") for key in report.fresh):
        lines.append("the classifier starts fresh: train before use")
    return "\n".join(lines)
