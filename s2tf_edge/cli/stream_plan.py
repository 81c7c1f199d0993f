"""What ``s2tf-stream`` is to do, checked as far as it can be before anything is opened."""

from __future__ import annotations

import logging
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

if TYPE_CHECKING:
    from s2tf_edge.runtime.session import SessionOptions
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


def plan_stream(flags: StreamFlags) -> StreamPlan:
    """What the flags ask for.

    Raises:
        InputFileError: a folder, glob or list names nothing to read.
        SourceError: there is no such camera.
        UsageError: a value is not allowed, or there is nothing to read, or an output would overwrite what is read.
    """
    outputs = _plan_outputs(flags)
    options = _plan_recognition(flags, outputs)
    texts = flags.source or []
    sources = parse_sources(texts, flags.camera or [], flags.name or [])
    artifact = find_artifact(flags)
    named = [Path(url2pathname(urlsplit(text).path) if text.startswith("file://") else text) for text in texts]
    files = [file for item in sources if not item.is_device for file in (Path(item.url), *item.pictures)]
    check_outputs(outputs.files, [artifact, *(file for file in named if file.is_file()), *files])
    return StreamPlan(artifact=artifact, sources=sources, run_on=plan_session(flags), options=options, outputs=outputs)


def plan_session(flags: StreamFlags) -> SessionOptions:
    """How the network is run."""
    from s2tf_edge.runtime.session import SessionOptions

    return SessionOptions(device=flags.device, threads=flags.threads)


def find_artifact(flags: StreamFlags) -> Path:
    """What is run: what was named, or what was exported last.

    Raises:
        UsageError: nothing was.
    """
    if flags.artifact is not None:
        return Path(flags.artifact)
    from s2tf_edge.runtime.cache import last_artifact

    artifact = last_artifact()
    logger.info("no ARTIFACT given: running the one exported last, %s", artifact)
    return artifact


def _plan_outputs(flags: StreamFlags) -> OutputOptions:
    return OutputOptions(
        jsonl=flags.jsonl,
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
        status_seconds=_STATUS_SECONDS if outputs.needs_status else None,
    )
