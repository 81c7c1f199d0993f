"""``s2tf-train``: trains a network on a data set."""

from __future__ import annotations

import logging
import os
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from s2tf_edge.cli.app import Quiet, Verbose, progress_bar, run, setup_logging, version_option
from s2tf_edge.cli.dataclass_flags import with_overrides

__all__ = ["command", "main", "train"]

logger = logging.getLogger(__name__)

_NAME = "s2tf-train"
_EXAMPLES = (
    "s2tf-train videos/ --model s2tf_r3d_18 --out runs/a --group-by '^([a-z]+)_'",
    "s2tf-train 'ucf101:UCF101?split=1' --model s2tf_r3d_18 --out runs/ucf",
    "s2tf-train synthetic --model 's2tf_r3d_10?width=0.25' --size 64 --epochs 10 --out runs/small",
)


def train(
    data: Annotated[
        str,
        typer.Argument(
            help="A folder of class folders, or of train and val with such; a list file; ucf101:ROOT?split=1, "
            "hmdb51:ROOT?split=1, kinetics:ROOT; or synthetic.",
            metavar="DATA",
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder for model.pt, last.ckpt, metrics.csv and TensorBoard events.")],
    overrides: dict[str, Any],
    val_split: Annotated[
        str | None,
        typer.Option(
            help="Share of the videos to validate on, 0 for none; a list of them; or another data set. By default what "
            "the data set itself has for that, else 0.2.",
            metavar="SHARE|LIST",
        ),
    ] = None,
    group_by: Annotated[
        str | None,
        typer.Option(help="Files whose names share the first group of this pattern stay on one side.", metavar="REGEX"),
    ] = None,
    pretrained: Annotated[
        Path | None, typer.Option(help="A model.pt to start from.", metavar="CKPT", readable=False)
    ] = None,
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
    from s2tf_edge.data.training_data import open_training_data
    from s2tf_edge.training import TrainConfig
    from s2tf_edge.training import train as fit
    from s2tf_edge.training.understanding import describe_run_lines

    values = _overrides(config) | overrides
    if "model" not in values:
        msg = "there is no network to train; give --model NAME (s2tf-models lists them), or model in --config"
        raise UsageError(msg)
    settings = TrainConfig(**values)
    sides = open_training_data(data, validation=val_split, group_by=group_by, seed=settings.seed)
    if logger.isEnabledFor(logging.INFO):
        for line in describe_run_lines(settings, sides, processes=int(os.environ.get("WORLD_SIZE", "1"))):
            logger.info("%s", line)
    with progress_bar("training") as progress:
        result = fit(
            settings,
            videos=sides.train,
            validation=sides.validation,
            out=out,
            pretrained=pretrained,
            resume=resume,
            progress=progress,
        )
    if first:
        count = len(sides.validation)
        score = f"{result.top1:.1f} % top-1 on {count} validation videos" if count else "no validation"
        typer.echo(f"{result.model}: {score} (epoch {result.epoch})")
        typer.echo(f"next: s2tf-export {shlex.quote(str(result.model))} --target openvino")


def main() -> None:
    """Entry point of the console script."""
    run(command(), name=_NAME, examples=_EXAMPLES)


def command() -> Callable[..., None]:
    """``train`` for a parser, with a flag for each setting of ``TrainConfig``."""
    from s2tf_edge.training.config import TOPICS, TrainConfig

    return with_overrides(train, TrainConfig, topics=TOPICS)


def _overrides(config: Path | None) -> dict[str, Any]:
    from s2tf_edge.training.config import read_overrides

    return {} if config is None else read_overrides(config)
