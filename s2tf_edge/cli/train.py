"""``s2tf-train``: trains a network on a data set."""

from __future__ import annotations

import dataclasses
import os
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from s2tf_edge.cli.app import Quiet, Verbose, progress_bar, run, setup_logging, version_option
from s2tf_edge.cli.dataclass_flags import with_overrides
from s2tf_edge.cli.repetition import repeat_words

__all__ = ["command", "main", "train"]

_NAME = "s2tf-train"
_EXAMPLES = (
    "s2tf-train videos/ --model s2tf_r3d_18 --out runs/a --group-by '^([a-z]+)_'",
    "s2tf-train synthetic --model 's2tf_r3d_10?width=0.25' --size 64 --epochs 10 --out runs/small",
    "s2tf-train videos/ --model s2tf_x3d_s --pretrained k400.pt --recipe small-finetune --out runs/fine",
    "s2tf-train videos/ --config runs/a/train.toml --out runs/again",
)


def train(
    context: typer.Context,
    data: Annotated[str, typer.Argument(help="A folder of class folders, a list file, or synthetic.", metavar="DATA")],
    out: Annotated[
        Path, typer.Option(help="Folder for model.pt, train.toml, last.ckpt, metrics.csv and TensorBoard events.")
    ],
    overrides: dict[str, Any],
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
    resume: Annotated[str, typer.Option(help="Continue from OUT/last.ckpt.", metavar="auto|never|PATH")] = "auto",
    recipe: Annotated[
        str | None,
        typer.Option(
            help="Shipped settings in place of the defaults: auto (by data and --pretrained), s2tfnet, "
            "small-finetune, small-scratch, x3d or none; auto by default, none with --config.",
            metavar="NAME",
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            help="TOML file of settings, such as the train.toml of a run; they come before the recipe's, flags first.",
            metavar="FILE.toml",
            readable=False,
        ),
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
    from s2tf_edge.training.recipes import AUTO, NONE, recipe_settings

    values = _overrides(config) | overrides
    if "model" not in values:
        msg = "there is no network to train; give --model NAME (s2tf-models lists them), or model in --config"
        raise UsageError(msg)
    # What is out of its range is said before data are looked at, which takes a while.
    seed = TrainConfig(**values).seed
    videos, validation = split(open_data(data), val_split, group_by=group_by, seed=seed)
    name = recipe or (AUTO if config is None else NONE)
    settings = TrainConfig(
        **recipe_settings(name, videos=len(videos), pretrained=pretrained is not None) | values,
    )
    with progress_bar("training") as progress:
        result = fit(
            settings,
            videos=videos,
            validation=validation,
            out=out,
            pretrained=pretrained,
            resume=resume,
            command=_repeat_command(context, out),
            progress=progress,
        )
    if first:
        score = "" if result.top1 is None else f"{result.top1:.1f} % top-1 on {len(validation)} validation videos "
        typer.echo(f"{result.model}: {score}(epoch {result.epoch})")
        typer.echo(f"next: s2tf-export {shlex.quote(str(result.model))} --target openvino")


def main() -> None:
    """Entry point of the console script."""
    run(command(), name=_NAME, examples=_EXAMPLES)


def command() -> Callable[..., None]:
    """``train`` for a parser, with a flag for each setting of ``TrainConfig``."""
    from s2tf_edge.training.config import TOPICS, TrainConfig

    return with_overrides(train, TrainConfig, topics=TOPICS)


def _repeat_command(context: typer.Context, out: Path) -> str:
    """The line that gives the run again, in another folder."""
    from s2tf_edge.training.config import TrainConfig
    from s2tf_edge.training.settings_file import SETTINGS_FILE

    in_file = {field.name for field in dataclasses.fields(TrainConfig)}
    words = repeat_words(context, without=in_file | {"out", "recipe", "config", "resume", "quiet", "verbose"})
    return " ".join([*words, "--config", shlex.quote(str(out / SETTINGS_FILE)), "--out", "DIR"])


def _overrides(config: Path | None) -> dict[str, Any]:
    from s2tf_edge.training.config import read_overrides

    return {} if config is None else read_overrides(config)
