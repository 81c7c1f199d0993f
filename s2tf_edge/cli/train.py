"""``s2tf-train``: trains a network on a data set."""

from __future__ import annotations

import dataclasses
import logging
import shlex
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypedDict

import typer

from s2tf_edge.cli.app import Quiet, Verbose, progress_bar, run, say, setup_logging, version_option
from s2tf_edge.cli.completions import networks
from s2tf_edge.cli.dataclass_flags import with_overrides
from s2tf_edge.cli.repetition import repeat_words
from s2tf_edge.errors import UsageError

if TYPE_CHECKING:
    from s2tf_edge.data.training_data import TrainingData
    from s2tf_edge.data.videos import Videos
    from s2tf_edge.training import TrainConfig, TrainResult

__all__ = ["command", "main", "train"]

logger = logging.getLogger(__name__)

_NAME = "s2tf-train"
_EXAMPLES = (
    "s2tf-train videos/ --model s2tf_r3d_18 --out runs/a --group-by '^([a-z]+)_'",
    "s2tf-train 'ucf101:UCF101?split=1' --model s2tf_r3d_18 --out runs/ucf",
    "s2tf-train --unlabelled videos/ --teacher i3d.onnx --model s2tf_x3d_s --out runs/small",
    "s2tf-train synthetic --model 's2tf_r3d_10?width=0.25' --size 64 --epochs 10 --out runs/small",
    "s2tf-train videos/ --model s2tf_x3d_s --pretrained k400.pt --recipe small-finetune --out runs/fine",
    "s2tf-train videos/ --config runs/a/train.toml --out runs/again",
)


class _Drawing(TypedDict):
    """How validation videos are chosen."""

    validation: str | None
    group_by: str | None
    seed: int


def train(
    context: typer.Context,
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            "-o",
            help="Folder for model.pt, train.toml, last.ckpt, metrics.csv, curves.png, TensorBoard events.",
        ),
    ],
    overrides: dict[str, Any],
    data: Annotated[
        str | None,
        typer.Argument(
            help="A folder of class folders, or of train and val with such; a list file; ucf101:ROOT?split=1, "
            "hmdb51:ROOT?split=1, kinetics:ROOT; or synthetic. Left out to learn from --teacher alone.",
            metavar="DATA",
            show_default=False,
        ),
    ] = None,
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
    resume: Annotated[
        str,
        typer.Option(
            help="Continue from OUT/last.ckpt; PATH is one to go on from with other settings.",
            metavar="auto|never|PATH",
        ),
    ] = "auto",
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
    from s2tf_edge.processes import Processes

    first = Processes.from_environment().is_first
    setup_logging(quiet=quiet or not first, verbose=verbose)
    from s2tf_edge.extras import require

    require("lightning", extra="train", purpose="training")
    from s2tf_edge.cli.teacher import Lesson, check_teacher_files, learn_from
    from s2tf_edge.data.training_data import divide_videos
    from s2tf_edge.progress import no_progress
    from s2tf_edge.training import TrainConfig
    from s2tf_edge.training import train as fit
    from s2tf_edge.training.early_checks import check_run_files
    from s2tf_edge.training.recipes import AUTO, NONE, check_recipe, recipe_settings

    values = _overrides(config) | overrides
    checked = _check_values(values, val_split=val_split)
    name = recipe or (AUTO if config is None else NONE)
    check_recipe(name)
    _check_sources(data, unlabelled, has_teacher=teacher is not None)
    if teacher is not None:
        check_teacher_files(teacher, teacher_meta)
    check_run_files(out=out, pretrained=pretrained, resume=resume)
    drawn: _Drawing = {"validation": val_split, "group_by": group_by, "seed": checked.seed}
    sides, more = _open_videos(data, unlabelled, drawn)
    count = (len(sides.train) if sides else 0) + len(more or ())
    settings = TrainConfig(**recipe_settings(name, videos=count, pretrained=pretrained is not None) | values)
    if sides is not None:
        _say_what_was_understood(settings, sides, unlabeled=len(more or ()))
    if teacher is None:
        assert sides is not None
        lesson = Lesson(sides=sides)
    else:
        divide = partial(divide_videos, **drawn)
        lesson = learn_from(teacher, teacher_meta, sides, more, divide=divide, settings=settings, out=out)
    if sides is None:
        _say_what_was_understood(settings, lesson.sides)
    with progress_bar("training") if first else nullcontext(no_progress) as progress:
        result = fit(
            settings,
            videos=lesson.sides.train,
            validation=lesson.sides.validation,
            out=out,
            pretrained=pretrained,
            resume=resume,
            teaching=lesson.teaching,
            command=_repeat_command(context, out),
            progress=progress,
        )
    if first:
        _say_result(result, measured="top-1" if data is not None else "agreement with the teacher")


def main() -> None:
    """Entry point of the console script."""
    run(command(), name=_NAME, examples=_EXAMPLES)


def command() -> Callable[..., None]:
    """``train`` for a parser, with a flag for each setting of ``TrainConfig``."""
    from s2tf_edge.training.config import TOPICS, TrainConfig

    return with_overrides(train, TrainConfig, topics=TOPICS, completers={"model": networks})


def _repeat_command(context: typer.Context, out: Path) -> str:
    """The line that gives the run again, in another folder."""
    from s2tf_edge.training.config import TrainConfig
    from s2tf_edge.training.settings_file import SETTINGS_FILE

    in_file = {field.name for field in dataclasses.fields(TrainConfig)}
    known = in_file | {"out", "recipe", "config", "resume", "quiet", "verbose", "log"}
    # The demo calls itself otherwise.
    words = repeat_words(context, command=_NAME, without=known)
    return " ".join([*words, "--config", shlex.quote(str(out / SETTINGS_FILE)), "--out", "DIR"])


def _overrides(config: Path | None) -> dict[str, Any]:
    from s2tf_edge.training.config import read_overrides

    return {} if config is None else read_overrides(config)


def _check_values(values: dict[str, Any], *, val_split: str | None) -> TrainConfig:
    """The settings without a recipe: what is out of its range is said before data are looked at."""
    from s2tf_edge.data.datasets import share_of
    from s2tf_edge.training import TrainConfig

    if "model" not in values:
        msg = "there is no network to train; give --model NAME (s2tf-models lists them), or model in --config"
        raise UsageError(msg)
    config = TrainConfig(**values)
    if config.keep == "best" and share_of(val_split) == 0:
        msg = "`keep='best'` needs videos to validate on; give `val_split` a share above 0, or `keep='last'`"
        raise UsageError(msg)
    return config


def _open_videos(
    data: str | None, unlabelled: str | None, drawn: _Drawing
) -> tuple[TrainingData | None, Videos | None]:
    """What has labels, and what has none."""
    from s2tf_edge.data.datasets import open_videos
    from s2tf_edge.data.side_checks import without_shared_videos
    from s2tf_edge.data.training_data import open_training_data

    sides = None if data is None else open_training_data(data, **drawn)
    more = None if unlabelled is None else open_videos(unlabelled, use="train")
    if more is not None and sides is not None:
        more = without_shared_videos(more, sides.validation)
    return sides, more


def _check_sources(data: str | None, unlabelled: str | None, *, has_teacher: bool) -> None:
    if unlabelled is not None and not has_teacher:
        msg = f"nobody says what the videos of {unlabelled} show; give --teacher MODEL_OR_ARTIFACT, which does"
        raise UsageError(msg)
    if data is None and not has_teacher:
        msg = "there is nothing to learn from; give DATA, or --unlabelled VIDEOS and --teacher MODEL_OR_ARTIFACT"
        raise UsageError(msg)


def _say_result(result: TrainResult, *, measured: str) -> None:
    score = "no validation"
    if result.top1 is not None:
        score = f"{result.top1:.1f} % {measured} on {result.validated} validation videos"
    say(f"{result.model}: {score} (epoch {result.epoch})")
    say(f"next: s2tf-export {shlex.quote(str(result.model))} --target openvino")


def _say_what_was_understood(settings: TrainConfig, sides: TrainingData, *, unlabeled: int = 0) -> None:
    from s2tf_edge.processes import Processes
    from s2tf_edge.training.understanding import describe_run_lines

    if not logger.isEnabledFor(logging.INFO):
        return
    for line in describe_run_lines(settings, sides, unlabeled=unlabeled, processes=Processes.from_environment().count):
        logger.info("%s", line)
