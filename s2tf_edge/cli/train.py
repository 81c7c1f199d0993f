"""``s2tf-train``: trains a network on a data set."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from s2tf_edge.cli.app import Quiet, Verbose, progress_bar, run, setup_logging, version_option
from s2tf_edge.cli.dataclass_flags import with_overrides
from s2tf_edge.errors import UsageError

if TYPE_CHECKING:
    from s2tf_edge.cli.teacher import Lesson
    from s2tf_edge.data.labeled import LabeledVideos
    from s2tf_edge.training import TrainConfig

__all__ = ["command", "main", "train"]

_NAME = "s2tf-train"
_EXAMPLES = (
    "s2tf-train videos/ --model s2tf_r3d_18 --out runs/a --group-by '^([a-z]+)_'",
    "s2tf-train --unlabelled videos/ --teacher i3d.onnx --model s2tf_x3d_s --out runs/small",
    "s2tf-train synthetic --model 's2tf_r3d_10?width=0.25' --size 64 --epochs 10 --out runs/small",
)


def train(
    out: Annotated[Path, typer.Option(help="Folder for model.pt, last.ckpt, metrics.csv and TensorBoard events.")],
    overrides: dict[str, Any],
    data: Annotated[
        str | None,
        typer.Argument(
            help="A folder of class folders, a list file, or synthetic; left out to learn from --teacher alone.",
            metavar="DATA",
            show_default=False,
        ),
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
    teacher: Annotated[
        Path | None,
        typer.Option(
            help="A network to learn from beside the labels, or in their place: a model.pt, an artifact, or an .onnx.",
            metavar="MODEL_OR_ARTIFACT",
            readable=False,
        ),
    ] = None,
    teacher_meta: Annotated[
        Path | None,
        typer.Option(
            help="Clip file of a teacher that is a plain .onnx; the .json beside it by default.",
            metavar="FILE.json",
            readable=False,
        ),
    ] = None,
    unlabelled: Annotated[
        str | None,
        typer.Option(
            help="Videos whose labels do not count, for the teacher to say what they show: a folder, glob or list.",
            metavar="VIDEOS",
        ),
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
    from s2tf_edge.extras import require

    require("lightning", extra="train", purpose="training")
    from s2tf_edge.data.datasets import open_data, split
    from s2tf_edge.training import TrainConfig
    from s2tf_edge.training import train as fit

    values = _overrides(config) | overrides
    if "model" not in values:
        msg = "there is no network to train; give --model NAME (s2tf-models lists them), or model in --config"
        raise UsageError(msg)
    settings = TrainConfig(**values)
    sides = None if data is None else split(open_data(data), val_split, group_by=group_by, seed=settings.seed)
    teaching = None
    if teacher is not None:
        lesson = _prepare_lesson(
            teacher,
            teacher_meta,
            sides,
            unlabelled,
            lambda videos: split(videos, val_split, group_by=group_by, seed=settings.seed),
            settings,
            out,
        )
        sides, teaching = (lesson.videos, lesson.validation), lesson.teaching
    videos, validation = _check_sides(sides, unlabelled if teacher is None else None)
    with progress_bar("training") as progress:
        result = fit(
            settings,
            videos=videos,
            validation=validation,
            out=out,
            pretrained=pretrained,
            resume=resume,
            teaching=teaching,
            progress=progress,
        )
    if first:
        measured = "top-1" if data is not None else "agreement with the teacher"
        score = f"{result.top1:.1f} % {measured} on {len(validation)} validation videos"
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


def _check_sides(
    sides: tuple[LabeledVideos, LabeledVideos] | None, untaught: str | None
) -> tuple[LabeledVideos, LabeledVideos]:
    if untaught is not None:
        msg = f"nobody says what the videos of {untaught} show; give --teacher MODEL_OR_ARTIFACT, which does"
        raise UsageError(msg)
    if sides is None:
        msg = "there is nothing to learn from; give DATA, or --unlabelled VIDEOS and --teacher MODEL_OR_ARTIFACT"
        raise UsageError(msg)
    return sides


def _prepare_lesson(
    teacher: Path,
    meta: Path | None,
    sides: tuple[LabeledVideos, LabeledVideos] | None,
    unlabelled: str | None,
    split_unlabeled: Callable[[LabeledVideos], tuple[LabeledVideos, LabeledVideos]],
    settings: TrainConfig,
    out: Path,
) -> Lesson:
    from s2tf_edge.cli.teacher import open_teacher, prepare_lesson
    from s2tf_edge.data.datasets import open_videos

    more = None if unlabelled is None else open_videos(unlabelled)
    with open_teacher(teacher, meta) as opened:
        return prepare_lesson(opened, sides, more, split_unlabeled=split_unlabeled, settings=settings, out=out)
