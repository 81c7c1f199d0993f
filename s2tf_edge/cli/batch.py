"""``s2tf-batch``: action recognition in archives of videos."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from s2tf_edge.cli.app import (
    Quiet,
    RequireSignature,
    Verbose,
    print_json,
    progress_bar,
    run,
    say,
    setup_logging,
    version_option,
)
from s2tf_edge.cli.completions import named
from s2tf_edge.cli.dataclass_flags import with_fields
from s2tf_edge.cli.durations import part_of_video
from s2tf_edge.cli.log_lines import Log
from s2tf_edge.cli.stream_flags import (
    Device,
    Duration,
    End,
    HardwareDecoding,
    Hop,
    Smooth,
    Start,
    Threshold,
    TopK,
)
from s2tf_edge.words import counted

if TYPE_CHECKING:
    from s2tf_edge.runtime.archives.recognize_archive import MakeCrew
    from s2tf_edge.runtime.archives.status import ArchiveStatus
    from s2tf_edge.runtime.session import SessionOptions
    from s2tf_edge.runtime.streaming.stream_options import StreamOptions

__all__ = ["batch", "main"]

logger = logging.getLogger(__name__)

_NAME: Final = "s2tf-batch"
_WORK: Final = "Work"
_LABELS: Final = 10
"""Lines of a table, at most."""
_EXAMPLES = (
    "s2tf-batch model_openvino_int8 videos/ --out results",
    "s2tf-batch model_openvino_int8 'tapes/**/*.mkv' list.txt --out results --workers 8 --max-bad 1%",
    "s2tf-batch model_openvino_int8 s3://bucket/videos/ --out results --metrics 127.0.0.1:9108",
    "s2tf-batch model_onnx_fp32 https://example.com/clip.mp4 --out results --format jsonl --json",
    "s2tf-batch model_openvino_int8 videos/ --out results --retry-bad",
    "s2tf-batch /shared/model_openvino_int8 /shared/videos/ --out /shared/results --ray 10.0.0.1:6379",
)


@dataclass(frozen=True, kw_only=True)
class BatchFlags:
    """What is asked of an archive, as its user says it."""

    artifact: Annotated[
        Path, typer.Argument(help="An artifact folder or a model.pt.", metavar="ARTIFACT", readable=False)
    ]
    sources: Annotated[
        list[str],
        typer.Argument(
            help="Videos, folders and globs of them, lists (.txt, .csv), and addresses of all these that fsspec "
            "reads, such as s3://, gs:// and https://.",
            metavar="SOURCES",
        ),
    ]
    out: Annotated[
        Path,
        typer.Option(
            "--out", "-o", help="Folder for the results; the same command goes on there where it was.", readable=False
        ),
    ]
    format: Annotated[
        str, typer.Option(help="parquet, or jsonl, which needs no package.", **named(("parquet", "jsonl")))
    ] = "parquet"
    workers: Annotated[
        int | None,
        typer.Option(
            help="Processes, each with the network; by default as many as cores and memory allow.",
            rich_help_panel=_WORK,
        ),
    ] = None
    threads: Annotated[
        int, typer.Option(help="CPU threads of each worker's network.", min=1, rich_help_panel=_WORK)
    ] = 1
    ray: Annotated[
        str | None,
        typer.Option(
            help="Work on a cluster of Ray: auto for the one of this machine, which is started if there is none, or "
            "HOST:PORT of a head. Artifact, videos and DIR must be where all nodes see them.",
            metavar="auto|HOST:PORT",
            rich_help_panel=_WORK,
        ),
    ] = None
    max_bad: Annotated[
        str | None,
        typer.Option(
            help="End with 9 once more videos are bad than this: a number, or a share of all, such as 1%.",
            metavar="N|N%",
            rich_help_panel=_WORK,
        ),
    ] = None
    retry_bad: Annotated[
        bool, typer.Option("--retry-bad", help="Do pieces with bad videos again.", rich_help_panel=_WORK)
    ] = False
    metrics: Annotated[
        str | None,
        typer.Option(
            help="Serve /metrics for Prometheus; any host but this needs --token.",
            metavar="HOST:PORT",
            rich_help_panel=_WORK,
        ),
    ] = None
    token: Annotated[
        str | None,
        typer.Option(help="What Prometheus must show to read /metrics.", envvar="S2TF_TOKEN", rich_help_panel=_WORK),
    ] = None
    topk: TopK = 5
    threshold: Threshold = 0.3
    smooth: Smooth = "ema:0.6"
    hop: Hop = None
    start: Start = None
    end: End = None
    duration: Duration = None
    fps: Annotated[
        float | None,
        typer.Option(help="Frames a second to count videos by, whatever their times.", rich_help_panel="Input"),
    ] = None
    hwaccel: HardwareDecoding = None
    device: Device = "auto"
    require_signature: RequireSignature = None
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")] = False
    quiet: Quiet = False
    verbose: Verbose = False
    log: Log = None
    version: Annotated[bool, version_option(_NAME)] = False


def _command(_context: typer.Context, flags: BatchFlags) -> None:
    """Recognize [bold]actions in archives[/bold]: any number of videos, into Parquet or JSON lines.

    Each video gets what s2tf-stream says of it alone.

    A run that was killed goes on where it was when the same command is given again. A bad video is a row, and no end.
    """
    from s2tf_edge.runtime.archives.recognize_archive import ArchiveOptions, recognize_archive

    setup_logging(quiet=flags.quiet, verbose=flags.verbose, log=flags.log)
    how = ArchiveOptions(format=flags.format, workers=flags.workers, max_bad=flags.max_bad, retry_bad=flags.retry_bad)
    with ExitStack() as stack:
        watch = _serve_metrics(flags, stack)
        make_crew = _join_cluster(flags, stack)
        with progress_bar("listing videos") as progress:
            summary = recognize_archive(
                flags.sources,
                flags.artifact,
                out=flags.out,
                how=how,
                options=_plan_recognition(flags),
                run_on=_plan_session(flags),
                progress=progress,
                watch=watch,
                make_crew=make_crew,
            )
    if flags.json:
        print_json(summary)
    else:
        say("\n".join(_summary_lines(summary, flags.out)))


batch = with_fields(_command, BatchFlags)
"""The command for a parser."""


def main() -> None:
    """Entry point of the console script."""
    run(batch, name=_NAME, examples=_EXAMPLES)


def _serve_metrics(flags: BatchFlags, stack: ExitStack) -> Callable[[ArchiveStatus], object]:
    if flags.metrics is None:
        return lambda _: None
    from s2tf_edge.runtime.web.archive_metrics import ArchiveMetrics

    metrics = stack.enter_context(closing(ArchiveMetrics(flags.metrics, token=flags.token)))
    logger.info("serving %s", metrics.url)
    return metrics.write


def _join_cluster(flags: BatchFlags, stack: ExitStack) -> MakeCrew | None:
    """What makes workers of a cluster; None where there is none."""
    if flags.ray is None:
        return None
    from s2tf_edge.runtime.archives.cluster.connection import connect
    from s2tf_edge.runtime.archives.ray_crew import RayCrews

    return RayCrews(stack.enter_context(connect(flags.ray)), workers=flags.workers)


def _plan_session(flags: BatchFlags) -> SessionOptions:
    from s2tf_edge.cli.cache import compiled_models
    from s2tf_edge.runtime.session import SessionOptions

    return SessionOptions(
        device=flags.device,
        threads=flags.threads,
        require_signature=flags.require_signature,
        cache=compiled_models(),
    )


def _plan_recognition(flags: BatchFlags) -> StreamOptions:
    from s2tf_edge.runtime.streaming.smoothing import Smoothing
    from s2tf_edge.runtime.streaming.stream_options import StreamOptions

    start_seconds, duration_seconds = part_of_video(start=flags.start, end=flags.end, duration=flags.duration)
    return StreamOptions(
        topk=flags.topk,
        threshold=flags.threshold,
        smoothing=Smoothing.parse(flags.smooth),
        hop=flags.hop,
        policy="every",
        start_seconds=start_seconds,
        duration_seconds=duration_seconds,
        hwaccel=flags.hwaccel,
        fps=flags.fps,
    )


def _summary_lines(summary: Mapping[str, Any], out: Path) -> list[str]:
    run, bad = summary["run"], summary["errors"]
    videos, windows, events = (
        counted(summary[key], noun) for key, noun in (("videos", "video"), ("windows", "window"), ("events", "action"))
    )
    lines = [f"{videos}, {summary['hours']:,.2f} hours, {windows}, {events}"]
    if run["videos"]:
        lines.append(f"{run['hours_per_hour']:,.1f} hours of video an hour, {counted(run['workers'], 'worker')}")
    if bad:
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in sorted(bad.items(), key=lambda item: -item[1]))
        lines.append(f"{summary['bad']:,} bad: {kinds}")
    labels = summary["labels"]
    width = max((len(f"{label['events']:,}") for label in labels), default=0)
    lines += [f"{label['events']:>{width},}×  {label['label']}" for label in labels[:_LABELS]]
    if len(labels) > _LABELS:
        lines.append(f"and {len(labels) - _LABELS} other labels")
    return [*lines, f"results: {out}"]


if __name__ == "__main__":
    main()
