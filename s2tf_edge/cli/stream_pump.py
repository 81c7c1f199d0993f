"""Hands the records of ``s2tf-stream`` to its sinks; one that fails does not stop the others."""

from __future__ import annotations

import functools
import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from s2tf_edge.cli.app import silence_stdout, translate
from s2tf_edge.errors import InputFileError, S2TFError

if TYPE_CHECKING:
    from s2tf_edge.runtime.sinks.sink import Sink
    from s2tf_edge.runtime.streaming.records import Record, Summary

__all__ = ["pump"]

logger = logging.getLogger(__name__)


def pump(records: Iterable[Record], sinks: Sequence[Sink], *, stop: threading.Event, several: bool) -> S2TFError | None:
    """Hands every record to every sink.

    Args:
        records: of a stream.
        sinks: closed at the end, whatever happens.
        stop: set where the reader of stdout has had enough, and where no sink is left to go on for.
        several: whether there are several sources, so that the failure of one is worth a line.

    Returns:
        What the first sink that failed said; None where all of them have what they were asked for.
    """
    from s2tf_edge.runtime.streaming.records import Failure, Summary

    outlets = _Outlets(sinks, stop)
    summary: Summary | None = None
    told: set[str] = set()
    try:
        for each in records:
            # A failure is told in the words of the command, whatever shows it or writes it down.
            record = replace(each, message=translate(each.message)) if isinstance(each, Failure) else each
            outlets.write(record)
            # Zones of one source fail together, each with a record of its own.
            if isinstance(record, Failure) and several and record.message not in told:
                told.add(record.message)
                logger.warning("%s", record.message)
            if isinstance(record, Summary):
                summary = record
    finally:
        outlets.close()
    if summary is not None and summary.frames_in:
        _log_summary(summary)
    return outlets.failure


class _Outlets:
    """Sinks that still take records."""

    def __init__(self, sinks: Sequence[Sink], stop: threading.Event) -> None:
        self._sinks = [*sinks]
        self._open = [*sinks]
        self._stop = stop
        self._is_closing = False
        self.failure: S2TFError | None = None

    def write(self, record: Record) -> None:
        for sink in [*self._open]:
            self._try(sink, functools.partial(sink.write, record))

    def close(self) -> None:
        """Closes them all, the last one first; one that cannot be closed keeps none of the others from it."""
        self._is_closing = True
        for sink in reversed(self._sinks):
            self._try(sink, sink.close)

    def _try(self, sink: Sink, act: Callable[[], None]) -> None:
        try:
            act()
        except BrokenPipeError as error:
            self._leave(sink, error)
        except (S2TFError, OSError) as error:
            self._fail(sink, error)

    def _leave(self, sink: Sink, error: BrokenPipeError) -> None:
        """Whoever read has had enough: of stdout, so of the whole stream; of a named pipe, so of that alone."""
        self._give_up(sink)
        if error.filename is None:
            silence_stdout()
            self._stop.set()
        else:
            then = "the stream ends" if self._stop.is_set() else "all else goes on"
            logger.warning("nobody reads %s any more; %s", error.filename, then)

    def _fail(self, sink: Sink, error: S2TFError | OSError) -> None:
        """Of what a terminal that was hung up shows nobody is told."""
        is_open = sink in self._open
        self._give_up(sink)
        if _is_view(sink):
            return
        failure = error if isinstance(error, S2TFError) else _as_failure(error)
        self.failure = self.failure or failure
        if is_open and not (self._stop.is_set() or self._is_closing):
            logger.warning("%s; all else goes on", failure)

    def _give_up(self, sink: Sink) -> None:
        self._open = [each for each in self._open if each is not sink]
        if all(_is_view(each) for each in self._open):
            self._stop.set()


def _is_view(sink: Sink) -> bool:
    """Whether it only shows how things stand, so that without any other there is nothing to go on for."""
    from s2tf_edge.runtime.sinks.service_manager import ServiceSink
    from s2tf_edge.runtime.sinks.terminal import LiveView

    return isinstance(sink, LiveView | ServiceSink)


def _as_failure(error: OSError) -> S2TFError:
    where = f" {error.filename}" if error.filename else " results"
    failure = InputFileError(f"cannot write{where} ({error.strerror or error})")
    failure.__cause__ = error
    return failure


def _log_summary(summary: Summary) -> None:
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
