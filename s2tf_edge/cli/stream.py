"""``s2tf-stream``: action recognition in files and live sources."""

from __future__ import annotations

import dataclasses
import logging
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit
from urllib.request import url2pathname

from s2tf_edge.cli import stream_flags as flags
from s2tf_edge.cli.app import (
    Quiet,
    RequireSignature,
    Verbose,
    ending_signals,
    print_json,
    progress_bar,
    run,
    version_option,
)
from s2tf_edge.cli.durations import part_of_video
from s2tf_edge.cli.stream_inputs import parse_sources, split_words
from s2tf_edge.cli.stream_outputs import OutputOptions, check_outputs, make_sinks
from s2tf_edge.cli.stream_pump import pump
from s2tf_edge.errors import AccuracyError, UsageError

if TYPE_CHECKING:
    from s2tf_edge.runtime.session import Session, SessionOptions
    from s2tf_edge.runtime.sources.source import Source
    from s2tf_edge.runtime.streaming.stream_options import StreamOptions

__all__ = ["main", "stream"]

logger = logging.getLogger(__name__)

_NAME = "s2tf-stream"
_SELF_TEST_SECONDS = 60.0
_STATUS_SECONDS = 0.5
_EXAMPLES = (
    "s2tf-stream --camera 0",
    "s2tf-stream model_openvino_int8 clip.mp4",
    "s2tf-stream --source 0 --name 'front door' --serve 127.0.0.1:8080",
    "s2tf-stream model_openvino_int8 --source rtsp://user:password@10.0.0.7/stream --max-outage 3600",
    "s2tf-stream model_openvino_int8 --source clip.mp4 --save labeled.mp4",
    "s2tf-stream model_openvino_int8 --camera 0 --on-event 'sh alarm.sh' --webhook https://example.com/actions",
    "s2tf-stream model.pt --source clips/ --jsonl predictions/",
    "s2tf-stream model_openvino_int8 --camera 0 --roi 0,0,0.5,1:door --roi 0.5,0,0.5,1:till",
    "s2tf-stream model_openvino_int8 --source match.mp4 --start 10:00 --end 12:30 --saliency --save part.mp4",
    "s2tf-stream model_openvino_int8 --selftest",
    "s2tf-stream model.pt --source lavfi:testsrc=size=640x480:rate=30 --duration 10 --jsonl -",
)


def stream(
    artifact: flags.Artifact = None,
    inputs: flags.Inputs = None,
    source: flags.Sources = None,
    camera: flags.Cameras = None,
    name: flags.Names = None,
    roi: flags.Regions = None,
    start: flags.Start = None,
    end: flags.End = None,
    duration: flags.Duration = None,
    fps: flags.FramesPerSecond = None,
    hwaccel: flags.HardwareDecoding = None,
    reconnect: flags.Reconnect = True,
    max_outage: flags.MaxOutage = None,
    jsonl: flags.Jsonl = None,
    save: flags.Save = None,
    show: flags.Show = False,
    serve: flags.Serve = None,
    token: flags.Token = None,
    on_event: flags.OnEvent = None,
    webhook: flags.Webhook = None,
    saliency: flags.Saliency = False,
    topk: flags.TopK = 5,
    threshold: flags.Threshold = 0.3,
    smooth: flags.Smooth = "ema:0.6",
    hop: flags.Hop = None,
    policy: flags.Policy = "auto",
    max_age: flags.MaxAge = None,
    device: flags.Device = "auto",
    threads: flags.Threads = 0,
    require_signature: RequireSignature = None,
    selftest: flags.SelfTest = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    version: Annotated[bool, version_option(_NAME)] = False,
) -> None:
    """Recognize [bold]actions[/bold], live or in files."""
    del verbose, version  # taken by the app
    from s2tf_edge.runtime.session import SessionOptions
    from s2tf_edge.runtime.streaming.regions import parse_regions
    from s2tf_edge.runtime.streaming.smoothing import Smoothing
    from s2tf_edge.runtime.streaming.stream_options import StreamOptions

    run_on = SessionOptions(device=device, threads=threads, require_signature=require_signature)
    words = [] if artifact is None else [artifact, *(inputs or [])]
    path, texts = split_words(words)
    texts += source or []
    if selftest:
        _check_no_sources(texts, camera)
        _self_test(path or _last_artifact(), run_on, seconds=duration or _SELF_TEST_SECONDS)
        return
    outputs = OutputOptions(
        jsonl=jsonl,
        save=save,
        show=show,
        serve=serve,
        token=token,
        on_event=on_event,
        webhook=webhook,
        saliency=saliency,
        threshold=threshold,
        quiet=quiet,
    )
    start_seconds, duration_seconds = part_of_video(start=start, end=end, duration=duration)
    options = StreamOptions(
        topk=topk,
        threshold=threshold,
        smoothing=Smoothing.parse(smooth),
        hop=hop,
        policy=policy,
        max_age_seconds=max_age,
        start_seconds=start_seconds,
        duration_seconds=duration_seconds,
        reconnect=reconnect,
        max_outage_seconds=max_outage,
        hwaccel=hwaccel,
        fps=fps,
        regions=parse_regions(roi or []),
        saliency=saliency,
        pictures=outputs.needs_pictures,
        status_seconds=_STATUS_SECONDS if outputs.needs_status else None,
    )
    sources = parse_sources(texts, camera or [], name or [])
    path = path or _last_artifact()
    named = [Path(url2pathname(urlsplit(text).path) if text.startswith("file://") else text) for text in texts]
    files = [file for item in sources if not item.is_device for file in (Path(item.url), *item.pictures)]
    check_outputs(outputs.files, [path, *(file for file in named if file.is_file()), *files])
    _stream(path, sources, run_on, options=options, outputs=outputs)


def main() -> None:
    """Entry point of the console script."""
    run(stream, name=_NAME, examples=_EXAMPLES)


def _stream(
    artifact: Path,
    sources: Sequence[Source],
    run_on: SessionOptions,
    *,
    options: StreamOptions,
    outputs: OutputOptions,
) -> None:
    from s2tf_edge.runtime.streaming.recognize import recognize

    if options.policy != "latest" and not any(source.live for source in sources):
        # Nobody waits for the single window of a file: as many runs side by side as the runtime likes.
        run_on = dataclasses.replace(run_on, hint="throughput", requests=0)
    with _stop_on_signals() as stop:
        sinks = make_sinks(outputs, sources, stop=stop)
        if stop.is_set():
            raise KeyboardInterrupt
        # Where a sink fails, the runs under way end before the session is closed.
        with (
            _open_session(artifact, run_on) as session,
            closing(recognize(sources, session, options=options, stop=stop)) as records,
        ):
            failure = pump(records, sinks, stop=stop, several=len(sources) > 1)
        if stop.was_signaled:
            raise KeyboardInterrupt
        if failure is not None:
            raise failure


def _self_test(artifact: Path, run_on: SessionOptions, *, seconds: float) -> None:
    from s2tf_edge.runtime.streaming.self_test import self_test

    with _open_session(artifact, run_on) as session, progress_bar("streaming from made sources") as progress:
        result = self_test(session, seconds=seconds, progress=progress)
    print_json(result.to_dict())
    if result.complaints:
        msg = f"this stream does not keep up: {'; '.join(result.complaints)}"
        raise AccuracyError(msg)


def _last_artifact() -> Path:
    from s2tf_edge.runtime.cache import last_artifact

    artifact = last_artifact()
    logger.info("no ARTIFACT given: running the one exported last, %s", artifact)
    return artifact


def _open_session(artifact: Path, run_on: SessionOptions) -> Session:
    from s2tf_edge.runtime.cache import compiled_models
    from s2tf_edge.runtime.open import open_session

    return open_session(artifact, dataclasses.replace(run_on, cache=compiled_models()))


def _check_no_sources(source: Sequence[str] | None, camera: Sequence[int] | None) -> None:
    if source or camera:
        msg = "--selftest makes its own sources; leave out --source and --camera"
        raise UsageError(msg)


class _Stop(threading.Event):
    """Ends a run in order. One that the user has seen enough of ends well, one that a signal ended does not."""

    was_signaled = False


@contextmanager
def _stop_on_signals() -> Iterator[_Stop]:
    """Ctrl-C, SIGTERM and SIGHUP end the run in order, with all that was written complete; a second ends it at once."""
    stop = _Stop()

    def handle(number: int, _frame: FrameType | None) -> None:
        # The kernel and the shell each tell that a terminal was closed: that is no hurry.
        if stop.was_signaled and number in {signal.SIGINT, signal.SIGTERM}:
            raise KeyboardInterrupt
        stop.was_signaled = True
        stop.set()

    before = {number: signal.signal(number, handle) for number in ending_signals()}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
