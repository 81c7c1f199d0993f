"""``s2tf-train``: trains a network on a data set."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from s2tf_edge.cli.app import Quiet, Verbose, progress_bar, run, setup_logging, version_option

__all__ = ["main", "train"]

_NAME = "s2tf-train"
_EXAMPLES = (
    "s2tf-train videos/ --model s2tf_r3d_18 --out runs/a --group-by '^([a-z]+)_'",
    "s2tf-train synthetic --model 's2tf_r3d_10?width=0.25' --size 64 --epochs 10 --out runs/small",
)


def train(
    data: Annotated[str, typer.Argument(help="A folder of class folders, a list file, or synthetic.", metavar="DATA")],
    out: Annotated[Path, typer.Option(help="Folder for model.pt, last.ckpt, metrics.csv and TensorBoard events.")],
    model: Annotated[
        str | None, typer.Option(help="Network, such as s2tf_nl_i3d_r50 or 's2tf_r3d_10?width=0.25'; see s2tf-models.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the training videos; 60 by default.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Clips in a step; 8 by default.")] = None,
    lr: Annotated[float | None, typer.Option(help="Peak learning rate of AdamW; 0.002 by default.")] = None,
    frames: Annotated[int | None, typer.Option(help="Frames in a clip; the network's own by default.")] = None,
    size: Annotated[int | None, typer.Option(help="Side of the crop in pixels; the network's own by default.")] = None,
    stride: Annotated[int | None, typer.Option(help="Sampling stride in frames; the network's own by default.")] = None,
    loss: Annotated[
        str | None, typer.Option(help="ce, ce-l1 or ce-l1-l2; by default all that the network has terms for.")
    ] = None,
    val_split: Annotated[
        str, typer.Option(help="Share of the videos to validate on, or a list file of them.", metavar="SHARE|LIST")
    ] = "0.2",
    group_by: Annotated[
        str | None,
        typer.Option(help="Files whose names share the first group of this pattern stay on one side.", metavar="REGEX"),
    ] = None,
    pretrained: Annotated[
        Path | None, typer.Option(help="A model.pt to start from.", metavar="CKPT", readable=False)
    ] = None,
    precision: Annotated[str | None, typer.Option(help="fp32, bf16-mixed or 16-mixed; fp32 by default.")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes that read videos; 1 by default.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of weights, order and augmentation; 0 by default.")] = None,
    resume: Annotated[str, typer.Option(help="Continue from OUT/last.ckpt.", metavar="auto|never|PATH")] = "auto",
    config: Annotated[
        Path | None,
        typer.Option(help="TOML file with more settings; flags come first.", metavar="FILE.toml", readable=False),
    ] = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
    version: Annotated[bool, version_option(_NAME)] = False,
) -> None:
    """Train a network and write [bold]model.pt[/bold], ready for s2tf-export.

    A run that was killed goes on where it was when the same command is given again.
    """
    del version
    first = os.environ.get("RANK", "0") == "0"  # torchrun numbers its processes
    setup_logging(quiet=quiet or not first, verbose=verbose)
    from s2tf_edge.errors import UsageError
    from s2tf_edge.extras import require

    require("lightning", extra="train", purpose="training")
    from s2tf_edge.data.datasets import open_data, split
    from s2tf_edge.training import TrainConfig
    from s2tf_edge.training import train as fit

    flags: dict[str, Any] = {
        "model": model,
        "epochs": epochs,
        "batch_size": batch_size,
        "lr": lr,
        "frames": frames,
        "size": size,
        "stride": stride,
        "loss": loss,
        "precision": precision,
        "workers": workers,
        "seed": seed,
    }
    values = _overrides(config) | {key: value for key, value in flags.items() if value is not None}
    if "model" not in values:
        msg = "there is no network to train; give --model NAME (s2tf-models lists them), or model in --config"
        raise UsageError(msg)
    settings = TrainConfig(**values)
    videos, validation = split(open_data(data), val_split, group_by=group_by, seed=settings.seed)
    with progress_bar("training") as progress:
        result = fit(
            settings,
            videos=videos,
            validation=validation,
            out=out,
            pretrained=pretrained,
            resume=resume,
            progress=progress,
        )
    if first:
        score = f"{result.top1:.1f} % top-1 on {len(validation)} validation videos"
        typer.echo(f"{result.model}: {score} (epoch {result.epoch})")
        typer.echo(f"next: s2tf-export {shlex.quote(str(result.model))} --target openvino")


def main() -> None:
    """Entry point of the console script."""
    run(train, name=_NAME, examples=_EXAMPLES)


def _overrides(config: Path | None) -> dict[str, Any]:
    from s2tf_edge.training.config import read_overrides

    return {} if config is None else read_overrides(config)
