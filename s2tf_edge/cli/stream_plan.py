"""What ``s2tf-stream`` is to do, checked as far as it can be before anything is opened."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit
from urllib.request import url2pathname

from s2tf_edge.cli.durations import part_of_video
from s2tf_edge.cli.stream_flags import StreamFlags
from s2tf_edge.cli.stream_inputs import parse_sources
from s2tf_edge.cli.stream_outputs import OutputOptions, check_outputs
from s2tf_edge.errors import UsageError

if TYPE_CHECKING:
    from s2tf_edge.runtime.session import SessionOptions
    from s2tf_edge.runtime.sinks.service_manager import NotifySocket
    from s2tf_edge.runtime.sources.source import Source
    from s2tf_edge.runtime.streaming.stream_options import StreamOptions

__all__ = ["StreamPlan", "find_artifact", "plan_session", "plan_stream"]

logger = logging.getLogger(__name__)

_STATUS_SECONDS: Final = 0.5


@dataclass(frozen=True, kw_only=True)
class StreamPlan:
    """A stream that can be begun."""

    artifact: Path
    sources: Sequence[Source]
    run_on: SessionOptions
    options: StreamOptions
    outputs: OutputOptions
    reloads: bool = False
    """Whether a hangup has its file read again."""


def plan_stream(flags: StreamFlags, *, notify: NotifySocket | None = None) -> StreamPlan:
    """What the flags ask for.

    Args:
        flags: with those of the file.
        notify: where the service manager listens, if one started this process.

    Raises:
        InputFileError: a folder, glob or list names nothing to read.
        SourceError: there is no such camera.
        UsageError: a value is not allowed, or there is nothing to read, or an output would overwrite what is read.
    """
    _check_reload(flags)
    outputs = _plan_outputs(flags, notify)
    options = _plan_recognition(flags, outputs)
    texts = flags.source or []
    sources = parse_sources(texts, flags.camera or [], flags.name or [])
    artifact = find_artifact(flags)
    named = [Path(url2pathname(urlsplit(text).path) if text.startswith("file://") else text) for text in texts]
    files = [file for item in sources if not item.is_device for file in (Path(item.url), *item.pictures)]
    config = [] if flags.config is None else [flags.config]
    # Path.is_file raises where a name is too long for a file, as a filter graph may be.
    named = [file for file in named if os.path.isfile(file)]  # noqa: PTH113
    check_outputs(outputs.files, [artifact, *config, *named, *files])
    return StreamPlan(
        artifact=artifact,
        sources=sources,
        run_on=plan_session(flags),
        options=options,
        outputs=outputs,
        reloads=flags.reload_on_hangup,
    )


def plan_session(flags: StreamFlags) -> SessionOptions:
    """How the network is run."""
    from s2tf_edge.runtime.session import SessionOptions

    return SessionOptions(device=flags.device, threads=flags.threads, require_signature=flags.require_signature)


def find_artifact(flags: StreamFlags) -> Path:
    """What is run: what was named, or what was exported last.

    Raises:
        UsageError: nothing was.
    """
    if flags.artifact is not None:
        return Path(flags.artifact)
    from s2tf_edge.cli.cache import last_artifact

    artifact = last_artifact()
    logger.info("no ARTIFACT given: running the one exported last, %s", artifact)
    return artifact


def _check_reload(flags: StreamFlags) -> None:
    if not flags.reload_on_hangup:
        return
    if flags.config is None:
        msg = "--reload-on-hangup reads a file again, and there is none; give --config FILE.toml"
        raise UsageError(msg)
    if flags.save is not None:
        msg = "--reload-on-hangup would save the next video over the one before; leave out --save"
        raise UsageError(msg)


def _plan_outputs(flags: StreamFlags, notify: NotifySocket | None) -> OutputOptions:
    return OutputOptions(
        notify=notify,
        jsonl=flags.jsonl,
        append=flags.append,
        save=flags.save,
        show=flags.show,
        serve=flags.serve,
        token=flags.token,
        on_event=flags.on_event,
        webhook=flags.webhook,
        saliency=flags.saliency,
        threshold=flags.threshold,
        quiet=flags.quiet,
    )


def _plan_recognition(flags: StreamFlags, outputs: OutputOptions) -> StreamOptions:
    from s2tf_edge.runtime.streaming.regions import parse_regions
    from s2tf_edge.runtime.streaming.smoothing import Smoothing
    from s2tf_edge.runtime.streaming.stream_options import StreamOptions

    start_seconds, duration_seconds = part_of_video(start=flags.start, end=flags.end, duration=flags.duration)
    return StreamOptions(
        topk=flags.topk,
        threshold=flags.threshold,
        smoothing=Smoothing.parse(flags.smooth),
        hop=flags.hop,
        policy=flags.policy,
        max_age_seconds=flags.max_age,
        start_seconds=start_seconds,
        duration_seconds=duration_seconds,
        reconnect=flags.reconnect,
        max_outage_seconds=flags.max_outage,
        hwaccel=flags.hwaccel,
        fps=flags.fps,
        regions=parse_regions(flags.roi or []),
        saliency=flags.saliency,
        pictures=outputs.needs_pictures,
        status_seconds=_status_seconds(outputs),
    )


def _status_seconds(outputs: OutputOptions) -> float | None:
    if not outputs.needs_status:
        return None
    return _STATUS_SECONDS if outputs.notify is None else min(_STATUS_SECONDS, outputs.notify.beat_seconds)
