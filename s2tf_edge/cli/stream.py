"""``s2tf-stream``: action recognition in files and live sources."""

from __future__ import annotations

import dataclasses
import logging
import threading
from collections.abc import Callable, Generator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Final

import typer

from s2tf_edge.cli.app import print_json, progress_bar, run, setup_logging
from s2tf_edge.cli.dataclass_flags import with_fields
from s2tf_edge.cli.stream_config import merge_flags, typed_flags
from s2tf_edge.cli.stream_flags import NAME, StreamFlags
from s2tf_edge.cli.stream_outputs import make_sinks
from s2tf_edge.cli.stream_plan import StreamPlan, find_artifact, plan_session, plan_stream
from s2tf_edge.cli.stream_pump import pump
from s2tf_edge.cli.stream_signals import StreamSignals
from s2tf_edge.errors import AccuracyError, S2TFError, UsageError

if TYPE_CHECKING:
    from s2tf_edge.runtime.session import Session, SessionOptions
    from s2tf_edge.runtime.sinks.service_manager import NotifySocket
    from s2tf_edge.runtime.streaming.records import Record

__all__ = ["main", "stream"]

logger = logging.getLogger(__name__)

_SELF_TEST_SECONDS: Final = 60.0
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
    "s2tf-stream --config stream.toml --duration 60",
    "s2tf-stream model_openvino_int8 --selftest",
    "s2tf-stream model.pt --source lavfi:testsrc=size=640x480:rate=30 --duration 10 --jsonl -",
)


def _command(context: typer.Context, given: StreamFlags) -> None:
    """Recognize [bold]actions[/bold], live or in files."""
    from s2tf_edge.runtime.sinks.service_manager import NotifySocket

    typed = typed_flags(context)
    flags = merge_flags(given, typed)
    setup_logging(quiet=flags.quiet, verbose=flags.verbose, log=flags.log)
    if flags.selftest:
        _check_no_sources(flags)
        _self_test(find_artifact(flags), plan_session(flags), seconds=flags.duration or _SELF_TEST_SECONDS)
        return
    notify = NotifySocket.from_environment()
    _stream(
        plan_stream(flags, notify=notify),
        again=lambda: _plan_again(merge_flags(given, typed), notify),
        notify=notify,
    )


stream = with_fields(_command, StreamFlags)
"""The command for a parser."""


def main() -> None:
    """Entry point of the console script."""
    run(stream, name=NAME, examples=_EXAMPLES)


def _plan_again(flags: StreamFlags, notify: NotifySocket | None) -> StreamPlan:
    """The plan of a file that was changed, whose artifact can be opened so far as its files tell."""
    from s2tf_edge.runtime.open import open_session

    plan = plan_stream(flags, notify=notify)
    open_session(plan.artifact, plan.run_on)
    return _appending(plan)


def _stream(plan: StreamPlan, *, again: Callable[[], StreamPlan], notify: NotifySocket | None) -> None:
    """Runs a stream, and after it what its file has asked for meanwhile."""
    signals = StreamSignals(again, notify=notify)
    try:
        with signals.handled():
            failure = _run_all(plan, signals)
    finally:
        if notify is not None:
            notify.send("STOPPING=1")
    if signals.was_signaled:
        raise KeyboardInterrupt
    if failure is not None:
        raise failure


def _run_all(first: StreamPlan, signals: StreamSignals) -> S2TFError | None:
    """Runs streams one after another; returns what an output of the last one failed of."""
    before: StreamPlan | None = None
    plan = first
    while True:
        stream = _Run(plan, signals.begin(plan))
        try:
            failure = stream.finish()
        except S2TFError as error:
            if stream.has_begun or before is None:
                raise
            logger.warning("%s; the stream begins again as it was", error)
            plan, before = _appending(before), None
            continue
        following = signals.take_next()
        if following is None:
            return failure
        logger.info("beginning anew, as its file says now")
        before, plan = plan, following


def _appending(plan: StreamPlan) -> StreamPlan:
    """What was written before stays."""
    return dataclasses.replace(plan, outputs=dataclasses.replace(plan.outputs, append=True))


class _Run:
    """One stream, from the opening of its network to its end."""

    def __init__(self, plan: StreamPlan, stop: threading.Event) -> None:
        self._plan = plan
        self._stop = stop
        self.has_begun = False

    def finish(self) -> S2TFError | None:
        """Runs it to its end; returns what the first of its outputs failed of."""
        plan, stop = self._plan, self._stop
        sinks = make_sinks(plan.outputs, plan.sources, stop=stop)
        # Where a sink fails, the runs under way end before the session is closed.
        with closing(self._records()) as records:
            return pump(records, sinks, stop=stop, several=len(plan.sources) > 1)

    def _records(self) -> Generator[Record, None, None]:
        from s2tf_edge.runtime.streaming.recognize import recognize

        plan, stop = self._plan, self._stop
        if stop.is_set():
            return
        run_on = plan.run_on
        if plan.options.policy != "latest" and not any(source.live for source in plan.sources):
            # Nobody waits for the single window of a file: as many runs side by side as the runtime likes.
            run_on = dataclasses.replace(run_on, hint="throughput", requests=0)
        with (
            _open_session(plan.artifact, run_on) as session,
            closing(recognize(plan.sources, session, options=plan.options, stop=stop)) as records,
        ):
            for record in records:
                self.has_begun = True
                yield record


def _self_test(artifact: Path, run_on: SessionOptions, *, seconds: float) -> None:
    from s2tf_edge.runtime.streaming.self_test import self_test

    with _open_session(artifact, run_on) as session, progress_bar("streaming from made sources") as progress:
        result = self_test(session, seconds=seconds, progress=progress)
    print_json(result.to_dict())
    if result.complaints:
        msg = f"this stream does not keep up: {'; '.join(result.complaints)}"
        raise AccuracyError(msg)


def _open_session(artifact: Path, run_on: SessionOptions) -> Session:
    from s2tf_edge.cli.cache import compiled_models
    from s2tf_edge.runtime.open import find_stale_choice, open_session

    session = open_session(artifact, dataclasses.replace(run_on, cache=compiled_models()))
    if (stale := find_stale_choice(artifact)) is not None:
        logger.warning("%s", stale)
    return session


def _check_no_sources(flags: StreamFlags) -> None:
    if flags.source or flags.camera:
        msg = "--selftest makes its own sources; leave out --source and --camera"
        raise UsageError(msg)
