"""``s2tf-stream``: action recognition in files and live sources."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from s2tf_edge.cli.app import Quiet, Verbose, run, setup_logging, version_option
from s2tf_edge.errors import UsageError

if TYPE_CHECKING:
    from s2tf_edge.runtime.predictions import Record, Summary
    from s2tf_edge.runtime.sinks import Sink
    from s2tf_edge.runtime.source import Source

__all__ = ["main", "stream"]

logger = logging.getLogger(__name__)

_NAME = "s2tf-stream"
_EXAMPLES = (
    "s2tf-stream --camera 0",
    "s2tf-stream model_openvino_int8 --source clip.mp4 --save labelled.mp4",
    "s2tf-stream model.pt --source clips/ --jsonl predictions.jsonl",
    "s2tf-stream model.pt --source lavfi:testsrc=size=640x480:rate=30 --duration 10 --jsonl -",
)


def stream(
    artifact: Annotated[
        Path | None,
        typer.Argument(
            help="An artifact folder or a model.pt; the last exported one if left out.",
            metavar="[ARTIFACT]",
            readable=False,
        ),
    ] = None,
    source: Annotated[
        list[str] | None,
        typer.Option(help="A video, a folder or glob of videos, a list.txt, /dev/videoN or lavfi:EXPR; repeatable."),
    ] = None,
    camera: Annotated[list[int] | None, typer.Option(help="This machine's N-th camera; repeatable.")] = None,
    jsonl: Annotated[
        str | None, typer.Option(help="Write JSON lines to this file; - is stdout.", metavar="FILE")
    ] = None,
    save: Annotated[
        Path | None, typer.Option(help="Save the video with its labels: .mp4, .mov or .mkv; one source only.")
    ] = None,
    topk: Annotated[int, typer.Option(help="Best classes named in each prediction.")] = 5,
    threshold: Annotated[float, typer.Option(help="Score from which on a label counts as an action.")] = 0.3,
    smooth: Annotated[
        str, typer.Option(help="ema:A (A is the newest window's weight), mean:K (K windows) or none.")
    ] = "ema:0.6",
    hop: Annotated[
        int | None,
        typer.Option(help="Frames of a clip from one window's start to the next's; a quarter of a clip by default."),
    ] = None,
    policy: Annotated[
        str, typer.Option(help="every window, the latest, or auto: every for files, latest for live sources.")
    ] = "auto",
    duration: Annotated[float | None, typer.Option(help="Seconds of each source to read.")] = None,
    device: Annotated[str, typer.Option(help="Device as the runtime names it, such as CPU or GPU.")] = "auto",
    threads: Annotated[int, typer.Option(help="CPU threads of the network; 0 lets the runtime choose.")] = 0,
    quiet: Quiet = False,
    verbose: Verbose = False,
    version: Annotated[bool, version_option(_NAME)] = False,
) -> None:
    """Recognise [bold]actions[/bold], live or in files."""
    del version
    setup_logging(quiet=quiet, verbose=verbose)
    from s2tf_edge.runtime.cache import compiled_models
    from s2tf_edge.runtime.options import StreamOptions
    from s2tf_edge.runtime.recents import last_artifact
    from s2tf_edge.runtime.session import SessionOptions, open_session
    from s2tf_edge.runtime.smoothing import Smoothing
    from s2tf_edge.runtime.stream import recognize

    options = StreamOptions(
        topk=topk,
        threshold=threshold,
        smoothing=Smoothing.parse(smooth),
        hop=hop,
        policy=policy,
        duration_seconds=duration,
        pictures=save is not None,
    )
    sources = _sources(source or [], camera or [])
    artifact = artifact or last_artifact()
    lists = [Path(text) for text in source or [] if text.endswith(".txt")]
    outputs = [path for path in (Path(jsonl) if jsonl not in (None, "-") else None, save) if path is not None]
    _check_outputs(outputs, [artifact, *lists, *(Path(item.url) for item in sources if item.format is None)])
    saved = _video_sinks(save, sources)
    opened = open_session(artifact, SessionOptions(device=device, threads=threads, cache=compiled_models()))
    with opened as session, _stop_on_signals() as stop:
        records = recognize(sources, session, options=options, stop=stop)
        _pump(records, [_line_sink(jsonl, threshold), *saved], stop, several=len(sources) > 1)


def main() -> None:
    """Entry point of the console script."""
    run(stream, name=_NAME, examples=_EXAMPLES)


def _sources(texts: Sequence[str], cameras: Sequence[int]) -> list[Source]:
    from s2tf_edge.runtime.source import camera, parse_source

    sources = [source for text in texts for source in parse_source(text)]
    sources += [camera(index) for index in cameras]
    if not sources:
        msg = "there is nothing to read; give --source S or --camera N, see --help for what S may be"
        raise UsageError(msg)
    return sources


def _check_outputs(outputs: Sequence[Path], inputs: Sequence[Path]) -> None:
    """Nothing that is read may be overwritten, nor one output by the other."""
    for index, output in enumerate(outputs):
        for other in (*inputs, *outputs[:index]):
            if _is_same(output, other):
                msg = f"writing {output} would overwrite {other}; choose another name for --jsonl or --save"
                raise UsageError(msg)


def _is_same(path: Path, other: Path) -> bool:
    if path.exists() and other.exists():
        return path.samefile(other)
    return path.resolve() == other.resolve()


def _video_sinks(path: Path | None, sources: Sequence[Source]) -> list[Sink]:
    from s2tf_edge.runtime.video_sink import VideoSink

    if path is None:
        return []
    if len(sources) > 1:
        msg = f"--save writes the video of one source, got {len(sources)}; give one --source or --camera"
        raise UsageError(msg)
    return [VideoSink(path)]


def _line_sink(jsonl: str | None, threshold: float) -> Sink:
    from s2tf_edge.runtime.sinks import JsonlSink, TextSink

    if jsonl is None:
        return TextSink(typer.echo, threshold=threshold)
    return JsonlSink(sys.stdout if jsonl == "-" else Path(jsonl))


def _pump(records: Iterable[Record], sinks: Sequence[Sink], stop: threading.Event, *, several: bool) -> None:
    """Hands every record to every sink; where the reader of stdout has had enough, the run ends well."""
    from s2tf_edge.runtime.predictions import Failure, Summary

    gone: set[Sink] = set()
    with ExitStack() as stack:
        for sink in sinks:
            stack.callback(sink.close)
        for record in records:
            for sink in sinks:
                if sink not in gone and not _write(sink, record):
                    gone.add(sink)
                    stop.set()
            if isinstance(record, Failure) and several:
                logger.warning("%s", record.message)
            if isinstance(record, Summary) and record.frames_in:
                _tell(record)
    if stop.is_set() and not gone:
        raise KeyboardInterrupt


def _write(sink: Sink, record: Record) -> bool:
    try:
        sink.write(record)
    except BrokenPipeError:
        # The interpreter flushes stdout once more when it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return False
    return True


def _tell(summary: Summary) -> None:
    drops = ", ".join(f"{count} {cause.replace('_', ' ')}" for cause, count in summary.drops.items())
    age, infer = summary.stages_ms.get("age"), summary.stages_ms.get("infer")
    times = ""
    if age and infer:
        times = f"; label age p50 {age['p50']:.0f} ms, p95 {age['p95']:.0f} ms; infer p50 {infer['p50']:.0f} ms"
    logger.info(
        "%d frames, %d windows, %d events, %d gaps in %.1f s%s%s",
        summary.frames_in,
        summary.windows,
        summary.events,
        summary.gaps,
        summary.seconds,
        times,
        f"; dropped: {drops}" if drops else "",
    )


@contextmanager
def _stop_on_signals() -> Iterator[threading.Event]:
    """Ctrl-C and SIGTERM end the run in order, with all that was written complete; a second one ends it at once."""
    stop = threading.Event()

    def handle(_number: int, _frame: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
