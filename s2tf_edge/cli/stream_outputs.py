"""Where the records of ``s2tf-stream`` go: one sink for each thing that was asked for."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from s2tf_edge.cli.app import errors_console, is_for_people, say
from s2tf_edge.errors import UsageError

if TYPE_CHECKING:
    from s2tf_edge.runtime.sinks.service_manager import NotifySocket
    from s2tf_edge.runtime.sinks.sink import Sink
    from s2tf_edge.runtime.sinks.terminal import LiveView
    from s2tf_edge.runtime.sources.source import Source

__all__ = ["OutputOptions", "check_outputs", "make_sinks"]

_STDOUT: Final = "-"


@dataclass(frozen=True, kw_only=True)
class OutputOptions:
    """What the user wants to have; see the flags of ``s2tf-stream``."""

    jsonl: str | None = None
    append: bool = False
    save: Path | None = None
    show: bool = False
    serve: str | None = None
    token: str | None = None
    on_event: str | None = None
    webhook: str | None = None
    saliency: bool = False
    threshold: float = 0.3
    quiet: bool = False
    notify: NotifySocket | None = None
    """Where the service manager listens that started this process."""

    @property
    def needs_pictures(self) -> bool:
        """Whether frames are shown or saved."""
        return self.save is not None or self.show or self.serve is not None

    @property
    def has_live_view(self) -> bool:
        """Whether the terminal shows how things stand while the stream runs."""
        from s2tf_edge.runtime.sinks.terminal import LiveView

        mixes = self.jsonl == _STDOUT and sys.stdout.isatty()
        return not (self.quiet or mixes) and is_for_people() and LiveView.fits(errors_console)

    @property
    def needs_status(self) -> bool:
        """Whether anything shows how things stand while the stream runs."""
        return self.has_live_view or self.show or self.serve is not None or self.notify is not None

    @property
    def jsonl_folder(self) -> Path | None:
        """The folder for a file a source, where one was asked for: it exists, or its name ends as a folder's does."""
        if self.jsonl in (None, _STDOUT):
            return None
        is_folder = self.jsonl.endswith(("/", os.sep)) or Path(self.jsonl).is_dir()
        return Path(self.jsonl) if is_folder else None

    @property
    def files(self) -> list[Path]:
        """Files that are written."""
        jsonl = Path(self.jsonl) if self.jsonl not in (None, _STDOUT) and self.jsonl_folder is None else None
        return [path for path in (jsonl, self.save) if path is not None]


def check_outputs(outputs: Sequence[Path], inputs: Sequence[Path]) -> None:
    """Nothing that is read may be overwritten, nor one output by the other.

    Raises:
        UsageError: it would be.
    """
    for index, output in enumerate(outputs):
        for other in (*inputs, *outputs[:index]):
            if _is_same(output, other):
                msg = f"writing {output} would overwrite {other}; choose another name for --jsonl or --save"
                raise UsageError(msg)


def make_sinks(options: OutputOptions, sources: Sequence[Source], *, stop: threading.Event) -> list[Sink]:
    """A sink for each thing asked for, the cheapest first.

    Args:
        options: what is asked for.
        sources: what is read.
        stop: set by a sink whose user has seen enough.

    Raises:
        InputFileError: a file cannot be written.
        MissingExtraError: what shows or serves pictures is not installed.
        UsageError: what is asked for cannot be had.
    """
    from s2tf_edge.runtime.sinks.terminal import LiveView

    live = LiveView(errors_console) if options.has_live_view else None
    alerts = _alert_sinks(options)
    sinks: list[Sink] = [_result_sink(options, live, stop=stop), *alerts]
    if options.save is not None:
        sinks.append(_video_sink(options.save, sources, saliency=options.saliency))
    if options.serve is not None:
        from s2tf_edge.runtime.web.sink import WebSink

        page = WebSink(options.serve, token=options.token)
        page.start()
        sinks.append(page)
    if options.show:
        from s2tf_edge.runtime.sinks.screen import Screen

        sinks.append(Screen(stop=stop, saliency=options.saliency))
    if options.notify is not None:
        from s2tf_edge.runtime.sinks.service_manager import ServiceSink

        sinks.append(ServiceSink(options.notify))
    return [*sinks, live] if live is not None else sinks


def _result_sink(options: OutputOptions, live: LiveView | None, *, stop: threading.Event) -> Sink:
    from s2tf_edge.runtime.sinks.jsonl_folder import JsonlFolderSink
    from s2tf_edge.runtime.sinks.text import JsonlSink, TextSink

    if options.jsonl_folder is not None:
        return JsonlFolderSink(options.jsonl_folder, append=options.append)
    if options.jsonl is not None:
        file = sys.stdout if options.jsonl == _STDOUT else Path(options.jsonl)
        return JsonlSink(file, append=options.append, stop=stop)
    # On one terminal the lines go above the view; a file or pipe gets them as they are.
    show = live.print_line if live is not None and sys.stdout.isatty() else say
    return TextSink(show, threshold=options.threshold)


def _alert_sinks(options: OutputOptions) -> list[Sink]:
    from s2tf_edge.runtime.sinks.alerts.command import CommandSink
    from s2tf_edge.runtime.sinks.alerts.webhook import WebhookSink

    sinks: list[Sink] = []
    if options.on_event is not None:
        sinks.append(CommandSink(options.on_event))
    if options.webhook is not None:
        sinks.append(WebhookSink(options.webhook, token=os.environ.get("S2TF_WEBHOOK_TOKEN") or None))
    return sinks


def _video_sink(path: Path, sources: Sequence[Source], *, saliency: bool) -> Sink:
    from s2tf_edge.runtime.sinks.video_file import VideoSink

    if len(sources) > 1:
        msg = f"--save writes the video of one source, got {len(sources)}; give one --source or --camera"
        raise UsageError(msg)
    return VideoSink(path, saliency=saliency)


def _is_same(path: Path, other: Path) -> bool:
    # Path.exists raises where a name is too long for a file, as an address may be.
    if os.path.exists(path) and os.path.exists(other):  # noqa: PTH110
        return path.samefile(other)
    return path.resolve() == other.resolve()
