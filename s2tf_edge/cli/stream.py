"""``s2tf-stream``: action recognition in files and live sources."""

from __future__ import annotations

import dataclasses
import signal
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Final

import typer

from s2tf_edge.cli.app import ending_signals, print_json, progress_bar, run
from s2tf_edge.cli.dataclass_flags import with_fields
from s2tf_edge.cli.stream_flags import NAME, StreamFlags
from s2tf_edge.cli.stream_inputs import name_inputs
from s2tf_edge.cli.stream_outputs import make_sinks
from s2tf_edge.cli.stream_plan import StreamPlan, find_artifact, plan_session, plan_stream
from s2tf_edge.cli.stream_pump import pump
from s2tf_edge.errors import AccuracyError, UsageError

if TYPE_CHECKING:
    from s2tf_edge.runtime.session import Session, SessionOptions

__all__ = ["main", "stream"]

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
    "s2tf-stream model_openvino_int8 --selftest",
    "s2tf-stream model.pt --source lavfi:testsrc=size=640x480:rate=30 --duration 10 --jsonl -",
)


def _command(context: typer.Context, flags: StreamFlags) -> None:
    """Recognize [bold]actions[/bold], live or in files."""
    del context
    flags = name_inputs(flags)
    if flags.selftest:
        _check_no_sources(flags)
        _self_test(find_artifact(flags), plan_session(flags), seconds=flags.duration or _SELF_TEST_SECONDS)
        return
    _stream(plan_stream(flags))


stream = with_fields(_command, StreamFlags)
"""The command for a parser."""


def main() -> None:
    """Entry point of the console script."""
    run(stream, name=NAME, examples=_EXAMPLES)


def _stream(plan: StreamPlan) -> None:
    from s2tf_edge.runtime.streaming.recognize import recognize

    run_on = plan.run_on
    if plan.options.policy != "latest" and not any(source.live for source in plan.sources):
        # Nobody waits for the single window of a file: as many runs side by side as the runtime likes.
        run_on = dataclasses.replace(run_on, hint="throughput", requests=0)
    with _stop_on_signals() as stop:
        sinks = make_sinks(plan.outputs, plan.sources, stop=stop)
        if stop.is_set():
            raise KeyboardInterrupt
        # Where a sink fails, the runs under way end before the session is closed.
        with (
            _open_session(plan.artifact, run_on) as session,
            closing(recognize(plan.sources, session, options=plan.options, stop=stop)) as records,
        ):
            failure = pump(records, sinks, stop=stop, several=len(plan.sources) > 1)
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


def _open_session(artifact: Path, run_on: SessionOptions) -> Session:
    from s2tf_edge.runtime.cache import compiled_models
    from s2tf_edge.runtime.open import open_session

    return open_session(artifact, dataclasses.replace(run_on, cache=compiled_models()))


def _check_no_sources(flags: StreamFlags) -> None:
    if flags.source or flags.camera:
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
